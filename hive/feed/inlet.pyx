"""Where a connection's messages come in: usual ones go straight to their book or tape, all others the long way.

    socket -> Inlet.on_message -> Shortcut.c_take -> book, tape
                    +------------- False --------> otherwise()
"""

from libc.stdint cimport int64_t

from hive.shm.counters cimport Counter


cdef class Shortcut:
    """A venue's way for its usual messages; this one takes none."""

    cdef bint c_take(self, bytes raw, int64_t read_ns) except -1:
        """Do all that is to be done about a message read at `read_ns`; False, and nothing was: it is not usual."""
        return False

    def take(self, bytes raw not None, int64_t read_ns) -> bool:
        """See c_take()."""
        return self.c_take(raw, read_ns)


cdef class Inlet:
    """The messages of one connection; `events` counts those with market data, the last of which was read at `read_ns`.

    While `holding`, no shortcut is taken.

    Args:
        shortcut: None: there is none.
        messages, bytes_received: of VenueMetrics.
        otherwise: is given what no shortcut takes; it says with came() what was market data.
        record: is given every message first, if not None.
    """

    def __init__(self, Shortcut shortcut, Counter messages not None, Counter bytes_received not None, otherwise, record):
        self.events = 0
        self.read_ns = 0
        self.holding = False
        self._shortcut = shortcut
        self._messages = messages
        self._bytes = bytes_received
        self._otherwise = otherwise
        self._record = record

    def begin(self, int64_t now_ns) -> None:
        """Count from 0: the connection is open."""
        self.events = 0
        self.read_ns = now_ns

    def came(self, int64_t read_ns) -> None:
        """Count a message with market data."""
        self.events += 1
        self.read_ns = read_ns

    def on_message(self, bytes raw not None, int64_t read_ns) -> None:
        """Take a message, read at `read_ns`."""
        self._messages.c_inc(1)
        self._bytes.c_inc(len(raw))
        if self._record is not None:
            self._record(raw, read_ns)
        if self._shortcut is not None and not self.holding and self._shortcut.c_take(raw, read_ns):
            self.events += 1
            self.read_ns = read_ns
        else:
            self._otherwise(raw, read_ns)
