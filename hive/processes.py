"""What /proc says of a process: CPU time and memory."""

import os
from dataclasses import dataclass
from pathlib import Path

from hive.shm.segment import process_start_ticks

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """CPU time used so far and bytes of memory; `pss` is None when it was not asked for or may not be read.

    `waited_ns` is for how long the process was ready and had no CPU.
    """

    cpu_ns: int
    rss: int
    pss: int | None = None
    waited_ns: int = 0


def process_facts(pid: int, *, pss: bool = False) -> ProcessFacts | None:
    """Return the facts of a living process, None when it does not live.

    Args:
        pid: its number.
        pss: read its proportional set size as well, which walks its page tables (about a millisecond per 100 MB).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    cpu_ns = (int(fields[11]) + int(fields[12])) * _TICK_NS
    return ProcessFacts(cpu_ns, int(fields[21]) * _PAGE, _pss(pid) if pss else None, run_delay_ns(pid))


def run_delay_ns(pid: int) -> int:
    """Return for how long a process's main thread was ready and had no CPU; 0 where the kernel does not count."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_bytes().split()[1])
    except (OSError, IndexError):
        return 0


def is_same(pid: int, start_ticks: int) -> bool:
    """Return whether `pid` is still the process that started then."""
    return process_start_ticks(pid) == start_ticks


def _pss(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it ended, or it holds keys and keeps its pages to itself
        return None
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return None
