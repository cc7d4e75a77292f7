"""How the feed's loop waits: in C, and it beats meanwhile.

    wait(): ──beat── 27 ms ──beat── 27 ms ──▶ something is ready | the time is over | the beat would come late

A beat stores the heartbeat of every segment. An interpreter that was asleep for 27 ms finds its own code no longer in
the caches of the CPU: a beat that is a timer of asyncio takes 100 us then, one in C a third of that, most of it the
wake-up itself. A loop that does not wait does not beat, so one that a callback holds is seen; and a beat that would
come late is not made here: whoever waits has to look first, and make it.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t

from hive.shm.atomics cimport Memory, c_boottime_ns, monotonic_clock_ns, store_release
from hive.shm.layout cimport segment_header

QUIET, READABLE, LOOK = 0, 1, 2
cdef enum:
    _QUIET = 0
    _READABLE = 1
    _LOOK = 2
    EARLY = 3  # a loop that is awake beats from this part of the time between two on: few wake-ups are for beats
    MOST_EVENTS = 64  # in one go; what more is ready comes with the next wait
    MS_NS = 1000000

    _EVENT_READ = 1  # selectors.EVENT_READ
    _EVENT_WRITE = 2

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN
        EPOLLOUT
    int epoll_wait(int epoll, epoll_event *events, int most, int timeout_ms)


cdef inline int selected(uint32_t events) noexcept nogil:
    """Return what a selector calls these events of epoll: an error or hang-up is readable and writable."""
    return (_EVENT_READ if events & ~<uint32_t>EPOLLOUT else 0) | (_EVENT_WRITE if events & ~<uint32_t>EPOLLIN else 0)


cdef inline int64_t _end_ns(object timeout) except -2:
    """Return when a timeout in seconds is over, -1 for None."""
    return -1 if timeout is None else monotonic_clock_ns() + max(0, <int64_t>(<double>timeout * 1e9))


cdef inline object _first(list timers):
    """Return the timer that is due first; None when there is none."""
    return timers[0] if timers else None


cdef list _readers(const epoll_event *events, int count, dict keys):
    """Return the handles of asyncio that are to read, None when there is anything else to do."""
    cdef list readers = []
    cdef int at
    for at in range(count):
        key = keys.get(events[at].data.fd)
        if key is None:
            continue
        reader = key.data[0] if selected(events[at].events) & <int>key.events == _EVENT_READ else None
        if reader is None or reader._cancelled:
            return None
        readers.append(reader)
    return readers


cdef int _read(object loop, object reader) except -1:
    """Run a handle of asyncio as its loop does, but for the code in Python around it."""
    try:
        reader._context.run(reader._callback, *reader._args)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        told = {"message": f"Exception in callback {reader!r}", "exception": error, "handle": reader}
        loop.call_exception_handler(told)
    return 0


cdef class Heart:
    """The heartbeats of the segments `memories`, which this process alone writes.

    `last_ns` and `last_boot_ns` are when it beat last, by CLOCK_MONOTONIC and CLOCK_BOOTTIME, 0 before it ever did.
    `ready` is what the last wait found: (key, events) of each descriptor, as a selector returns it. `woke_ns` and
    `served` are of serve().

    Args:
        every_ns: between two beats.
        look_after_ns: a beat that would come later than that after the one before, by either clock, is not made.
    """

    def __init__(self, *, int64_t every_ns, int64_t look_after_ns):
        if not 0 < every_ns < look_after_ns:
            raise ValueError(f"every_ns must lie between 0 and look_after_ns = {look_after_ns}, was {every_ns}")
        self._every_ns = every_ns
        self._look_after_ns = look_after_ns
        self.memories = []
        self.ready = []

    def keep(self, memories) -> None:
        """Beat for these segments from now on: writable Memory of each."""
        cdef Memory memory
        for memory in memories:
            memory._writable_word(0)
        self.memories = list(memories)

    def beat(self, int64_t now_ns, int64_t boot_ns) -> None:
        """Beat, however late: CLOCK_MONOTONIC and CLOCK_BOOTTIME of now."""
        self._beat(now_ns, boot_ns)

    def wait(self, epoll, timeout, dict keys not None) -> int:
        """Wait until a file of `epoll` is ready (`ready`), for `timeout` seconds at most (None: without end).

        Times are rounded up to milliseconds, as select.epoll does. `keys` has the SelectorKey of each descriptor; one
        without is left out.

        Returns:
            READABLE (nothing may be `ready`: a signal came), QUIET when the time is over, or LOOK: the beat that was
            due has not been made, and nothing waited for.
        """
        cdef epoll_event events[MOST_EVENTS]
        cdef int found
        cdef int count = 0
        self.ready = []
        found = self._wait(epoll.fileno(), _end_ns(timeout), events, &count)
        self._list(events, count, keys)
        return found

    def serve(self, epoll, timeout, dict keys not None, loop, int64_t most) -> int:
        """Wait as wait() does, and let `loop`'s readers read meanwhile, at once, without a turn of the loop.

        It goes on until something is to be done that is the loop's: a callback or an earlier timer of it, a file that
        is to be written to (`ready`), or `most` times in which something was read. `served` is how many there were,
        `woke_ns` when the last one began (monotonic); everything is run in the order in which the loop would have.
        """
        cdef epoll_event events[MOST_EVENTS]
        cdef int64_t end_ns = _end_ns(timeout)
        cdef int fd = epoll.fileno()
        cdef int found, count
        cdef list readers
        cdef object first = _first(loop._scheduled)
        callbacks = loop._ready
        self.ready = []
        self.served = 0
        while True:
            count = 0
            found = self._wait(fd, end_ns, events, &count)
            if count == 0:
                return found
            readers = _readers(events, count, keys)
            if readers is None:
                self._list(events, count, keys)
                return found
            self.served += 1
            self.woke_ns = monotonic_clock_ns()
            for reader in readers:
                if not reader._cancelled:  # by one before it
                    _read(loop, reader)
            if len(callbacks) or self.served >= most or _first(loop._scheduled) is not first:
                return found
            if 0 <= end_ns <= monotonic_clock_ns():
                return found

    cdef int _wait(self, int fd, int64_t end_ns, epoll_event *events, int *into) except -1:
        """Wait as wait() does, until `end_ns` (-1: without end); put how many events there are into `into`."""
        cdef int64_t now_ns = monotonic_clock_ns()
        cdef int64_t left_ns
        cdef int count
        if now_ns >= self.last_ns + self._every_ns // EARLY and self._beat_or_look(now_ns):
            return _LOOK
        while True:
            left_ns = self.last_ns + self._every_ns - now_ns
            if end_ns >= 0:
                left_ns = min(left_ns, end_ns - now_ns)
            left_ns = max(0, left_ns)
            with nogil:
                count = epoll_wait(fd, events, MOST_EVENTS, <int>((left_ns + MS_NS - 1) // MS_NS))
            if count > 0:
                into[0] = count
                return _READABLE
            if count < 0:
                if errno == EINTR:
                    return _READABLE
                raise OSError(errno, "epoll_wait")
            PyErr_CheckSignals()  # one that came between two waits has ended neither
            now_ns = monotonic_clock_ns()
            if now_ns >= self.last_ns + self._every_ns and self._beat_or_look(now_ns):
                return _LOOK
            if 0 <= end_ns <= now_ns:
                return _QUIET

    cdef int _list(self, const epoll_event *events, int count, dict keys) except -1:
        """Make events what a selector returns."""
        cdef int at
        for at in range(count):
            key = keys.get(events[at].data.fd)
            if key is not None:
                self.ready.append((key, selected(events[at].events) & <int>key.events))
        return 0

    cdef bint _beat_or_look(self, int64_t now_ns) except -1:
        """Beat, unless that would be late; return whether it would."""
        cdef int64_t boot_ns = c_boottime_ns()
        if self.last_ns and max(now_ns - self.last_ns, boot_ns - self.last_boot_ns) > self._look_after_ns:
            return True
        self._beat(now_ns, boot_ns)
        return False

    cdef int _beat(self, int64_t now_ns, int64_t boot_ns) except -1:
        cdef Memory memory
        cdef segment_header *header
        for memory in self.memories:
            header = <segment_header *>memory.base
            store_release(<uint64_t *>&header.boot_offset_ns, <uint64_t>(boot_ns - now_ns))
            store_release(<uint64_t *>&header.heartbeat_ns, <uint64_t>now_ns)
            store_release(<uint64_t *>&header.heartbeat_boot_ns, <uint64_t>boot_ns)  # pairs with a reader's load
        self.last_ns = now_ns
        self.last_boot_ns = boot_ns
        return 0
