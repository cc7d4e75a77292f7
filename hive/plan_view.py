"""Draw what `hive plan` found: placement, costs, memory, connections and the orders' budget as lines of text. Pure.

Strategies with the same share of an account have one line: "pmm-btc +3" is pmm-btc and the next three of the fleet.
Lines that are longer than the screen are wrapped.
"""

import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby

from hive.costs import ESTIMATED, Costs
from hive.fleet import FleetConfig
from hive.needs import Machine, Needs, Share, VenueNeeds
from hive.plan import Placement
from hive.shm.candles import candles_size

MB = 1e6
TIE = "\u00a0"  # a blank at which no line is broken


def draw_plan(
    fleet: FleetConfig,
    placement: Placement,
    costs: Costs,
    needs: Needs,
    machine: Machine,
    sources: Sequence[str],
    width: int,
) -> list[str]:
    """Return the lines.

    Args:
        sources: where the figures of memory are from.
        width: columns, >= 40.
    """
    venues = ", ".join(f"{venue.name} ({venue.mode})" for venue in fleet.venues)
    count = len(fleet.strategies)
    lines = [f"fleet {fleet.name}: {count} strateg{'y' if count == 1 else 'ies'} on {venues}; nothing is started", ""]
    lines += [*placement.remarks, ""]
    lines += [*_processes(placement, costs, width), ""]
    lines += [*_memory(needs, machine, sources), ""]
    lines += [*_shm(needs, machine, candles_size(fleet.feed.candles)), _files(needs, machine), ""]
    lines += _connections(needs)
    for venue in needs.venues:
        if venue.shares:
            lines += ["", *_orders(venue)]
    lines.append("")
    lines += [f"warning: {line}" for line in needs.warnings]
    lines += [f"will not fit: {line}" for line in needs.problems]
    if not needs.problems:
        lines.append("it fits" if needs.cpus is not None else "it fits, as far as is known: no cost was measured yet")
    return [part for line in lines for part in _wrapped(line, width)]


def _processes(placement: Placement, costs: Costs, width: int) -> list[str]:
    def where(cpus: Iterable[int | None]) -> str:
        return ",".join(str(cpu) for cpu in cpus if cpu is not None) or "any"

    rows = [["feed", where(placement.feed_cpus), "", ""], ["gate", where(placement.gate_cpus), "", ""]]
    for worker in placement.workers:
        strategies = ", ".join(_priced(one.id, costs) for one in worker.strategies)
        rows.append([f"worker {worker.index}", where([worker.cpu]), _cost(worker.cost, costs), strategies])
    lines = _table(["PROCESS", "CPU", "COST", "STRATEGIES"], rows, left=(0, 3))
    indent = lines[0].index("STRATEGIES")
    lines = [part.replace(TIE, " ") for line in lines for part in _wrapped(line, width, indent)]
    if costs.in_cpus:
        return [*lines, "cost: share of one CPU, measured in an earlier run; ~ estimated from `weight`"]
    return [*lines, "cost: `weight`, 1 where none is shown; no run of a minute or more has measured any yet"]


def _memory(needs: Needs, machine: Machine, sources: Sequence[str]) -> list[str]:
    if not needs.memory:
        return ["MEMORY not known: there is no perf/results here"]
    free = "not known" if machine.memory is None else f"{machine.memory / MB:.0f}"
    table = _table(["MEMORY", "MB"], [[name, f"{size / MB:.0f}"] for name, size in needs.memory.items()])
    total = sum(needs.memory.values()) / MB
    return [*table, f"sum {total:.0f} MB, free {free} MB; figures of {', '.join(sources)}"]


def _shm(needs: Needs, machine: Machine, series: int) -> list[str]:
    table = _table(["/dev/shm", "MB"], [[name, f"{size / MB:.1f}"] for name, size in needs.shm.items()])
    total = f"sum {sum(needs.shm.values()) / MB:.1f} MB, free {machine.shm / MB:.1f} MB"
    return [*table, f"{total}; each candle series that is asked for takes {series / MB:.1f} MB more"]


def _files(needs: Needs, machine: Machine) -> str:
    role = max(needs.files, key=needs.files.__getitem__)
    most = "as many as it likes" if machine.files is None else f"{machine.files}"
    return f"open files: up to {needs.files[role]} in one process ({role}), which may have {most}"


def _connections(needs: Needs) -> list[str]:
    rows = [
        [venue.name, venue.mode, str(venue.pairs), f"{venue.market} of {venue.market_most}", str(venue.user)]
        for venue in needs.venues
    ]
    return _table(["CONNECTIONS", "MODE", "PAIRS", "MARKET", "USER"], rows, left=(0, 1))


def _orders(venue: VenueNeeds) -> list[str]:
    each = venue.weight_per_min / venue.order_weight
    lines = [
        f"orders at {venue.name}: {venue.orders_per_s:g}/s, {venue.a_day_per_s:.1f}/s over a whole day; "
        f"weight for the gate {venue.weight_per_min:g}/min, enough for {each:g} new orders with their cancels"
    ]
    rows = [
        [
            _names([share.id for share in group]),
            f"{one.part * 100:.1f}",
            f"{one.orders_per_s:.2f}",
            _or_dash(one.orders_cap),
            f"{one.weight_per_min:.0f}",
            _or_dash(one.weight_cap),
        ]
        for group in _alike(venue.shares)
        for one in group[:1]
    ]
    heads = ["STRATEGY", "SHARE%", "ORDERS/S", "LIMIT", "WEIGHT/MIN", "LIMIT"]
    return [*lines, *_table(heads, rows), "each strategy: at least so much while all want more; limits of its own"]


def _alike(shares: Sequence[Share]) -> list[list[Share]]:
    groups = groupby(shares, key=lambda one: tuple(getattr(one, name) for name in Share.__slots__ if name != "id"))
    return [list(group) for _, group in groups]


def _names(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{ids[0]} +{len(ids) - 1}"


def _cost(value: float, costs: Costs) -> str:
    return f"{value:.4f}" if costs.in_cpus else f"{value:g}"


def _priced(strategy: str, costs: Costs) -> str:
    if not costs.in_cpus and costs.values[strategy] == 1.0:
        return strategy
    mark = "~" if costs.sources[strategy] == ESTIMATED else ""
    return f"{strategy}{TIE}{_cost(costs.values[strategy], costs)}{mark}"


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """Return heads and rows in columns as wide as they must be; `left`: columns whose text begins at the left."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    return [
        "  ".join(
            text.ljust(width) if column in left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, *rows)
    ]


def _wrapped(line: str, width: int, indent: int = 2) -> list[str]:
    if len(line) <= width:
        return [line]
    if indent > width // 2:
        indent = 2
    return textwrap.wrap(line, width, subsequent_indent=" " * indent, break_on_hyphens=False, drop_whitespace=True)
