"""Named POSIX shared-memory segments: created once, mapped by name, judged by their creator.

A segment is `/hive.<run>.<name>.<epoch>`, mode 0600, created exclusively, its pages really allocated. It starts with a
header of 256 bytes (layout.SEGMENT_HEADER):

    line 0  magic (written last) | layout version | header bytes | layout hash | size | epoch | kind[24]
    line 1  creator pid | creator start ticks | wall time of creation
    line 2  heartbeat_ns (monotonic) | heartbeat_boot_ns | boot_offset_ns, alone, because they change
    line 3  spare

and the payload follows at `payload_offset`. A writer that restarts makes a segment of the next epoch; it never resumes
in place. Readers map read-only. Unmapping waits for the last object that points into the mapping.
"""

import errno
import mmap
import os
import stat
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import posix_ipc

from hive.shm.atomics import Memory, boottime_ns, monotonic_ns
from hive.shm.errors import LayoutMismatch, SegmentExists, SegmentMissing, ShmError, ShmFull
from hive.shm.layout import LAYOUT_HASH, LAYOUT_VERSION, MAGIC, SEGMENT_HEADER
from hive.shm.pages import check_wishes, prepare

SHM_DIR = Path("/dev/shm")
NAME_PREFIX = "hive."
PAYLOAD_OFFSET = SEGMENT_HEADER.size

_HEARTBEAT = SEGMENT_HEADER.offset("heartbeat_ns")
_HEARTBEAT_BOOT = SEGMENT_HEADER.offset("heartbeat_boot_ns")
_BOOT_OFFSET = SEGMENT_HEADER.offset("boot_offset_ns")
_ORPHAN_AGE_S = 10  # a file without a creator in it died between two system calls of create()


def process_start_ticks(pid: int) -> int | None:
    """Return when process `pid` started (clock ticks since boot), None when it does not live; a zombie does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(b")") + 2 :].split()  # the command's name may hold spaces and brackets
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def free_bytes() -> int:
    """Return how many bytes /dev/shm has free."""
    figures = os.statvfs(SHM_DIR)
    return figures.f_bavail * figures.f_frsize


def segment_name(run: str, name: str, epoch: int) -> str:
    """Return "/hive.<run>.<name>.<epoch>"; ValueError when a part is empty or holds a slash or blank."""
    for part in (run, name):
        if not part or "/" in part or " " in part:
            raise ValueError(f"a segment's run and name must be non-empty, without '/' or ' ', was {part!r}")
    if "." in run:
        raise ValueError(f"a segment's run must not hold '.', was {run!r}")
    return f"/{NAME_PREFIX}{run}.{name}.{epoch}"


class Segment:
    """A mapped segment. Make one with create() or open().

    Attributes:
        name: "/hive...."; size: bytes, header included; epoch; kind: what the payload is ("books", "trades", ...).
        creator_pid, creator_start: the process that made it, start in clock ticks since boot.
        buffer: memoryview of the whole segment, read-only unless writable.
        payload_offset: where the payload starts, a multiple of 64.
        memory_report: in the process that created it, what came of lock and huge (see pages.py).
    """

    payload_offset = PAYLOAD_OFFSET

    def __init__(self, name: str, mapping: mmap.mmap, *, writable: bool) -> None:
        self.name = name
        self.writable = writable
        self.memory_report: dict[str, Any] = {}
        self.buffer = memoryview(mapping)
        self._mapping = mapping
        self._memory = Memory(self.buffer, writable)
        header = _Header.parse(self.buffer)
        self.size = header.size
        self.epoch = header.epoch
        self.kind = header.kind
        self.creator_pid = header.creator_pid
        self.creator_start = header.creator_start

    @classmethod
    def create(
        cls, name: str, size: int, *, kind: str, epoch: int, lock: str = "off", huge: str = "off"
    ) -> "Segment":
        """Create, allocate and map a segment.

        Args:
            name: from segment_name().
            size: bytes of the whole segment, header included (what books_size() and its like return).
            kind: ASCII, up to 24 bytes.
            epoch: of its writer, >= 0.
            lock, huge: keep the pages in memory, use huge ones: "auto" (if allowed), "on", "off".

        Raises:
            SegmentExists: the name is taken.
            ShmFull: /dev/shm has not that many bytes free.
            MemoryNotAllowed: lock or huge must be "on" and cannot.
            ShmError: it cannot be made or mapped (no descriptor or memory is left, not allowed).
        """
        if size <= PAYLOAD_OFFSET:
            raise ValueError(f"{name}: size must be larger than its header of {PAYLOAD_OFFSET} bytes, was {size}")
        check_wishes(name, lock, huge)
        header = _Header.of_this_process(size, kind, epoch)
        try:
            shm = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600)
        except posix_ipc.ExistentialError:
            raise SegmentExists(f"segment {name} exists already") from None
        except (OSError, posix_ipc.Error) as error:
            raise ShmError(f"segment {name} cannot be made: {error}") from error
        try:
            # The creator goes in first: whoever sweeps can judge the file however far we came.
            _write_all(shm.fd, header.pack(magic=0), name, size)
            _allocate(shm.fd, size, name)
            os.fchmod(shm.fd, 0o600)
            mapping = _mapped(shm.fd, size, name, mmap.PROT_READ | mmap.PROT_WRITE)
            report = prepare(name, mapping, lock, huge)
        except BaseException:
            posix_ipc.unlink_shared_memory(name)
            raise
        finally:
            shm.close_fd()
        segment = cls(name, mapping, writable=True)
        segment.memory_report = report
        segment._memory.store(_BOOT_OFFSET, _word(boottime_ns() - monotonic_ns()))
        segment._memory.store(0, MAGIC)  # release: pairs with the load of the magic in open()
        return segment

    @classmethod
    def open(cls, name: str, *, kind: str | None = None, writable: bool = False) -> "Segment":
        """Map a segment that another process made.

        Args:
            name: as the creator named it.
            kind: what it must be; None takes any.
            writable: map it for writing too (order queues); readers leave it.

        Raises:
            SegmentMissing: no such segment, or it is not published yet.
            LayoutMismatch: another layout, kind or size than this build reads.
            ShmError: it cannot be mapped (no descriptor or memory is left, not allowed).
        """
        try:
            shm = posix_ipc.SharedMemory(name, read_only=not writable)
        except posix_ipc.ExistentialError:
            raise SegmentMissing(f"segment {name} does not exist") from None
        except (OSError, posix_ipc.Error) as error:
            raise ShmError(f"segment {name} cannot be opened: {error}") from error
        try:
            file_size = os.fstat(shm.fd).st_size
            if file_size <= PAYLOAD_OFFSET:
                raise SegmentMissing(f"segment {name} is not published yet: it has {file_size} bytes")
            prot = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
            mapping = _mapped(shm.fd, file_size, name, prot)
        finally:
            shm.close_fd()
        _check(name, mapping, file_size, kind)
        return cls(name, mapping, writable=writable)

    @property
    def heartbeat_ns(self) -> int:
        """When the writer last beat (monotonic), 0 when it never did."""
        return self._memory.load(_HEARTBEAT)

    @property
    def heartbeat_boot_ns(self) -> int:
        """When the writer last beat (CLOCK_BOOTTIME), 0 when it never did."""
        return self._memory.load(_HEARTBEAT_BOOT)

    def beat(self, now_ns: int, boot_ns: int | None = None) -> None:
        """Store the heartbeat; only the segment's writer calls this.

        Args:
            now_ns: CLOCK_MONOTONIC, for who watches the process.
            boot_ns: CLOCK_BOOTTIME, by which readers judge freshness; None reads the clock.
        """
        if boot_ns is None:
            boot_ns = boottime_ns()
            offset_ns = boot_ns - monotonic_ns()
        else:
            offset_ns = boot_ns - now_ns
        self._memory.store(_BOOT_OFFSET, _word(offset_ns))
        self._memory.store(_HEARTBEAT, now_ns)
        self._memory.store(_HEARTBEAT_BOOT, boot_ns)

    def memory(self) -> Memory:
        """Return the bytes of the segment as a Memory, which keeps them mapped."""
        return Memory(self.buffer, self.writable, self.name)

    def close(self) -> None:
        """Let go of the mapping; it is unmapped when the last reader or writer that points into it is gone."""
        self._memory = None
        mapping, self._mapping = self._mapping, None
        if mapping is None:
            return
        try:
            self.buffer.release()
            mapping.close()
        except BufferError:
            pass  # a BookReader or its like still points into it, and frees it when it goes

    def unlink(self) -> None:
        """Remove the name; who has it mapped keeps it. Repeating is harmless."""
        unlink(self.name)


def _word(value: int) -> int:
    """Return a signed value as the unsigned word that a struct's i64 is stored as."""
    return value & (1 << 64) - 1


def unlink(name: str) -> bool:
    """Remove the name of a segment; return whether it was there."""
    try:
        posix_ipc.unlink_shared_memory(name)
    except posix_ipc.ExistentialError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """What /dev/shm shows of a segment; `alive` says whether its creator lives."""

    name: str
    run: str
    kind: str
    size: int
    creator_pid: int
    creator_start: int
    alive: bool


def list_segments(run: str | None = None) -> list[SegmentInfo]:
    """Return the segments in /dev/shm (of one run when `run` is given) that this user may read, by name."""
    infos = (_inspect(path) for path in sorted(SHM_DIR.glob(f"{NAME_PREFIX}{run or '*'}.*")))
    return [info for info in infos if info is not None]


def sweep(run: str | None = None, keep: Collection[str] = ()) -> list[str]:
    """Unlink segments whose creator is dead, except of the kinds `keep`; return names.

    Without a `run`, those of all runs in which nobody lives any more: who lives may go on with what his dead left.
    A creator is its pid and its start time, so that another process with a reused pid does not keep a segment.
    """
    infos = list_segments(run)
    living = {info.run for info in infos if info.alive} if run is None else set()
    dead = [info for info in infos if not info.alive and info.kind not in keep and info.run not in living]
    return [info.name for info in dead if unlink(info.name)]


@dataclass(frozen=True, slots=True)
class _Header:
    magic: int
    layout_version: int
    layout_hash: int
    size: int
    epoch: int
    kind: str
    creator_pid: int
    creator_start: int
    created_wall_ns: int

    @classmethod
    def of_this_process(cls, size: int, kind: str, epoch: int) -> "_Header":
        if not kind.isascii() or not 0 < len(kind) <= 24:
            raise ValueError(f"kind must be 1 to 24 ASCII characters, was {kind!r}")
        pid = os.getpid()
        start = process_start_ticks(pid) or 0
        return cls(MAGIC, LAYOUT_VERSION, LAYOUT_HASH, size, epoch, kind, pid, start, time.time_ns())

    @classmethod
    def parse(cls, buffer) -> "_Header":
        fields = SEGMENT_HEADER.struct.unpack_from(buffer)
        magic, version, _, hash_, size, epoch, kind, pid, _, start, wall_ns = fields[:11]
        return cls(
            magic, version, hash_, size, epoch, kind.rstrip(b"\0").decode("ascii", "replace"), pid, start, wall_ns
        )

    def pack(self, *, magic: int) -> bytes:
        line0 = (magic, self.layout_version, PAYLOAD_OFFSET, self.layout_hash, self.size, self.epoch)
        line1 = (self.creator_pid, 0, self.creator_start, self.created_wall_ns)
        spare = (0,) * (5 + 1 + 7 + 8)
        return SEGMENT_HEADER.struct.pack(*line0, self.kind.encode("ascii"), *line1, *spare)


def _mapped(fd: int, size: int, name: str, prot: int) -> mmap.mmap:
    try:
        return mmap.mmap(fd, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=prot)
    except OSError as error:
        raise ShmError(f"segment {name}: cannot map {size} bytes: {error.strerror}") from error


def _full(name: str, size: int) -> ShmFull:
    return ShmFull(f"segment {name} needs {size} bytes, /dev/shm has {free_bytes()} free")


def _write_all(fd: int, data: bytes, name: str, size: int) -> None:
    try:
        os.pwrite(fd, data, 0)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _full(name, size) from None
        raise


def _allocate(fd: int, size: int, name: str) -> None:
    # ftruncate and MAP_POPULATE succeed on a full /dev/shm and the first write is a SIGBUS; fallocate says ENOSPC.
    # Asked first, because a fallocate that fails half-way takes everybody's last pages for that long.
    if size > free_bytes():
        raise _full(name, size)
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG):
            raise _full(name, size) from None
        raise ShmError(f"segment {name}: cannot allocate {size} bytes: {error.strerror}") from error


def _check(name: str, mapping: mmap.mmap, file_size: int, kind: str | None) -> None:
    if Memory(mapping).load(0) != MAGIC:  # acquire: pairs with the store of the magic in create()
        raise SegmentMissing(f"segment {name} is not published yet, or is no segment of Hive's")
    header = _Header.parse(mapping)
    if (header.layout_version, header.layout_hash) != (LAYOUT_VERSION, LAYOUT_HASH):
        raise LayoutMismatch(
            f"segment {name} has layout {header.layout_version}/{header.layout_hash:016x}, "
            f"this build reads {LAYOUT_VERSION}/{LAYOUT_HASH:016x}: restart what was built earlier"
        )
    if header.size != file_size:
        raise LayoutMismatch(f"segment {name} must have the {header.size} bytes of its header, was {file_size}")
    if kind is not None and header.kind != kind:
        raise LayoutMismatch(f"segment {name} must be of kind {kind!r}, was {header.kind!r}")


def _inspect(path: Path) -> SegmentInfo | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None  # another user's, or just gone
    try:
        status = os.fstat(fd)
        data = os.pread(fd, SEGMENT_HEADER.size, 0)
    finally:
        os.close(fd)
    if not stat.S_ISREG(status.st_mode):
        return None
    run = path.name.split(".")[1]
    if len(data) < SEGMENT_HEADER.size:
        young = time.time() - status.st_mtime < _ORPHAN_AGE_S
        return SegmentInfo(f"/{path.name}", run, "", status.st_size, 0, 0, young)
    header = _Header.parse(data)
    alive = process_start_ticks(header.creator_pid) == header.creator_start
    return SegmentInfo(
        f"/{path.name}", run, header.kind, status.st_size, header.creator_pid, header.creator_start, alive
    )
