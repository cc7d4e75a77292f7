"""The CPUs that a fleet may use: which of them share a core, which a NUMA node, and how much time the cgroup allows.

    sched_getaffinity, cgroup cpuset, /sys/.../cpu/online      which
    /sys/devices/system/cpu/cpuN/topology                      cores: CPUs that are threads of one core (SMT)
    /sys/devices/system/node/nodeN                             nodes: CPUs that are near one memory (NUMA)
    cgroup cpu.max, cpu.cfs_quota_us                           how many CPUs' worth of time

Source: the kernel's admin-guide/cputopology.rst, admin-guide/mm/numaperf.rst.
"""

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from hive import cgroup

_CPU = Path("sys/devices/system/cpu")
_NODE = Path("sys/devices/system/node")


@dataclass(frozen=True, slots=True)
class Cpu:
    """One usable CPU: its number, that of its core (the lowest CPU of it, usable or not) and of its NUMA node."""

    number: int
    core: int
    node: int = 0


@dataclass(frozen=True, slots=True)
class Topology:
    """The CPUs that may be used, ascending; `quota` is how many CPUs' worth of time is allowed, None: all."""

    cpus: tuple[Cpu, ...]
    quota: float | None = None

    @classmethod
    def flat(cls, numbers: Iterable[int]) -> "Topology":
        """Return CPUs of which nothing is known: each a core of its own, all on one node."""
        return cls(tuple(Cpu(number, number) for number in sorted(numbers)))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The CPUs' numbers."""
        return tuple(cpu.number for cpu in self.cpus)

    @property
    def power(self) -> float:
        """How many CPUs' worth of time there is."""
        return float(len(self.cpus)) if self.quota is None else min(self.quota, float(len(self.cpus)))

    def node_of(self, number: int) -> int:
        """Return the node of a CPU."""
        return next(cpu.node for cpu in self.cpus if cpu.number == number)

    def cores(self) -> list[tuple[Cpu, ...]]:
        """Return the usable CPUs of each core, by node; the node with most of them first."""
        by_core: dict[int, list[Cpu]] = {}
        for cpu in self.cpus:
            by_core.setdefault(cpu.core, []).append(cpu)
        size = {cpu.node: 0 for cpu in self.cpus}
        for core in by_core.values():
            size[core[0].node] += 1
        return sorted(
            (tuple(core) for core in by_core.values()),
            key=lambda core: (-size[core[0].node], core[0].node, core[0].number),
        )


def read_topology(root: Path = Path("/"), affinity: Collection[int] | None = None) -> Topology:
    """Return what this process may use.

    Args:
        root: the folder with proc/ and sys/.
        affinity: the CPUs that the process may run on; None asks the kernel.
    """
    usable = set(os.sched_getaffinity(0) if affinity is None else affinity)
    for listed in (_text(root / _CPU / "online"), cgroup.cpuset(root)):
        if listed and usable & set(parse_list(listed)):
            usable &= set(parse_list(listed))
    nodes = _nodes(root)
    cpus = tuple(Cpu(number, _core(root, number), nodes.get(number, 0)) for number in sorted(usable))
    return Topology(cpus, cgroup.cpu_quota(root))


def parse_list(text: str) -> list[int]:
    """Return the numbers of a list as the kernel writes it: "0-3,8"."""
    numbers: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def show_list(numbers: Iterable[int]) -> str:
    """Return numbers as "0-3, 8"; two neighbours stay single."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _core(root: Path, number: int) -> int:
    folder = root / _CPU / f"cpu{number}" / "topology"
    listed = _text(folder / "core_cpus_list") or _text(folder / "thread_siblings_list")  # the second is the older name
    return min(parse_list(listed)) if listed else number


def _nodes(root: Path) -> dict[int, int]:
    found = {}
    for folder in (root / _NODE).glob("node[0-9]*"):
        if match := re.fullmatch(r"node(\d+)", folder.name):
            found |= dict.fromkeys(parse_list(_text(folder / "cpulist") or ""), int(match[1]))
    return found


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
