"""Where a connection's messages come in, the twin of inlet.pyx in pure Python."""

from collections.abc import Callable

from hive.shm.counters import Counter


class Shortcut:
    """A venue's way for its usual messages; this one takes none."""

    def take(self, raw: bytes, read_ns: int) -> bool:
        """Do all that is to be done about a message read at `read_ns`; False, and nothing was: it is not usual."""
        return False


class Inlet:
    """The messages of one connection; `events` counts those with market data, the last of which was read at `read_ns`.

    While `holding`, no shortcut is taken.

    Args:
        shortcut: None: there is none.
        messages, bytes_received: of VenueMetrics.
        otherwise: is given what no shortcut takes; it says with came() what was market data.
        record: is given every message first, if not None.
    """

    events: int
    read_ns: int
    holding: bool

    def __init__(
        self,
        shortcut: Shortcut | None,
        messages: Counter,
        bytes_received: Counter,
        otherwise: Callable[[bytes, int], None],
        record: Callable[[bytes, int], None] | None,
    ) -> None:
        self.events = 0
        self.read_ns = 0
        self.holding = False
        self._shortcut = shortcut
        self._messages = messages
        self._bytes = bytes_received
        self._otherwise = otherwise
        self._record = record

    def begin(self, now_ns: int) -> None:
        """Count from 0: the connection is open."""
        self.events = 0
        self.read_ns = now_ns

    def came(self, read_ns: int) -> None:
        """Count a message with market data."""
        self.events += 1
        self.read_ns = read_ns

    def on_message(self, raw: bytes, read_ns: int) -> None:
        """Take a message, read at `read_ns`."""
        self._messages.inc()
        self._bytes.inc(len(raw))
        if self._record is not None:
            self._record(raw, read_ns)
        if self._shortcut is not None and not self.holding and self._shortcut.take(raw, read_ns):
            self.came(read_ns)
        else:
            self._otherwise(raw, read_ns)
