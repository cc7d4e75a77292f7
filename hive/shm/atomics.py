"""Words in shared memory in pure Python, the twin of atomics.pyx: Memory, OwnerWord and the clocks. x86-64 only.

Why this is sound without a fence:

- A word is one store. `words[i] = value` on a memoryview of format "Q" ends in CPython's pack_single(), which copies
  the 8 bytes of a C variable with a memcpy of constant size: one `mov` (`gdb -batch -ex 'disassemble pack_single'` on
  libpython shows it), and glibc's own moves 8 bytes as a whole too. Loads are the same in unpack_single(). An aligned
  mov of 8 bytes is atomic on x86-64. (struct with "<" would write byte by byte: it is used on private bytes only.)
- Their order is the order of the program. Every item assignment is a bytecode of its own, behind calls through
  pointers that a C compiler cannot see through, so nothing is moved at compile time. At run time x86-64 keeps stores in
  the order of other stores and loads in the order of other loads (Intel SDM vol. 3, 8.2.2): a store is a release and a
  load an acquire. A slice assignment is one memcpy; its bytes may become visible in any order among themselves, also as
  a fast string operation, but not beyond the next ordinary store (8.2.4), and that is the sequence word.
- What x86-64 does not give is a store before a later load of another word. No protocol here needs that.

There is no compare-and-swap in Python: OwnerWord asks the kernel instead.
"""

import ctypes
import fcntl
import os
import struct
import time
import weakref

from hive.shm.layout import LAYOUTS

GUARD = 2  # how OwnerWord keeps others out: by a lock of the kernel's; 1 in atomics.pyx: by compare-and-swap

_SHM_DIR = "/dev/shm"
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of x86-64 Linux: type, whence, start, len, pid
_TYPES = {
    "u32": ctypes.c_uint32,
    "i32": ctypes.c_int32,
    "u64": ctypes.c_uint64,
    "i64": ctypes.c_int64,
    "f64": ctypes.c_double,
    "text": ctypes.c_char,
}


class Memory:
    """Bytes of a mapping, held so that they stay mapped for as long as this object lives.

    Args:
        buffer: an object with the buffer protocol, contiguous (`Segment.buffer`).
        writable: whether the bytes will be written; BufferError when the mapping is read-only.
        name: of the segment that they are of, "" for other bytes; a word with several writers needs it.

    Attributes:
        size: bytes; octets, words, signed, doubles, halves: all of it as bytes, u64, i64, f64 and u32; read-only unless
            writable.
    """

    __slots__ = ("doubles", "halves", "name", "octets", "signed", "size", "words", "writable")

    def __init__(self, buffer, writable: bool = False, name: str = "") -> None:
        octets = memoryview(buffer).cast("B")
        if writable and octets.readonly:
            raise BufferError("this memory is mapped read-only")
        if not writable:
            octets = octets.toreadonly()
        whole = octets[: octets.nbytes // 8 * 8]
        self.octets = octets
        self.words = whole.cast("Q")
        self.signed = whole.cast("q")
        self.doubles = whole.cast("d")
        self.halves = whole.cast("I")
        self.size = octets.nbytes
        self.writable = writable
        self.name = name

    def at(self, offset: int, size: int) -> int:
        """Return `offset`; ValueError unless it is aligned and `size` bytes lie there."""
        if offset < 0 or size < 0 or offset > self.size - size:
            raise ValueError(f"offset must lie within {self.size} bytes with {size} to spare, was {offset}")
        if offset % 8:
            raise ValueError(f"offset must be a multiple of 8, was {offset}")
        return offset

    def load(self, offset: int) -> int:
        """Return the unsigned 64-bit word at `offset` (acquire)."""
        return self.words[self.at(offset, 8) >> 3]

    def store(self, offset: int, value: int) -> None:
        """Store the unsigned 64-bit word at `offset` (release)."""
        if not self.writable:
            raise ValueError("this memory is mapped read-only")
        self.words[self.at(offset, 8) >> 3] = value


class FileLock:
    """A lock on one word of a segment, which the kernel frees when its holder dies (an open file description lock).

    Args:
        memory: of a named segment, whose file is opened here.
        offset: of the word; locks of other words are other locks.
    """

    def __init__(self, memory: Memory, offset: int) -> None:
        if not memory.name:
            raise ValueError("a word with several writers must lie in a named segment")
        # Not shared with a fork by intent: one that never takes it does not hold it, but keeps it held until it ends.
        fd = os.open(_SHM_DIR + memory.name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._fd = fd
        self._take = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, 8, 0)
        self._free = _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, offset, 8, 0)
        weakref.finalize(self, os.close, fd)

    def take(self) -> bool:
        """Take it without waiting; return whether it was free."""
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, self._take)
        except BlockingIOError:
            return False
        return True

    def free(self) -> None:
        """Give it back."""
        fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, self._free)


class OwnerWord:
    """A word that says which process is inside a critical section: 0, or the identity of its owner.

    It is no lock to wait on: enter() spins for a bounded time and then says who is inside, and the caller judges
    whether that process lives.

    The compiled twin swaps the word atomically. Here whoever is inside holds a lock of the kernel's, which is freed by
    its death, and the word stays: taking the lock and finding an owner means that it died inside. The two do not
    exclude each other, so both ends of a queue must be of one kind (queue_header.guard).

    Args:
        memory: writable Memory of a named segment.
        offset: of the word, in bytes, a multiple of 8.
    """

    def __init__(self, memory: Memory, offset: int) -> None:
        if not memory.writable:
            raise ValueError("this memory is mapped read-only")
        self._words = memory.words
        self._index = memory.at(offset, 8) >> 3
        self._lock = FileLock(memory, offset)

    @property
    def owner(self) -> int:
        """The identity of the process inside, 0 when nobody is."""
        return self._words[self._index]

    def enter(self, me: int, spin_ns: int = 0) -> int:
        """Enter as `me` (not 0), spinning for up to `spin_ns`.

        Returns:
            0 when entered, else the identity of the process that is inside; `me`, a living one, when it has the lock
            and did not write its identity yet.
        """
        if me == 0:
            raise ValueError("an owner's identity must not be 0")
        until_ns = time.monotonic_ns() + spin_ns
        while True:
            if self._lock.take():
                seen = self._words[self._index]
                if seen == 0:
                    self._words[self._index] = me
                    return 0
                self._lock.free()
            else:
                seen = self._words[self._index] or me
            if spin_ns <= 0 or time.monotonic_ns() >= until_ns:
                return seen

    def leave(self) -> None:
        """Leave; only the owner may call this."""
        self._words[self._index] = 0  # before the lock is free: who takes it and finds an owner knows that he is dead
        self._lock.free()


def monotonic_ns() -> int:
    """Return CLOCK_MONOTONIC in nanoseconds, the same clock in every process of the host."""
    return time.monotonic_ns()


def boottime_ns() -> int:
    """Return CLOCK_BOOTTIME in nanoseconds: as monotonic_ns(), but it also counts while the machine is suspended."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def compiled_layout() -> dict:
    """Return {struct: {field: (offset, size)}} by the rules of this machine's C ABI; "" is the whole struct.

    The compiled twin returns what the compiler made of layout.h. Fields named spare are left out, as there.
    """
    return {layout.name: _by_abi(layout) for layout in LAYOUTS}


def _by_abi(layout) -> dict[str, tuple[int, int]]:
    members = [(field.name, _TYPES[field.type] * field.count) for field in layout.fields]
    made = type(layout.name, (ctypes.Structure,), {"_fields_": members})
    fields = {field.name: getattr(made, field.name) for field in layout.fields if not field.name.startswith("spare")}
    return {"": (0, ctypes.sizeof(made)), **{name: (one.offset, one.size) for name, one in fields.items()}}
