"""What the feed asks of a venue: its addresses, its requests and the meaning of its messages.

A venue is stateless: it turns bytes into the values below and wishes into requests. Continuity, books, connections and
limits belong to the feed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hive.shm.instruments import InstrumentRules


class Diff(NamedTuple):
    """A change of one book: absolute quantities, covering the update ids first_id..last_id."""

    symbol: str
    first_id: int
    last_id: int
    exchange_ns: int  # wall clock of the venue
    bids: list[list[str]]
    asks: list[list[str]]


class TradeEvent(NamedTuple):
    """One trade of an instrument."""

    symbol: str
    trade_id: int
    exchange_ns: int  # wall clock of the venue
    price: float
    quantity: float
    buyer_is_maker: bool


class Answer(NamedTuple):
    """The venue's answer to request `id`; `error` is empty when it was granted."""

    id: int
    error: str


@dataclass(frozen=True, slots=True)
class DepthSnapshot:
    """A whole book (up to `limit` levels per side) after update `last_id`; best levels first."""

    last_id: int
    limit: int
    bids: list[list[str]]
    asks: list[list[str]]


@dataclass(frozen=True, slots=True)
class Request:
    """A GET: its URL, and what the venue charges for it."""

    url: str
    weight: int


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back for a Request. `used_weight` is the venue's own count in this minute (-1: it did not say)."""

    status: int
    body: bytes
    used_weight: int
    retry_after_s: float


class Venue(Protocol):
    """A venue's market data protocol."""

    streams_per_connection: int
    control_interval_s: float  # between two requests on one connection
    request_weight_per_minute: int
    weight_header: str  # of an HTTP answer: the weight spent in this minute

    def symbol(self, pair: str) -> str:
        """Return the venue's symbol of "BTC-USDT"."""

    def streams(self, symbol: str) -> Sequence[str]:
        """Return the stream names of one instrument: its book's diffs and its trades."""

    def subscribe(self, request_id: int, streams: Sequence[str]) -> str:
        """Return the message that subscribes `streams`."""

    def unsubscribe(self, request_id: int, streams: Sequence[str]) -> str:
        """Return the message that ends `streams`."""

    def parse(self, raw: str | bytes) -> Diff | TradeEvent | Answer | None:
        """Return what a market message says, None when nothing that matters here. Raises MalformedMessage."""

    def snapshot_limits(self, depth: int) -> Sequence[int]:
        """Return the numbers of levels to ask for, the cheapest that serves `depth` first."""

    def snapshot_request(self, symbol: str, limit: int) -> Request:
        """Return the request of a book of `limit` levels per side."""

    def snapshot(self, answer: HttpAnswer, limit: int) -> DepthSnapshot:
        """Return the book in an answer. Raises VenueRefused or MalformedMessage."""

    def rules_requests(self, symbols: Sequence[str]) -> Sequence[Request]:
        """Return the requests that together give the rules of `symbols`; the venue refuses one with an unknown name."""

    def all_rules_request(self) -> Request:
        """Return the request of every instrument's rules."""

    def rules(self, answer: HttpAnswer) -> dict[str, InstrumentRules]:
        """Return the rules in an answer by symbol. Raises VenueRefused or MalformedMessage."""
