"""Atomic words in shared memory from Python: Memory (a pinned mapping), OwnerWord (who is inside), the clock."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer

from hive.shm.layout cimport LAYOUT_FIELDS

GUARD = 1  # how OwnerWord keeps others out: by compare-and-swap of the word; 2 in the twin: by a lock of the kernel's


cdef class Memory:
    """Bytes of a mapping, held so that they stay mapped for as long as this object lives.

    Args:
        buffer: an object with the buffer protocol, contiguous (`Segment.buffer`).
        writable: whether the bytes will be written; BufferError when the mapping is read-only.
        name: of the segment, for the twin in pure Python.
    """

    def __cinit__(self, buffer, bint writable=False, name=""):
        PyObject_GetBuffer(buffer, &self._view, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
        self.base = <char *>self._view.buf
        self.size = self._view.len
        self.writable = writable

    def __dealloc__(self):
        PyBuffer_Release(&self._view)

    cdef char *at(self, Py_ssize_t offset, Py_ssize_t size) except NULL:
        if offset < 0 or size < 0 or offset > self.size - size:
            raise ValueError(f"offset must lie within {self.size} bytes with {size} to spare, was {offset}")
        if offset % 8:
            raise ValueError(f"offset must be a multiple of 8, was {offset}")
        return self.base + offset

    cdef uint64_t *_writable_word(self, Py_ssize_t offset) except NULL:
        if not self.writable:
            raise ValueError("this memory is mapped read-only")
        return <uint64_t *>self.at(offset, 8)

    def load(self, Py_ssize_t offset) -> int:
        """Return the unsigned 64-bit word at `offset` (acquire)."""
        return load_acquire(<uint64_t *>self.at(offset, 8))

    def store(self, Py_ssize_t offset, uint64_t value) -> None:
        """Store the unsigned 64-bit word at `offset` (release)."""
        store_release(self._writable_word(offset), value)


cdef class OwnerWord:
    """A word that says which process is inside a critical section: 0, or the identity of its owner.

    It is no lock to wait on: enter() spins for a bounded time and then says who is inside, and the caller judges
    whether that process lives.

    Args:
        memory: writable Memory.
        offset: of the word, in bytes, a multiple of 8.
    """

    def __cinit__(self, Memory memory, Py_ssize_t offset):
        self._word = memory._writable_word(offset)
        self._memory = memory

    @property
    def owner(self) -> int:
        """The identity of the process inside, 0 when nobody is."""
        return load_acquire(self._word)  # pairs with the release in leave()

    def enter(self, uint64_t me, int64_t spin_ns=0) -> int:
        """Enter as `me` (not 0), spinning for up to `spin_ns`.

        Returns:
            0 when entered, else the identity of the process that is inside.
        """
        if me == 0:
            raise ValueError("an owner's identity must not be 0")
        cdef uint64_t seen
        cdef int64_t deadline_ns = 0
        with nogil:
            while True:
                seen = compare_exchange(self._word, 0, me)  # acquire, pairs with the release in leave()
                if seen == 0 or spin_ns <= 0:
                    break
                if deadline_ns == 0:
                    deadline_ns = monotonic_clock_ns() + spin_ns
                elif monotonic_clock_ns() >= deadline_ns:
                    break
                cpu_relax()
        return seen

    def leave(self) -> None:
        """Leave; only the owner may call this."""
        store_release(self._word, 0)  # pairs with the acquire in enter()


def monotonic_ns() -> int:
    """Return CLOCK_MONOTONIC in nanoseconds, the same clock in every process of the host."""
    return monotonic_clock_ns()


def boottime_ns() -> int:
    """Return CLOCK_BOOTTIME in nanoseconds: as monotonic_ns(), but it also counts while the machine is suspended."""
    return c_boottime_ns()


def compiled_layout() -> dict:
    """Return {struct: {field: (offset, size)}} as the C compiler laid it out; the field "" is the whole struct."""
    cdef Py_ssize_t i = 0
    layouts = {}
    while LAYOUT_FIELDS[i].record is not NULL:
        record = LAYOUT_FIELDS[i].record.decode("ascii")
        field = LAYOUT_FIELDS[i].field.decode("ascii")
        layouts.setdefault(record, {})[field] = (LAYOUT_FIELDS[i].offset, LAYOUT_FIELDS[i].size)
        i += 1
    return layouts
