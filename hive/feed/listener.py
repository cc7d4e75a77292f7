"""Who is told what happens on a market connection."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from hive.feed.venue import Notice

if TYPE_CHECKING:
    from hive.feed.connection import MarketConnection


class Listener(Protocol):
    """Who is told what happens on a connection."""

    def on_up(self, connection: "MarketConnection") -> None:
        """The connection is open; its streams are about to be subscribed."""

    def on_down(self, connection: "MarketConnection", reason: str, was_up: bool) -> None:
        """Nothing arrives any more, or the connection could not be opened."""

    def on_subscribed(self, connection: "MarketConnection", streams: Iterable[str]) -> None:
        """The venue sends these streams from now on."""

    def on_event(self, event: Any, read_ns: int) -> None:
        """A market message, read off the socket at `read_ns`."""

    def on_malformed(self, connection: "MarketConnection", raw: bytes) -> None:
        """A message that could not be read."""

    def on_notice(self, connection: "MarketConnection", notice: Notice) -> None:
        """The venue said something about the connection."""

    def on_late(self, connection: "MarketConnection") -> None:
        """A pong is missing: what arrives may be old."""

    def on_proven(self, connection: "MarketConnection") -> None:
        """What arrives is current again."""

    def on_banned(self, seconds: float) -> None:
        """The venue refuses this address for so long."""
