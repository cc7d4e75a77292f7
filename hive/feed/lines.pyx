"""The usual diff's and the usual trade's way into shared memory, in C: without an object, and without Python's code.

    c_follow()  ids follow -> levels -> book -> published -> counted      else False: Instrument.on_diff() does all of it
    c_trade()   id above the last one -> ring -> last trade -> counted

A feed with little to do finds its own code no longer in the caches of the CPU after each wait, so a message costs by
how much of it is touched. What is unusual in any way is refused here and begun again there, where it is judged: until
c_follow() returns True, nothing was changed but levels of a book that the same diff is going to be applied to.

These are the bases of BookSync, Instrument and TradeTape; the fields are theirs.
"""

from libc.stdint cimport int64_t, uint64_t

from hive.feed.book cimport PriceLevelBook, c_now
from hive.shm.book cimport BookWriter
from hive.shm.broadcast cimport BroadcastWriter

from hive.feed.phase import Phase

cdef enum:
    _BUYER_IS_MAKER = 1

BUYER_IS_MAKER = _BUYER_IS_MAKER
cdef object _LIVE = Phase.LIVE


cdef class Place:
    """Where one instrument's book stands in its venue's sequence of updates."""

    def __init__(self):
        self.phase = Phase.DOWN
        self.last_id = -1
        self.refreshing = False
        self.chained = False

    cdef bint c_leads_to(self, int64_t first_id, int64_t last_id, int64_t prev_id) noexcept:
        """Return whether a diff follows, and nothing about that is unusual."""
        if last_id <= self.last_id or self.phase is not _LIVE or self.refreshing:
            return False
        return first_id <= self.last_id + 1 and prev_id < 0

    def advance(self, int64_t first_id, int64_t last_id, int64_t prev_id=-1) -> bool:
        """Follow a diff when nothing is unusual; False when it is: nothing has changed, and on_diff() has to decide."""
        if not self.c_leads_to(first_id, last_id, prev_id):
            return False
        self.last_id = last_id
        self.chained = True
        return True


cdef class BookLine:
    """What of an instrument a usual diff passes through.

    Args:
        sync: where it stands.
        book, writer: its levels, and where they are published.
        checksum_levels: over how many levels the venue's checksum goes; 0: it sends none.
        updates, latency_ns: of VenueMetrics.
    """

    def __init__(
        self,
        Place sync,
        PriceLevelBook book,
        BookWriter writer,
        Py_ssize_t checksum_levels,
        Counter updates,
        Histogram latency_ns,
        clock,
    ):
        self.sync = sync
        self.tops = None
        self.applied = None
        self._book = book
        self._writer = writer
        self._checksum_levels = checksum_levels
        self._doubted = False
        self._clock = clock
        self._updates = updates
        self._latency_ns = latency_ns

    cdef bint c_follow(
        self, int64_t first_id, int64_t last_id, int64_t exchange_ns, const char *bids, const char *bids_end,
        const char *asks, const char *asks_end, int64_t read_ns,
    ) except -1:
        """Follow a diff of a venue whose ids are consecutive, read at `read_ns`; False: it takes a closer look."""
        cdef int64_t done_ns
        if self.tops is not None or self.applied is not None or self._doubted or self._checksum_levels:
            return False
        if not self.sync.c_leads_to(first_id, last_id, -1):
            return False
        if not self._book.c_apply(bids, bids_end, asks, asks_end):
            return False
        self.sync.last_id = last_id
        self.sync.chained = True
        self._book.publish(self._writer, last_id, exchange_ns, read_ns, c_now(self._clock))
        done_ns = c_now(self._clock)
        self.followed(done_ns - read_ns)
        return True

    cpdef followed(self, int64_t took_ns):
        """Count an update that was made visible so long after its message was read."""
        self._updates.c_inc(1)
        self._latency_ns.c_record(took_ns)
        if self._book.c_short():
            self.look_deeper()

    def look_deeper(self) -> None:
        """Put a larger snapshot under the book: the market moved past the one that is there."""


cdef class TradeLine:
    """Publishes the trades of the instrument in the writer's slot, each once, in ascending order of their ids."""

    def __init__(self, BookWriter writer, BroadcastWriter trades, Counter count, Counter duplicates, clock):
        self._last_id = -1
        self._writer = writer
        self._trades = trades
        self._count = count
        self._duplicates = duplicates
        self._clock = clock

    def on_trade(self, event, int64_t read_ns) -> None:
        """Make a trade visible; an id that is not above the last one is a duplicate."""
        self.c_trade(
            event.trade_id, event.exchange_ns, event.price, event.quantity, event.buyer_is_maker, read_ns
        )

    cdef int c_trade(
        self, int64_t trade_id, int64_t exchange_ns, double price, double quantity, bint buyer_is_maker,
        int64_t read_ns,
    ) except -1:
        if trade_id <= self._last_id:
            self._duplicates.c_inc(1)
            return 0
        self._last_id = trade_id
        self._trades.c_publish(
            self._writer.slot, _BUYER_IS_MAKER if buyer_is_maker else 0, <uint64_t>trade_id, exchange_ns, read_ns,
            price, quantity, self._writer.generation,
        )
        self._writer.c_set_last_trade(price, c_now(self._clock))
        self._count.c_inc(1)
        return 0
