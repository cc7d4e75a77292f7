"""Where a fleet's processes and strategies go. Pure: strategies, what they cost and CPUs in, a placement out.

    strategies, heaviest first ──▶ the worker that has least to do yet      (`worker: dedicated`: a worker of its own)
    cores: | feed | gate | worker 0 | worker 1 | ...        enough cores: each its own, threads of one core not shared
           | feed + gate | worker 0 | worker 1 | ...        one core too few: feed and gate on the threads of one
           | worker 0, 2, feed, gate | worker 1, 3 | ...    no CPU to spare: workers share them, feed and gate float

The fullest and the emptiest worker differ at most by what the heaviest strategy costs, unless a worker is full
(R. L. Graham, Bounds on Multiprocessing Timing Anomalies, 1969). Feed and gate take the NUMA node with most cores, and
workers follow them there as long as it has room.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hive.fleet import FeedConfig, StrategyConfig
from hive.shm.book import books_size
from hive.shm.broadcast import broadcast_size
from hive.topology import Cpu, Topology, show_list

QUEUE_BYTES = 1 << 18  # a thousand messages each way
KEEP_APART_FROM = 4  # CPUs from which on feed and gate get theirs when nobody says how many workers
DEDICATED = "dedicated"
_COUNTERS_BYTES = 256 << 10  # feed's, gate's or a worker's own
_STRATEGY_COUNTERS_BYTES = 24 << 10
_SPARE = 0.25  # a restarted writer makes its next epoch before the last one is unlinked


class PlanError(Exception):
    """A fleet that cannot be placed as asked."""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """One worker: its CPU (None: wherever the kernel likes) and its strategies, in the fleet's order.

    `cost` is the sum of theirs; `dedicated`: it is there for one strategy alone.
    """

    index: int
    cpu: int | None
    strategies: tuple[StrategyConfig, ...]
    cost: float = 0.0
    dedicated: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """A fleet's workers, and the CPUs of feed and gate (empty: any); `remarks` are lines for the operator."""

    workers: tuple[WorkerPlan, ...]
    feed_cpus: tuple[int, ...]
    gate_cpus: tuple[int, ...]
    remarks: tuple[str, ...]

    @property
    def shared_cpus(self) -> tuple[int, ...]:
        """The CPUs of feed and gate together, ascending."""
        return tuple(sorted({*self.feed_cpus, *self.gate_cpus}))

    def cpus_of(self, role: str) -> tuple[int, ...]:
        """Return the CPUs of a process that is no worker; empty: any."""
        return {"feed": self.feed_cpus, "gate": self.gate_cpus}.get(role, ())


def place(
    strategies: tuple[StrategyConfig, ...],
    *,
    workers: int | None,
    cpus: Topology | tuple[int, ...],
    limit: int,
    pin: bool = True,
    costs: Mapping[str, float] | None = None,
) -> Placement:
    """Return the placement of a fleet's strategies.

    Args:
        strategies: at least one.
        workers: how many are to share what is not dedicated, >= 1; None: one per CPU, of KEEP_APART_FROM CPUs and more
            two less.
        cpus: the CPUs that may be used, at least one; or their numbers, when nothing else is known of them.
        limit: most strategies in one worker.
        pin: give each worker a CPU.
        costs: what each strategy costs, by its id, in any unit; None: its `weight`.

    Raises:
        PlanError: so many workers cannot hold the strategies; says how many can.
    """
    topology = cpus if isinstance(cpus, Topology) else Topology.flat(cpus)
    cost = {one.id: one.weight for one in strategies} if costs is None else costs
    sharing = tuple(one for one in strategies if one.worker != DEDICATED)
    alone = tuple(one for one in strategies if one.worker == DEDICATED)
    used = _how_many(len(sharing), len(alone), workers, topology, limit)
    groups = [*_balanced(sharing, used, limit, cost), *((one,) for one in alone)]
    loads = [sum(cost[one.id] for one in group) for group in groups]
    own, feed, gate = _seats(loads, topology) if pin else ([None] * len(groups), (), ())
    made = tuple(
        WorkerPlan(index, own[index], group, loads[index], index >= used) for index, group in enumerate(groups)
    )
    return Placement(made, feed, gate, tuple(_remarks(made, (feed, gate), topology, workers, pin)))


def shm_bytes(feed: FeedConfig, venues: int, workers: int, strategies: int) -> int:
    """Return how many bytes of /dev/shm a fleet needs, with room for restarts."""
    return sum(shm_parts(feed, venues, workers, strategies).values())


def shm_parts(feed: FeedConfig, venues: int, workers: int, strategies: int) -> dict[str, int]:
    """Return the same by what it is for."""
    parts = {
        "books": venues * books_size(feed.instruments, feed.depth, feed.versions, feed.depths.values()),
        "trades": venues * 2 * broadcast_size(feed.trades),  # trades and tops
        "counters": (2 + workers) * _COUNTERS_BYTES + strategies * _STRATEGY_COUNTERS_BYTES,
        "queues": workers * 2 * (QUEUE_BYTES + 4096),
    }
    return {**parts, "restarts": int(sum(parts.values()) * _SPARE)}


def _how_many(sharing: int, alone: int, wanted: int | None, topology: Topology, limit: int) -> int:
    """Return how many workers share the strategies that have none of their own."""
    needed = -(-sharing // limit)
    if wanted is None:
        cpus = max(1, int(topology.power))
        free = cpus - alone - (2 if cpus >= KEEP_APART_FROM else 0)
        wanted = max(needed, free, 1)
    if wanted < needed:
        raise PlanError(
            f"{sharing} strategies need at least {needed} workers of up to {limit} each "
            f"(runtime.max_strategies_per_container), --workers was {wanted}"
        )
    return min(wanted, sharing)


def _balanced(
    strategies: Sequence[StrategyConfig], workers: int, limit: int, cost: Mapping[str, float]
) -> list[tuple[StrategyConfig, ...]]:
    groups: list[list[int]] = [[] for _ in range(workers)]
    loads = [0.0] * workers
    for index in sorted(range(len(strategies)), key=lambda i: (-cost[strategies[i].id], i)):
        room = (worker for worker in range(workers) if len(groups[worker]) < limit)
        lightest = min(room, key=lambda w: (loads[w], len(groups[w]), w))
        groups[lightest].append(index)
        loads[lightest] += cost[strategies[index].id]
    return [tuple(strategies[index] for index in sorted(group)) for group in groups]


def _seats(loads: Sequence[float], topology: Topology) -> tuple[list[int], tuple[int, ...], tuple[int, ...]]:
    """Return the CPU of each worker, and those of feed and gate."""
    cores = topology.cores()
    workers = len(loads)
    spare = len(topology.cpus) - workers
    if spare == 0:
        return _in_turn(cores), (), ()
    if spare < 0:
        return _shared(loads, _in_turn(cores)), (), ()
    if len(cores) >= workers + 2:
        feed, gate = _numbers(cores[0]), _numbers(cores[1])
        return _in_turn(cores[2:])[:workers], feed, gate
    common = max(cores, key=len)  # the first of those with most threads
    rest = _in_turn([core for core in cores if core is not common])
    threads = _numbers(common)
    if spare >= 2 and len(threads) >= 2:
        return (rest + list(threads[2:]))[:workers], threads[:1], threads[1:2]
    return (rest + list(threads[1:]))[:workers], threads[:1], threads[:1]


def _in_turn(cores: Iterable[tuple[Cpu, ...]]) -> list[int]:
    """Return the CPUs of some cores: one of each core first, then their second threads."""
    cores = list(cores)
    most = max((len(core) for core in cores), default=0)
    return [core[turn].number for turn in range(most) for core in cores if turn < len(core)]


def _shared(loads: Sequence[float], cpus: Sequence[int]) -> list[int]:
    """Return a CPU for each of more workers than CPUs, heaviest first to where least is to do."""
    seats = [0] * len(loads)
    load, count = [0.0] * len(cpus), [0] * len(cpus)
    for worker in sorted(range(len(loads)), key=lambda w: (-loads[w], w)):
        best = min(range(len(cpus)), key=lambda seat: (load[seat], count[seat], seat))
        seats[worker] = cpus[best]
        load[best] += loads[worker]
        count[best] += 1
    return seats


def _numbers(core: tuple[Cpu, ...]) -> tuple[int, ...]:
    return tuple(cpu.number for cpu in core)


def _remarks(
    workers: tuple[WorkerPlan, ...],
    own: tuple[tuple[int, ...], tuple[int, ...]],
    topology: Topology,
    wanted: int | None,
    pin: bool,
) -> list[str]:
    lines = []
    sharing = [worker for worker in workers if not worker.dedicated]
    if wanted is not None and len(sharing) < wanted:
        lines.append(f"{len(sharing)} workers instead of {wanted}: there are no more strategies than that")
    sizes = [len(worker.strategies) for worker in sharing]
    if sizes:
        each = " each" if len(sizes) > 1 else ""
        lines.append(f"{_number(len(sizes), 'worker')} with {_sizes(min(sizes), max(sizes))}{each}")
    if alone := [worker.strategies[0].id for worker in workers if worker.dedicated]:
        lines.append(f"{_number(len(alone), 'worker')} for one strategy alone (worker: dedicated): {', '.join(alone)}")
    if not pin:
        lines.append("workers are not pinned (--no-pin)")
    else:
        lines += _cpu_remarks(workers, *own, topology)
    if topology.quota is not None and topology.quota < len(topology.cpus):
        lines.append(f"the cgroup allows {topology.quota:g} CPUs' worth of time on {len(topology.cpus)} CPUs")
    return lines


def _cpu_remarks(
    workers: tuple[WorkerPlan, ...], feed: tuple[int, ...], gate: tuple[int, ...], topology: Topology
) -> list[str]:
    cpus = topology.numbers
    if len(workers) > len(cpus):
        share = max(Counter(worker.cpu for worker in workers).values())
        return [
            f"{len(workers)} workers share {_number(len(cpus), 'CPU')} ({show_list(cpus)}), up to {share} on each: "
            f"more workers than CPUs only separate strategies from each other's deaths"
        ]
    which = show_list(worker.cpu for worker in workers)
    where = f"workers on CPUs {which}" if len(workers) > 1 else f"worker on CPU {which}"
    if not feed:
        lines = [f"{where}, feed and gate where there is room"]
    elif feed == gate:
        lines = [f"{where}, feed and gate on {show_list(feed)}"]
    else:
        lines = [f"{where}, feed on {show_list(feed)}, gate on {show_list(gate)}"]
    return lines + _near_and_far(workers, feed, gate, topology)


def _near_and_far(
    workers: tuple[WorkerPlan, ...], feed: tuple[int, ...], gate: tuple[int, ...], topology: Topology
) -> list[str]:
    """Return a line for workers that share a core, and for those that are far from the feed's memory."""
    cores = {cpu.number: cpu.core for cpu in topology.cpus}
    busy = [cores[worker.cpu] for worker in workers]
    taken = {cores[cpu] for cpu in (*feed, *gate)}
    lines = []
    if together := [w.index for w in workers if busy.count(cores[w.cpu]) > 1 or cores[w.cpu] in taken]:
        lines.append(f"workers {show_list(together)} share a core with another process (threads of one core)")
    if feed:
        near = topology.node_of(feed[0])
        if far := [worker.index for worker in workers if topology.node_of(worker.cpu) != near]:
            lines.append(f"workers {show_list(far)} are on another NUMA node than the feed ({near})")
    return lines


def _sizes(least: int, most: int) -> str:
    if least == most:
        return _number(most, "strategy", "strategies")
    return f"{least}-{most} strategies"


def _number(count: int, what: str, many: str | None = None) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {many or what + 's'}"
