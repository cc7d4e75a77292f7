"""The pages under a writer's segment: present before they are needed, locked and huge where that is allowed.

Each wish is "auto" (if the machine allows it), "on" (an error when it does not) or "off". What came of it is a report:

    {"locked": bool, "huge_pages": bool, "numa_node": node of the pages, None when mixed or unknown, "why": text}

Pages are allocated by posix_fallocate() in segment.py and touched here, both by the process that will write them, so
they lie on its NUMA node. Huge pages come last, by collapsing pages that are there: to ask for them first would mean to
allocate by touching, and on a full /dev/shm a touch is a SIGBUS.
"""

import ctypes
import mmap
import os
import resource
from pathlib import Path
from typing import Any

from hive.shm.errors import MemoryNotAllowed

WISHES = ("auto", "on", "off")
HUGE_PAGE_BYTES_FILE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
MADV_POPULATE_WRITE = 23  # Linux 5.14
MADV_COLLAPSE = 25  # Linux 6.1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mlock.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def check_wishes(name: str, lock: str, huge: str) -> None:
    """Raise ValueError unless both are "auto", "on" or "off"."""
    for what, wish in (("lock", lock), ("huge", huge)):
        if wish not in WISHES:
            raise ValueError(f"{name}: {what} must be one of {', '.join(WISHES)}, was {wish!r}")


def prepare(name: str, mapping: mmap.mmap, lock: str, huge: str) -> dict[str, Any]:
    """Make the pages of a new segment present, and huge and locked as wished; return the report.

    Args:
        name: the segment's, as in "/hive.run.name.epoch".
        mapping: the whole of it, writable.
        lock, huge: "auto", "on" or "off".

    Raises:
        MemoryNotAllowed: what must be "on" is not allowed here; says what would allow it.
    """
    _try_advise(mapping, MADV_POPULATE_WRITE)  # an older kernel: MAP_POPULATE has read them in
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    why = []
    huge_kb = _make_huge(name, mapping, address, huge, why)
    locked = _lock(name, address, len(mapping), lock, why)
    node = numa_node(name, why)
    return {"locked": locked, "huge_pages": huge_kb > 0, "numa_node": node, "why": "; ".join(why)}


def _lock(name: str, address: int, size: int, wish: str, why: list[str]) -> bool:
    if wish == "off":
        why.append("locking is off")
        return False
    if _libc.mlock(address, size) == 0:
        return True
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    reason = f"{os.strerror(ctypes.get_errno())}: RLIMIT_MEMLOCK is {soft} bytes for all that a process locks"
    if wish == "on":
        raise MemoryNotAllowed(f"segment {name}: its {size} bytes cannot be locked ({reason}): raise it, or do not ask")
    why.append(f"not locked ({reason})")
    return False


def _make_huge(name: str, mapping: mmap.mmap, address: int, wish: str, why: list[str]) -> int:
    """Return how many kB of the mapping are on huge pages."""
    if wish == "off":
        why.append("huge pages are off")
        return 0
    huge_bytes = huge_page_bytes()
    if huge_bytes and len(mapping) < huge_bytes:
        why.append(f"smaller than a huge page of {huge_bytes >> 10} kB")
        return 0
    reason = "this kernel has none"
    if huge_bytes and _try_advise(mapping, mmap.MADV_HUGEPAGE):
        _try_advise(mapping, MADV_COLLAPSE)
        huge_kb = _huge_kb(address)
        if huge_kb:
            return huge_kb
        reason = "the kernel gives /dev/shm none: it must be mounted with huge=advise or huge=within_size"
    if wish == "on":
        raise MemoryNotAllowed(f"segment {name}: no huge pages ({reason})")
    why.append(f"no huge pages ({reason})")
    return 0


def _try_advise(mapping: mmap.mmap, advice: int) -> bool:
    try:
        mapping.madvise(advice)
    except OSError:
        return False
    return True


def huge_page_bytes() -> int:
    """Return the size of a huge page, 0 when the kernel has none for shared memory."""
    try:
        return int(HUGE_PAGE_BYTES_FILE.read_text())
    except (OSError, ValueError):
        return 0


def _huge_kb(address: int) -> int:
    """Return how many kB of the mapping that begins at `address` the page tables hold as huge pages."""
    found = False
    kb = 0
    with open("/proc/self/smaps") as lines:
        for line in lines:
            first = line.split(maxsplit=1)[0]
            if "-" in first and not first.endswith(":"):
                found = int(first.split("-")[0], 16) == address
            elif found and first in ("ShmemPmdMapped:", "FilePmdMapped:"):
                kb += int(line.split()[1])
    return kb


def numa_node(name: str, why: list[str]) -> int | None:
    """Return the NUMA node that all present pages of a mapped segment lie on, None when mixed or unknown."""
    try:
        text = Path("/proc/self/numa_maps").read_text()
    except OSError:
        why.append("the kernel does not say which NUMA node the pages are on")
        return None
    nodes = set()
    for line in text.splitlines():
        if f"file=/dev/shm{name}" in line.split():
            nodes |= {word[1:].split("=")[0] for word in line.split()[2:] if word[0] == "N" and word[1:2].isdigit()}
    if len(nodes) == 1:
        return int(nodes.pop())
    why.append(f"pages on NUMA nodes {', '.join(sorted(nodes))}" if nodes else "the NUMA node is not known")
    return None
