"""Where a fleet's processes and strategies go, and what they need. Pure: a fleet and CPUs in, a placement out.

Strategies are spread so that workers differ by at most one in number, and then as little as possible in weight.
Workers get a CPU each as long as there are enough; with one to spare, the first CPU is left to feed and gate. With more
workers than CPUs they share them evenly.
"""

from dataclasses import dataclass

from hive.fleet import FeedConfig, StrategyConfig
from hive.shm.book import books_size
from hive.shm.broadcast import broadcast_size

QUEUE_BYTES = 1 << 18  # a thousand messages each way
_COUNTERS_BYTES = 256 << 10  # feed's, gate's or a worker's own
_STRATEGY_COUNTERS_BYTES = 24 << 10
_SPARE = 0.25  # a restarted writer makes its next epoch before the last one is unlinked


class PlanError(Exception):
    """A fleet that cannot be placed as asked."""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """One worker: its CPU (None: wherever the kernel likes) and its strategies, in the fleet's order."""

    index: int
    cpu: int | None
    strategies: tuple[StrategyConfig, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """A fleet's workers; `shared_cpus` are for feed and gate (empty: any); `remarks` are lines for the operator."""

    workers: tuple[WorkerPlan, ...]
    shared_cpus: tuple[int, ...]
    remarks: tuple[str, ...]


def place(
    strategies: tuple[StrategyConfig, ...],
    *,
    workers: int | None,
    cpus: tuple[int, ...],
    limit: int,
    pin: bool = True,
) -> Placement:
    """Return the placement of a fleet's strategies.

    Args:
        strategies: at least one.
        workers: how many the operator wants, >= 1; None for one per CPU.
        cpus: the CPUs that may be used, ascending, at least one.
        limit: most strategies in one worker.
        pin: give each worker a CPU.

    Raises:
        PlanError: so many workers cannot hold the strategies; says how many can.
    """
    needed = -(-len(strategies) // limit)
    if workers is None:
        workers = max(needed, min(len(cpus), len(strategies)))
    if workers < needed:
        raise PlanError(
            f"{len(strategies)} strategies need at least {needed} workers of up to {limit} each "
            f"(runtime.max_strategies_per_container), --workers was {workers}"
        )
    used = min(workers, len(strategies))
    own, shared = _cpus(used, cpus) if pin else ([None] * used, ())
    groups = _balanced(strategies, used)
    made = tuple(WorkerPlan(index, cpu, group) for index, (cpu, group) in enumerate(zip(own, groups, strict=True)))
    return Placement(made, shared, tuple(_remarks(made, shared, cpus, workers, pin)))


def shm_bytes(feed: FeedConfig, venues: int, workers: int, strategies: int) -> int:
    """Return how many bytes of /dev/shm a fleet needs, with room for restarts."""
    one_venue = books_size(feed.instruments, feed.depth, feed.versions, feed.depths.values())
    books = venues * (one_venue + 2 * broadcast_size(feed.trades))  # trades and tops
    counters = (2 + workers) * _COUNTERS_BYTES + strategies * _STRATEGY_COUNTERS_BYTES
    queues = workers * 2 * (QUEUE_BYTES + 4096)
    return int((books + counters + queues) * (1 + _SPARE))


def _balanced(strategies: tuple[StrategyConfig, ...], workers: int) -> list[tuple[StrategyConfig, ...]]:
    groups: list[list[int]] = [[] for _ in range(workers)]
    weights = [0.0] * workers
    for index in sorted(range(len(strategies)), key=lambda i: (-strategies[i].weight, i)):
        lightest = min(range(workers), key=lambda w: (len(groups[w]), weights[w], w))
        groups[lightest].append(index)
        weights[lightest] += strategies[index].weight
    return [tuple(strategies[index] for index in sorted(group)) for group in groups]


def _cpus(workers: int, cpus: tuple[int, ...]) -> tuple[list[int], tuple[int, ...]]:
    if len(cpus) > workers:
        return list(cpus[-workers:]), cpus[: len(cpus) - workers]
    return [cpus[index % len(cpus)] for index in range(workers)], ()


def _remarks(
    workers: tuple[WorkerPlan, ...], shared: tuple[int, ...], cpus: tuple[int, ...], wanted: int, pin: bool
) -> list[str]:
    lines = []
    if len(workers) < wanted:
        lines.append(f"{len(workers)} workers instead of {wanted}: there are no more strategies than that")
    sizes = sorted({len(worker.strategies) for worker in workers})
    strategies = "1 strategy" if sizes == [1] else f"{'-'.join(map(str, sizes))} strategies"
    lines.append(f"{_number(len(workers), 'worker')} with {strategies} each")
    if not pin:
        lines.append("workers are not pinned (--no-pin)")
    elif shared:
        lines.append(f"workers on CPUs {_list(w.cpu for w in workers)}, feed and gate on {_list(shared)}")
    elif len(workers) <= len(cpus):
        lines.append(f"workers on CPUs {_list(w.cpu for w in workers)}, feed and gate where there is room")
    else:
        share = -(-len(workers) // len(cpus))
        lines.append(
            f"{len(workers)} workers share {_number(len(cpus), 'CPU')} ({_list(cpus)}), up to {share} on each: "
            f"more workers than CPUs only separate strategies from each other's deaths"
        )
    return lines


def _list(numbers) -> str:
    return ", ".join(str(number) for number in numbers)


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
