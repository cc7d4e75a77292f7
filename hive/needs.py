"""What a fleet needs of the machine and of its venues, and what of it is not there. Pure: figures in, figures out.

    placement, costs, memory, /dev/shm ──▶ Needs: parts and sums ──▶ problems (will not fit)   warnings
    fleet, the venue's stated limits   ──▶ connections, budget of orders for each strategy

A strategy's share of an account is that of its weight (`quota.weight` x 2 ** `priority_level`) among all that trade
there: it gets so much when everybody wants more, and what others leave on top (docs/gate.md, Fairness).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hive.costs import Costs
from hive.descriptors import open_files, too_few
from hive.feed.binance import BinanceSpot
from hive.fleet import FleetConfig, ReplayVenue, StrategyConfig, Venue
from hive.gate.venue_limits import BINANCE_WEIGHTS, Operation
from hive.plan import Placement, WorkerPlan
from hive.sim.limits import DAY_MS, TEN_SECONDS_MS, LimitSettings

STATED = LimitSettings()  # what Binance states in exchangeInfo; the gate reads the account's own when it starts
USER_CONNECTIONS = 2  # orders, and the user data stream
STREAMS_PER_PAIR = 2  # book and trades
FULL, NEARLY_FULL = 1.0, 0.8  # of one CPU
IDS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is: CPUs' worth of time, and free bytes of memory (None: not known) and of /dev/shm.

    files: how many a process may have open; None: as many as it likes.
    """

    cpus: float
    memory: int | None
    shm: int
    files: int | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """What one strategy may send to an account: its part, what it gets at least, and limits of its own (None: none)."""

    id: str
    part: float
    orders_per_s: float
    orders_cap: float | None
    weight_per_min: float
    weight_cap: int | None


@dataclass(frozen=True, slots=True)
class VenueNeeds:
    """One venue's connections, and its budget of orders unless it takes none.

    orders_per_s: what the account and the fleet file allow. a_day_per_s: what the venue's limit of a day comes to.
    weight_per_min: the gate's part of the request weight. order_weight: what a new order and its cancel cost of it.
    """

    name: str
    mode: str
    pairs: int
    market: int
    market_most: int
    user: int
    orders_per_s: float
    a_day_per_s: float
    weight_per_min: float
    order_weight: int
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Needs:
    """All of it. Bytes by part; `memory` is empty where there is no measurement. `problems`: it will not fit.

    files: the most that a process of each role has open.
    """

    cpus: float | None
    memory: Mapping[str, float]
    shm: Mapping[str, int]
    files: Mapping[str, int]
    venues: tuple[VenueNeeds, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def needs_of(
    fleet: FleetConfig,
    placement: Placement,
    costs: Costs,
    memory: Mapping[str, float],
    shm: Mapping[str, int],
    machine: Machine,
) -> Needs:
    """Return what a fleet needs, with what is missing for it."""
    venues = tuple(_venue(fleet, venue) for venue in fleet.venues)
    cpus = sum(worker.cost for worker in placement.workers) if costs.in_cpus else None
    files = open_files(fleet, [len(worker.strategies) for worker in placement.workers])
    problems = [*_too_little(memory, shm, machine), *_too_many(fleet, venues)]
    if line := too_few(files, machine.files):
        problems.append(line)
    warnings = [line for venue in venues for line in _order_warnings(fleet, venue)]
    if cpus is not None:
        problems += _overload(placement, cpus, machine)
        warnings += [
            f"worker {worker.index} will use {worker.cost:.2f} of a CPU: its ticks will often be late"
            for worker in placement.workers
            if NEARLY_FULL <= worker.cost < FULL
        ]
    return Needs(cpus, memory, shm, files, venues, tuple(problems), (*warnings, *_without_capital(fleet)))


def traders(fleet: FleetConfig, venue: Venue) -> list[StrategyConfig]:
    """Return the strategies that use a venue; one whose configuration names none may use any."""
    return [one for one in fleet.strategies if venue.name in one.venues or not one.venues]


def _venue(fleet: FleetConfig, venue: Venue) -> VenueNeeds:
    strategies = traders(fleet, venue)
    pairs = {pair for one in strategies for pair in one.pairs}
    streams = STREAMS_PER_PAIR * len(pairs)
    takes_orders = not isinstance(venue, ReplayVenue)
    a_day = STATED.orders_day / (DAY_MS / 1e3)
    ours = fleet.rate_limiting.global_orders_per_second
    orders = min(STATED.orders_10s / (TEN_SECONDS_MS / 1e3), float("inf") if ours is None else ours)
    weight = STATED.weight * (1 - fleet.rate_limiting.feed_share)
    return VenueNeeds(
        name=venue.name,
        mode=venue.mode,
        pairs=len(pairs),
        market=-(-streams // BinanceSpot.streams_per_connection) if takes_orders else 0,
        market_most=fleet.multiplexer.max_connections_per_exchange,
        user=USER_CONNECTIONS if takes_orders else 0,
        orders_per_s=orders if takes_orders else 0.0,
        a_day_per_s=a_day if takes_orders else 0.0,
        weight_per_min=weight if takes_orders else 0.0,
        order_weight=BINANCE_WEIGHTS[Operation.PLACE] + BINANCE_WEIGHTS[Operation.CANCEL],
        shares=tuple(_shares(fleet, strategies, orders, weight)) if takes_orders else (),
    )


def _shares(fleet: FleetConfig, strategies: list[StrategyConfig], orders: float, weight: float) -> list[Share]:
    parts = {one.id: one.quota.weight * 2.0**one.quota.priority_level for one in strategies}
    total = sum(parts.values())
    each = fleet.rate_limiting.per_strategy_orders_per_second
    shares = []
    for one in strategies:
        part = parts[one.id] / total
        caps = [cap for cap in (one.quota.max_orders_per_second, each) if cap is not None]
        cap, weight_cap = min(caps, default=None), one.quota.max_api_weight_per_minute
        at_least = min([part * orders, *caps])
        weight_at_least = part * weight if weight_cap is None else min(part * weight, weight_cap)
        shares.append(Share(one.id, part, at_least, cap, weight_at_least, weight_cap))
    return shares


def _too_little(memory: Mapping[str, float], shm: Mapping[str, int], machine: Machine) -> list[str]:
    lines = []
    wanted = sum(memory.values())
    if machine.memory is not None and wanted > machine.memory:
        lines.append(f"memory: {machine.memory / 1e6:.0f} MB are free, this fleet needs {wanted / 1e6:.0f} MB")
    wanted = sum(shm.values())
    if wanted > machine.shm:
        lines.append(
            f"/dev/shm has {machine.shm / 1e6:.1f} MB free, this fleet needs {wanted / 1e6:.1f} MB: "
            "make it larger (docker: --shm-size), or lower feed.instruments, feed.depth or feed.versions"
        )
    return lines


def _too_many(fleet: FleetConfig, venues: tuple[VenueNeeds, ...]) -> list[str]:
    lines = []
    for venue in venues:
        if venue.pairs > fleet.feed.instruments:
            room = f"there is room for {fleet.feed.instruments} (feed.instruments)"
            lines.append(f"{venue.name}: {venue.pairs} pairs, {room}")
        if venue.market > venue.market_most:
            lines.append(
                f"{venue.name}: needs {venue.market} market connections, may have {venue.market_most} "
                "(multiplexer.max_connections_per_exchange)"
            )
    return lines


def _overload(placement: Placement, cpus: float, machine: Machine) -> list[str]:
    """Return a line for each worker or CPU that has more to do than one CPU can, and one for all of them."""
    lines = [
        f"worker {worker.index} needs {worker.cost:.2f} of a CPU and can have one: {_advice(worker)}"
        for worker in placement.workers
        if worker.cost > FULL
    ]
    by_cpu: dict[int, list[WorkerPlan]] = {}
    for worker in placement.workers:
        if worker.cpu is not None:
            by_cpu.setdefault(worker.cpu, []).append(worker)
    for cpu, workers in sorted(by_cpu.items()):
        load = sum(worker.cost for worker in workers)
        if len(workers) > 1 and load > FULL:
            names = ", ".join(str(worker.index) for worker in workers)
            lines.append(f"CPU {cpu}: workers {names} need {load:.2f} of it together")
    if cpus > machine.cpus:
        lines.append(f"the strategies need {cpus:.2f} CPUs, {machine.cpus:g} may be used")
    return lines


def _advice(worker: WorkerPlan) -> str:
    if len(worker.strategies) > 1:
        return "more --workers, or a longer tick_interval_ms"
    return f"a longer tick_interval_ms for {worker.strategies[0].id}"


def _order_warnings(fleet: FleetConfig, venue: VenueNeeds) -> list[str]:
    lines = []
    for share in venue.shares:
        if share.orders_cap is not None and share.orders_cap > venue.orders_per_s:
            lines.append(
                f"{venue.name}: {share.id} may send {share.orders_cap:g} orders/s, "
                f"the whole account {venue.orders_per_s:g}"
            )
        if share.weight_cap is not None and share.weight_cap > venue.weight_per_min:
            lines.append(
                f"{venue.name}: {share.id} may use {share.weight_cap:g} weight/min, "
                f"the gate has {venue.weight_per_min:g}"
            )
    return lines


def _without_capital(fleet: FleetConfig) -> list[str]:
    """Return a line for each account whose strategies can plan with the same money."""
    lines = []
    for venue in fleet.venues:
        strategies = [] if isinstance(venue, ReplayVenue) else traders(fleet, venue)
        without = [one.id for one in strategies if not one.capital]
        if len(strategies) > 1 and without:
            shown = ", ".join(without[:IDS_SHOWN]) + (", ..." if len(without) > IDS_SHOWN else "")
            verb = "has" if len(without) == 1 else "have"
            lines.append(
                f"{venue.name}: {len(without)} of {len(strategies)} strategies {verb} no `capital` and may plan "
                f"with the same money of the account: {shown}"
            )
    return lines


def as_json(needs: Needs) -> dict[str, Any]:
    """Return the needs as plain values."""
    return {
        "cpus": needs.cpus,
        "memory_bytes": {name: round(size) for name, size in needs.memory.items()},
        "shm_bytes": dict(needs.shm),
        "open_files": dict(needs.files),
        "venues": [_venue_json(venue) for venue in needs.venues],
        "problems": list(needs.problems),
        "warnings": list(needs.warnings),
    }


def _venue_json(venue: VenueNeeds) -> dict[str, Any]:
    fields = {name: getattr(venue, name) for name in VenueNeeds.__slots__ if name != "shares"}
    shares = [{name: getattr(one, name) for name in Share.__slots__} for one in venue.shares]
    return {**fields, "shares": shares}
