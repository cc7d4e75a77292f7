"""All known price levels of one instrument, kept in two sorted arrays.

    bids  key:  96   97   98   99   <- best            asks  key: -104 -103 -102 -101  <- best
          qty:   4    1    2    7                            qty:    5    3    9    1

A side's keys ascend towards the best level (an ask's key is its negated price), so changes near the top, which are
most of them, move few elements. A level is found by binary search; quantity 0 removes it.

Horizon: a snapshot of N levels says nothing about what lies behind the N-th. Levels behind it that arrive by diffs are
kept, but there may be unknown ones between them, so only levels up to the horizon are handed out.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.string cimport memmove

from hive.feed.levels cimport Levels, c_grow, c_read, c_scan
from hive.shm.atomics cimport monotonic_clock_ns
from hive.shm.book cimport BookWriter

from time import monotonic_ns

cdef object _USUAL_CLOCK = monotonic_ns
cdef enum:
    MOST_LEVELS = 20000  # of a side; what lies behind is dropped and the horizon moves in


cdef Py_ssize_t _lower_bound(const Side *side, double key) noexcept nogil:
    """Return the position of the first key >= `key`; the nearer it is to the best level, the sooner."""
    cdef Py_ssize_t low = 0
    cdef Py_ssize_t high = side.count
    cdef Py_ssize_t step = 1
    cdef Py_ssize_t middle
    while step <= side.count:
        if side.key[side.count - step] < key:
            low = side.count - step + 1
            break
        high = side.count - step
        step *= 2
    while low < high:
        middle = (low + high) >> 1
        if side.key[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


cdef void _remove(Side *side, Py_ssize_t at) noexcept nogil:
    cdef Py_ssize_t behind = side.count - at - 1
    memmove(side.key + at, side.key + at + 1, behind * sizeof(double))
    memmove(side.qty + at, side.qty + at + 1, behind * sizeof(double))
    side.count -= 1


cdef int _set(Side *side, double key, double qty) noexcept nogil:
    """Give a level its quantity; return 0 when there is no memory."""
    cdef Py_ssize_t at = _lower_bound(side, key)
    cdef Py_ssize_t behind
    if at < side.count and side.key[at] == key:
        if qty > 0.0:
            side.qty[at] = qty
        else:
            _remove(side, at)
        return 1
    if qty <= 0.0:
        return 1
    if side.count == MOST_LEVELS:
        if at == 0:
            side.horizon = max(side.horizon, side.key[0])
            return 1
        _remove(side, 0)
        side.horizon = max(side.horizon, side.key[0])
        at -= 1
    if side.count == side.capacity and not c_grow(&side.key, &side.qty, &side.capacity):
        return 0
    behind = side.count - at
    memmove(side.key + at + 1, side.key + at, behind * sizeof(double))
    memmove(side.qty + at + 1, side.qty + at, behind * sizeof(double))
    side.key[at] = key
    side.qty[at] = qty
    side.count += 1
    return 1


cdef int _update(Side *side, const Levels *levels, double sign) noexcept nogil:
    """Apply a diff's levels; return 0 when there is no memory."""
    cdef Py_ssize_t i
    for i in range(levels.count):
        if not _set(side, sign * levels.px[i], levels.qty[i]):
            return 0
    return 1


cdef double _worst(const Levels *levels, double sign) noexcept nogil:
    cdef double worst = INFINITY
    cdef Py_ssize_t i
    for i in range(levels.count):
        worst = min(worst, sign * levels.px[i])
    return worst


cdef int _refill(Side *side, const Levels *levels, double sign, Py_ssize_t limit) noexcept nogil:
    """Become a snapshot's levels; return 0 when there is no memory."""
    cdef Py_ssize_t i
    side.count = 0
    side.horizon = -INFINITY if levels.count < limit else _worst(levels, sign)
    for i in range(levels.count - 1, -1, -1):  # it lists the best first: backwards, every insertion is an append
        if not _set(side, sign * levels.px[i], levels.qty[i]):
            return 0
    return 1


cdef Py_ssize_t _complete(const Side *side, Py_ssize_t most) noexcept nogil:
    """Return how many levels, from the best one on, are known without a hole; `most` when it is more."""
    if side.count >= most and side.key[side.count - most] >= side.horizon:
        return most
    return side.count - _lower_bound(side, side.horizon)


cdef int64_t c_now(object clock) except -1:
    """Return what the clock says; the usual one is asked without a call from Python's side."""
    return monotonic_clock_ns() if clock is _USUAL_CLOCK else clock()


cdef class PriceLevelBook:
    """The price levels of one instrument. `depth` is how many of the best go to the readers."""

    def __cinit__(self, Py_ssize_t depth):
        if not 1 <= depth <= 5000:
            raise ValueError(f"depth must be 1..5000, was {depth}")
        self.depth = depth
        self._bids.horizon = -INFINITY
        self._asks.horizon = -INFINITY
        self._top = <double *>PyMem_RawMalloc(4 * depth * sizeof(double))
        if self._top == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_RawFree(self._bids.key)
        PyMem_RawFree(self._bids.qty)
        PyMem_RawFree(self._asks.key)
        PyMem_RawFree(self._asks.qty)
        PyMem_RawFree(self._new_bids.px)
        PyMem_RawFree(self._new_bids.qty)
        PyMem_RawFree(self._new_asks.px)
        PyMem_RawFree(self._new_asks.qty)
        PyMem_RawFree(self._top)

    def replace(self, bids, asks, Py_ssize_t limit):
        """Become a snapshot.

        bids, asks: undecoded JSON or lists of strings. limit: how many levels per side were asked for; a side of
        so many ends at its horizon, a shorter one is the whole side. Raises MalformedMessage and changes nothing.
        """
        c_read(&self._new_bids, bids)
        c_read(&self._new_asks, asks)
        if not _refill(&self._bids, &self._new_bids, 1.0, limit) or not _refill(
            &self._asks, &self._new_asks, -1.0, limit
        ):
            raise MemoryError

    cpdef apply(self, bids, asks):
        """Apply a diff of absolute quantities, bids and asks as replace() takes them.

        Raises MalformedMessage and changes nothing.
        """
        c_read(&self._new_bids, bids)
        c_read(&self._new_asks, asks)
        if not _update(&self._bids, &self._new_bids, 1.0) or not _update(&self._asks, &self._new_asks, -1.0):
            raise MemoryError

    cdef bint c_apply(self, const char *bids, const char *bids_end, const char *asks, const char *asks_end) except -1:
        """Apply a diff of undecoded JSON; False when its levels take a closer look or the book is crossed then.

        apply() with the same diff is to follow: it repeats what was done here, without harm, or says what is wrong.
        """
        if not c_scan(&self._new_bids, bids, bids_end) or not c_scan(&self._new_asks, asks, asks_end):
            return False
        if not _update(&self._bids, &self._new_bids, 1.0) or not _update(&self._asks, &self._new_asks, -1.0):
            raise MemoryError
        return not self.c_crossed()

    def follow(self, BookWriter writer, bids, asks, int64_t update_id, int64_t exchange_ns, int64_t recv_ns, clock):
        """Apply a diff and publish the book, in one call: the feed's hot path. `clock` gives now_ns of publish().

        Returns the time when that was done, or -1 when the book is crossed now: then nothing is. Raises MalformedMessage
        and changes nothing.
        """
        self.apply(bids, asks)
        if self.c_crossed():
            return -1
        self.publish(writer, update_id, exchange_ns, recv_ns, c_now(clock))
        return c_now(clock)

    def clear(self):
        """Forget every level."""
        self._bids.count = 0
        self._asks.count = 0
        self._bids.horizon = -INFINITY
        self._asks.horizon = -INFINITY

    @property
    def crossed(self) -> bool:
        """Whether the best bid is not below the best ask: no venue shows that, so a diff is missing."""
        return self.c_crossed()

    @property
    def short(self) -> bool:
        """Whether a side hands out fewer than `depth` levels because its horizon is too near."""
        return self.c_short()

    cpdef publish(self, BookWriter writer, int64_t update_id, int64_t exchange_ns, int64_t recv_ns, int64_t now_ns):
        """Hand the best `depth` levels per side to the readers as a new version."""
        self._fill_top()
        writer.c_publish(
            update_id,
            exchange_ns,
            recv_ns,
            now_ns,
            self._top,
            self._top + self.depth,
            <unsigned int>self.n_bids,
            self._top + 2 * self.depth,
            self._top + 3 * self.depth,
            <unsigned int>self.n_asks,
        )
        writer.c_own_next(<unsigned int>self.n_bids, <unsigned int>self.n_asks)

    def top(self):
        """Return (bids, asks), each [(price, quantity), ...] of up to `depth` levels, best first."""
        self._fill_top()
        cdef Py_ssize_t depth = self.depth
        return (
            [(self._top[i], self._top[depth + i]) for i in range(self.n_bids)],
            [(self._top[2 * depth + i], self._top[3 * depth + i]) for i in range(self.n_asks)],
        )

    def levels(self):
        """Return (bids, asks), each {price: quantity} of every level that is known, behind the horizon too."""
        return (
            {self._bids.key[i]: self._bids.qty[i] for i in range(self._bids.count)},
            {-self._asks.key[i]: self._asks.qty[i] for i in range(self._asks.count)},
        )

    cdef bint c_short(self) noexcept nogil:
        return (self._bids.horizon != -INFINITY and _complete(&self._bids, self.depth) < self.depth) or (
            self._asks.horizon != -INFINITY and _complete(&self._asks, self.depth) < self.depth
        )

    cdef bint c_crossed(self) noexcept nogil:
        if self._bids.count == 0 or self._asks.count == 0:
            return False
        return self._bids.key[self._bids.count - 1] >= -self._asks.key[self._asks.count - 1]

    cdef void _fill_top(self) noexcept nogil:
        cdef Py_ssize_t last = self._bids.count - 1
        cdef Py_ssize_t i
        self.n_bids = _complete(&self._bids, self.depth)
        for i in range(self.n_bids):
            self._top[i] = self._bids.key[last - i]
            self._top[self.depth + i] = self._bids.qty[last - i]
        last = self._asks.count - 1
        self.n_asks = _complete(&self._asks, self.depth)
        for i in range(self.n_asks):
            self._top[2 * self.depth + i] = -self._asks.key[last - i]
            self._top[3 * self.depth + i] = self._asks.qty[last - i]
