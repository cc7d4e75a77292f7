"""The loops that perf scripts time: Hive's C API and the rival's, without the interpreter between."""

from array import array

from cpython.contextvars cimport PyContext_Enter, PyContext_Exit
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from hive.shm.atomics cimport Memory, cpu_relax, load_acquire, load_relaxed, monotonic_clock_ns, store_release
from hive.shm.book cimport BookCopy, BookReader, BookTop, BookWriter

cdef extern from "rival.h" nogil:
    ctypedef struct rival_top:
        int64_t update_id
        int64_t exchange_ns
        int64_t local_ns
        double bid
        double bid_qty
        double ask
        double ask_qty

    ctypedef struct rival_heading:
        rival_top top
        uint32_t n_bids
        uint32_t n_asks

    ctypedef struct rival_book:
        uint64_t *head
        char *cells
        size_t cell_bytes
        uint64_t mask
        size_t room
        uint64_t sent

    ctypedef struct rival_copy:
        rival_heading heading
        double *bid_px
        double *bid_qty
        double *ask_px
        double *ask_qty

    double rival_top_loop(const rival_book *book, long n) noexcept
    double rival_copy_loop(const rival_book *book, rival_copy *into, long n) noexcept
    void rival_publish_loop(rival_book *book, rival_heading *heading, const double *columns, long n) noexcept
    int rival_word_ping(uint64_t *out, const uint64_t *in_, uint64_t first, long rounds) noexcept
    int rival_word_pong(uint64_t *out, const uint64_t *in_, uint64_t first, long rounds) noexcept
    int rival_ping(
        rival_book *out, const rival_book *in_, const double *columns, rival_copy *copy, int64_t first,
        long rounds, bint whole,
    ) noexcept
    int rival_pong(
        rival_book *out, const rival_book *in_, const double *columns, rival_copy *copy, int64_t first,
        long rounds, bint whole,
    ) noexcept

cdef extern from "waiting.h" nogil:
    enum:
        GIVE_UP_S
        LOOK_EVERY

    void deliver(const void *p) noexcept
    void drain_stores() noexcept

cdef enum:
    ROOM = 20  # levels per side of every book here

LEVELS = ROOM


class NoAnswerError(Exception):
    """The other process did not answer for some seconds."""


cdef class Columns:
    """The columns of a book: bid_px, bid_qty, ask_px, ask_qty, `LEVELS` numbers each."""

    cdef double values[4 * ROOM]

    def __init__(self, double first=100.0):
        for i in range(4 * ROOM):
            self.values[i] = first + i


cdef class Rival:
    """The rival's book in a segment that was made for the same book of Hive's: `offset` is that of its first line."""

    cdef Memory _memory
    cdef rival_book _book
    cdef rival_copy _copy
    cdef double *_levels
    cdef int64_t _sent

    def __cinit__(self, Memory memory, Py_ssize_t offset, Py_ssize_t cell_bytes, uint64_t cells):
        self._memory = memory
        self._book.head = <uint64_t *>memory.at(offset, 128 + cells * cell_bytes)
        self._book.cells = <char *>self._book.head + 128
        self._book.cell_bytes = cell_bytes
        self._book.mask = cells - 1
        self._book.room = ROOM
        self._levels = <double *>calloc(4 * ROOM, sizeof(double))
        if self._levels is NULL:
            raise MemoryError()
        self._copy.bid_px = self._levels
        self._copy.bid_qty = self._levels + ROOM
        self._copy.ask_px = self._levels + 2 * ROOM
        self._copy.ask_qty = self._levels + 3 * ROOM

    def __dealloc__(self):
        free(self._levels)

    def publish_ns(self, Columns columns, long n) -> float:
        """Publish n books of 20 levels; return ns for each."""
        cdef rival_heading heading
        cdef int64_t begun
        heading.top.bid, heading.top.bid_qty = columns.values[0], columns.values[ROOM]
        heading.top.ask, heading.top.ask_qty = columns.values[2 * ROOM], columns.values[3 * ROOM]
        heading.top.update_id = self._sent
        heading.top.exchange_ns = heading.top.local_ns = 1
        heading.n_bids = heading.n_asks = ROOM
        with nogil:
            begun = monotonic_clock_ns()
            rival_publish_loop(&self._book, &heading, columns.values, n)
            begun = monotonic_clock_ns() - begun
        self._sent = heading.top.update_id
        return begun / <double>n

    def top_ns(self, long n) -> tuple:
        """Read the top n times; return (ns for each, the sum of the bids)."""
        cdef double total
        cdef int64_t begun
        with nogil:
            begun = monotonic_clock_ns()
            total = rival_top_loop(&self._book, n)
            begun = monotonic_clock_ns() - begun
        return begun / <double>n, total

    def copy_ns(self, long n) -> tuple:
        """Copy the book n times; return (ns for each, the sum of the last asks' quantities)."""
        cdef double total
        cdef int64_t begun
        with nogil:
            begun = monotonic_clock_ns()
            total = rival_copy_loop(&self._book, &self._copy, n)
            begun = monotonic_clock_ns() - begun
        return begun / <double>n, total

    def ping_ns(self, Rival answer, Columns columns, int64_t first, long rounds, bint whole) -> float:
        """Send and wait for the answer, `rounds` times; return ns one way."""
        cdef int64_t begun
        cdef int status
        with nogil:
            begun = monotonic_clock_ns()
            status = rival_ping(
                &self._book, &answer._book, columns.values, &self._copy, first, rounds, whole
            )
            begun = monotonic_clock_ns() - begun
        if status:
            raise NoAnswerError
        return begun / <double>rounds / 2

    def pong(self, Rival question, Columns columns, int64_t first, long rounds, bint whole) -> None:
        """Answer `rounds` times."""
        cdef int status
        with nogil:
            status = rival_pong(
                &self._book, &question._book, columns.values, &self._copy, first, rounds, whole
            )
        if status:
            raise NoAnswerError


def word_ping_ns(Memory memory, Py_ssize_t out, Py_ssize_t back, uint64_t first, long rounds) -> float:
    """Send a word at the offset `out` and wait for it at `back`, `rounds` times; return ns one way."""
    cdef uint64_t *sent = memory._writable_word(out)
    cdef const uint64_t *answered = <const uint64_t *>memory.at(back, 8)
    cdef int64_t begun
    cdef int status
    with nogil:
        begun = monotonic_clock_ns()
        status = rival_word_ping(sent, answered, first, rounds)
        begun = monotonic_clock_ns() - begun
    if status:
        raise NoAnswerError
    return begun / <double>rounds / 2


def word_pong(Memory memory, Py_ssize_t out, Py_ssize_t back, uint64_t first, long rounds) -> None:
    """Answer at `back` what is sent at `out`, `rounds` times."""
    cdef uint64_t *answered = memory._writable_word(back)
    cdef const uint64_t *sent = <const uint64_t *>memory.at(out, 8)
    cdef int status
    with nogil:
        status = rival_word_pong(answered, sent, first, rounds)
    if status:
        raise NoAnswerError


cdef inline void _send(BookWriter writer, const double *values, int64_t number) noexcept nogil:
    writer.c_publish(
        number, number, number, number,
        values, values + ROOM, ROOM, values + 2 * ROOM, values + 3 * ROOM, ROOM,
    )


def publish_ns(BookWriter writer, Columns columns, long n) -> float:
    """Publish n books of 20 levels; return ns for each."""
    cdef int64_t begun
    cdef long i
    with nogil:
        begun = monotonic_clock_ns()
        for i in range(n):
            _send(writer, columns.values, i)
        begun = monotonic_clock_ns() - begun
    return begun / <double>n


def top_ns(BookReader reader, long n) -> tuple:
    """Read the top n times; return (ns for each, the sum of the bids)."""
    cdef BookTop top
    cdef double total = 0
    cdef int64_t begun
    cdef long i
    with nogil:
        begun = monotonic_clock_ns()
        for i in range(n):
            if reader.c_top(&top) == 1:
                deliver(&top)
                total += top.bid
        begun = monotonic_clock_ns() - begun
    return begun / <double>n, total


def copy_ns(BookReader reader, BookCopy copy, long n) -> tuple:
    """Copy the book n times; return (ns for each, the sum of the last asks' quantities)."""
    cdef double total = 0
    cdef int64_t begun
    cdef long i
    with nogil:
        begun = monotonic_clock_ns()
        for i in range(n):
            if reader.c_copy(copy) == 1:
                deliver(<void *>copy)
                total += copy.ask_qty[ROOM - 1]
        begun = monotonic_clock_ns() - begun
    return begun / <double>n, total


cdef int _await(BookReader reader, BookCopy copy, int64_t number, bint whole) noexcept nogil:
    """Return 0 once the reader shows the update, -1 when it does not come."""
    cdef BookTop top
    cdef int64_t begun = 0
    cdef long spins = 1
    while True:
        if whole:
            if reader.c_copy(copy) == 1 and copy.update_id == number:
                return 0
        elif reader.c_top(&top) == 1 and top.update_id == number:
            return 0
        cpu_relax()
        if spins % LOOK_EVERY == 0:
            if begun == 0:
                begun = monotonic_clock_ns()
            elif monotonic_clock_ns() - begun > GIVE_UP_S * <int64_t>1_000_000_000:
                return -1
        spins += 1


def ping_ns(
    BookWriter writer, BookReader answer, BookCopy copy, Columns columns, int64_t first, long rounds, bint whole
) -> float:
    """Send a book of 20 levels and wait for the answer, `rounds` times; return ns one way."""
    cdef int64_t begun
    cdef long i
    cdef int status = 0
    with nogil:
        begun = monotonic_clock_ns()
        for i in range(rounds):
            _send(writer, columns.values, first + i)
            writer.c_own_next(ROOM, ROOM)
            status = _await(answer, copy, first + i, whole)
            if status:
                break
        begun = monotonic_clock_ns() - begun
    if status:
        raise NoAnswerError
    return begun / <double>rounds / 2


def pong(
    BookWriter writer, BookReader question, BookCopy copy, Columns columns, int64_t first, long rounds, bint whole
) -> None:
    """Answer `rounds` times."""
    cdef long i
    cdef int status = 0
    with nogil:
        for i in range(rounds):
            status = _await(question, copy, first + i, whole)
            if status:
                break
            _send(writer, columns.values, first + i)
            writer.c_own_next(ROOM, ROOM)
    if status:
        raise NoAnswerError


# ---- A writer with readers ---------------------------------------------------------------------------------------


def read_until(BookReader reader, BookCopy copy, Memory control, Py_ssize_t mode_at, Py_ssize_t count_at) -> None:
    """Read as the word at `mode_at` says until it is 9: 0 rest, 1 top and 2 whole book, without pause.

    3 and 4 do the same for each new version only. Counts the versions that were read at `count_at`.
    """
    cdef uint64_t *mode_word = <uint64_t *>control.at(mode_at, 8)
    cdef uint64_t *count_word = control._writable_word(count_at)
    cdef uint64_t mode = 0
    cdef uint64_t seen = 0
    cdef int64_t counted = -1
    cdef int64_t looked = -1
    cdef int64_t latest
    cdef BookTop top
    with nogil:
        while mode != 9:
            mode = load_relaxed(mode_word)
            if mode == 0:
                for _ in range(100):
                    cpu_relax()
                continue
            if mode > 2:
                latest = reader.c_latest()
                if latest == looked:
                    cpu_relax()
                    continue
                looked = latest
            if mode & 1:
                if reader.c_top(&top) != 1 or <int64_t>top.version == counted:
                    continue
                counted = top.version
            else:
                if reader.c_copy(copy) != 1 or <int64_t>copy.version == counted:
                    continue
                counted = copy.version
            seen += 1
            store_release(count_word, seen)


def paced_publish_ns(
    BookWriter writer, Columns columns, long n, int64_t interval_ns, bint publish, bint drained
) -> array:
    """Publish a book of 20 levels every `interval_ns`, n times; return how long the thread was held each time, in ns.

    With `drained` also until other CPUs can see what was stored. Without `publish` the same for nothing: what the two
    readings of the clock cost.
    """
    took = array("q", bytes(8 * n))
    cdef int64_t[::1] into = took
    cdef int64_t due = monotonic_clock_ns() + interval_ns
    cdef int64_t begun
    cdef long i
    with nogil:
        for i in range(n):
            begun = monotonic_clock_ns()
            while begun < due:
                cpu_relax()
                begun = monotonic_clock_ns()
            if publish:
                _send(writer, columns.values, i)
                writer.c_own_next(ROOM, ROOM)
            if drained:
                drain_stores()
            into[i] = monotonic_clock_ns() - begun
            due += interval_ns
            if due < begun:  # the CPU was away: no burst to catch up
                due = begun + interval_ns
    return took


# ---- The clock ---------------------------------------------------------------------------------------------------


def tick_each(list contexts, list targets, double told) -> float:
    """Tick each of the targets inside its own contextvars.Context and do nothing else; return the ns for each."""
    cdef int64_t begun = monotonic_clock_ns()
    cdef Py_ssize_t i
    for i in range(len(targets)):
        PyContext_Enter(contexts[i])
        try:
            targets[i].tick(told)
        finally:
            PyContext_Exit(contexts[i])
    return (monotonic_clock_ns() - begun) / <double>len(targets)
