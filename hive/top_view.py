"""Draw a fleet as lines of text: reports and a terminal's size in, styled lines out. Pure; `top.py` puts them up.

    title, summary                         2 lines
    venues                                 heading and a line each
    processes                              heading and a line each
    strategies                             heading and as many lines as are left; they scroll
    keys and the tool's own cost           last line

A terminal that is too narrow for all columns loses the less important ones first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hive.halts import scope_text
from hive.top_help import HELP

Row = Mapping[str, Any]


class Style(StrEnum):
    """How a line is shown."""

    PLAIN = "plain"
    TITLE = "title"
    HEAD = "head"
    DIM = "dim"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the screen, at most as wide as asked."""

    text: str
    style: Style = Style.PLAIN


@dataclass(frozen=True, slots=True)
class Frame:
    """What is shown: the report since the start, the report of the last interval, its length and the tool's own cost.

    `late_ns` is how much later than intended the sample was taken, `took_ns` how long it took.
    """

    total: Row
    recent: Row
    seconds: float
    took_ns: int = 0
    late_ns: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """What the operator chose; `title` is the command that shows it."""

    title: str = "hive top"
    sort: str = "id"
    reverse: bool = False
    filter: str = ""
    typing: bool = False
    paused: bool = False
    help: bool = False
    gate: bool = False
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its head, how a row's text is made, its width, its importance (0 is never left out)."""

    head: str
    text: Callable[[Row], str]
    width: int
    rank: int
    left: bool = False


@dataclass(frozen=True, slots=True)
class Screen:
    """The lines, and how far the strategies can scroll."""

    lines: list[Line] = field(default_factory=list)
    last_offset: int = 0


SORT_KEYS: dict[str, Callable[[Row], Any]] = {
    "id": lambda row: row["id"],
    "worker": lambda row: (-1 if row["worker"] is None else row["worker"], row["id"]),
    "ticks": lambda row: -row["ticks"],
    "lateness": lambda row: -(row["recent"]["tick_lateness_us"]["p99"] or 0),
    "duration": lambda row: -(row["recent"]["tick_duration_us"]["p99"] or 0),
    "overruns": lambda row: -row["overruns"],
    "orders": lambda row: -row["orders"]["submitted"],
    "fills": lambda row: -row["fills"],
    "errors": lambda row: -row["errors"],
}
HOT_KEYS = {"i": "id", "w": "worker", "t": "ticks", "l": "lateness", "d": "duration", "v": "overruns", "o": "orders"}
HOT_KEYS |= {"f": "fills", "e": "errors"}


def draw(frame: Frame, look: Look, width: int, height: int) -> Screen:
    """Return the screen of a frame: exactly `height` lines of at most `width` characters.

    Args:
        frame: what was measured.
        look: sort key, filter, pause, help, scroll offset.
        width, height: of the terminal; any positive numbers.
    """
    lines = _title(frame, look, width)
    if look.help:
        return helped(lines, HELP, foot(frame, look, width), width, height)
    lines += table("VENUE", VENUES, _venue_rows(frame), width)
    rows = _strategy_rows(frame, look)
    processes = table("PROCESS", PROCESSES, _process_rows(frame), width)
    lines += _shortened(processes, height - len(lines) - 2 - min(len(rows), max(3, height // 3)))
    strategies = table("STRATEGY", STRATEGIES, rows, width)
    shown, last, which = listed(strategies, look, height - len(lines) - 2)  # the table's head and the last line
    order = f"by {look.sort}{' reversed' if look.reverse else ''}"
    return Screen(fitted(lines + shown, foot(frame, look, width, *which, order), width, height), last)


def draw_all(frame: Frame, look: Look, width: int) -> list[str]:
    """Return the whole screen as texts, every strategy on it, for `--once`."""
    tables = 6 + sum(len(frame.total[key]) for key in ("venues", "processes", "strategies"))
    screen = draw(frame, look, width, tables + 4)
    return [line.text.rstrip() for line in screen.lines[:-1] if line.text.strip()]


def _title(frame: Frame, look: Look, width: int) -> list[Line]:
    total, recent, seconds = frame.total, frame.recent, max(frame.seconds, 1e-9)
    gone = total["state"] == "gone"
    states: dict[str, int] = {}
    for one in total["strategies"]:
        states[one["state"]] = states.get(one["state"], 0) + 1
    what = " ".join(f"{count} {state}" for state, count in sorted(states.items()))
    up = span(total["duration_s"])
    head = f"{look.title}  fleet {total['fleet']}  {'gone' if gone else 'up ' + up}  "
    head += f"{total['implementation']}  " if total["implementation"] else ""
    head += f"{len(total['strategies'])} strateg{'y' if len(total['strategies']) == 1 else 'ies'}"
    head += f": {what}" if what else ""
    head += "  PAUSED" if look.paused else ""
    sums, now = total["totals"], recent["totals"]
    summary = _joined(
        (
            f"ticks/s {rate(now['ticks'], seconds)}",
            f"late p99 {ms(recent['tick_lateness_us']['p99'])} ms",
            f"orders {si(sums['orders']['submitted'])}",
            f"fills {si(sums['fills'])}",
            f"unknown {sums['unknown_now']}",
            f"errors {sums['errors']}",
            f"refused {si(sum(sums['refusals'].values()) + sums['orders']['refused'])}",
            f"starved {'-' if sums['starved_s'] is None else format(sums['starved_s'], '.1f') + ' s'}",
            f"updates/s {rate(now['updates'], seconds)}",
            f"memory {sums['pss_mb']:.0f} MB",
        ),
        width,
    )
    lines = [
        Line(head, Style.TITLE),
        Line(summary, Style.BAD if sums["errors"] or sums["unknown_now"] or sums["starved_s"] else Style.PLAIN),
    ]
    if total["halts"]:
        halted = ", ".join(scope_text(one["venue"], one["strategy"]) for one in total["halts"])
        lines.append(Line(f"HALTED: {halted}: no new orders until `hive resume`", Style.BAD))
    if gone:
        lines.insert(1, Line("the fleet is gone: these are its last figures", Style.BAD))
    return lines


def _joined(parts: tuple[str, ...], width: int) -> str:
    """Return the first of the parts, as many as fit in whole."""
    text = parts[0]
    for part in parts[1:]:
        if len(text) + 2 + len(part) > width:
            break
        text += f"  {part}"
    return text


def helped(head: list[Line], texts: tuple[str, ...], last: Line, width: int, height: int) -> Screen:
    """Return the screen of a page's help below its `head`."""
    return Screen(fitted([*head, Line(""), *(Line(text) for text in texts)], last, width, height))


def foot(frame: Frame, look: Look, width: int, *more: str) -> Line:
    """Return the last line: keys, filter, `more`, and what the tool itself costs; what does not fit is left out."""
    if look.typing:
        return Line(f"filter: {look.filter}_", Style.HEAD)
    cost = f"took {frame.took_ns / 1e6:.1f} ms, {frame.late_ns / 1e6:.1f} ms late"
    only = (f"only {look.filter!r}",) if look.filter else ()
    page = "g fleet" if look.gate else "g gate"
    keys = ("q leave", "h help", page, "p pause", "/ filter")
    return Line(_joined((*keys, *only, *more, f"[{cost}]"), width), Style.DIM)


def table(name: str, columns: tuple[Column, ...], rows: list[Row], width: int) -> list[Line]:
    """Return a heading and a line for each row; columns that do not fit are left out, the least important first.

    A row with a true "bad" stands out. The first column is headed `name`.
    """
    shown = _fitting(columns, name, rows, width)
    head = " ".join(_cell(column.head or name, size, column.left) for column, size in shown)
    lines = [Line(head, Style.HEAD)]
    for row in rows:
        text = " ".join(_cell(column.text(row), size, column.left) for column, size in shown)
        lines.append(Line(text, Style.BAD if row.get("bad") else Style.PLAIN))
    return lines


def scrolled(rows: list[Line], offset: int, room: int) -> tuple[list[Line], int]:
    """Return a table's head and at most `room` rows (at least one) from `offset` on, and how far it can scroll."""
    room = max(1, room)
    last = max(0, len(rows) - 1 - room)
    offset = min(offset, last)
    return rows[:1] + rows[1 + offset : 1 + offset + room], last


def listed(rows: list[Line], look: Look, room: int) -> tuple[list[Line], int, tuple[str, ...]]:
    """Return what is seen of a table of strategies in `room` rows, how far it scrolls, and which rows are not all."""
    shown, last = scrolled(rows, look.offset, room)
    count = len(rows) - 1
    if not count and look.filter:
        shown = [*shown, Line(f"no strategy has {look.filter!r}: Esc shows all", Style.DIM)]
    first = min(look.offset, last) + 1
    return shown, last, (f"{first}-{first + min(count, max(1, room)) - 1} of {count}",) if last else ()


def _shortened(table: list[Line], room: int) -> list[Line]:
    """Return a table of at most `room` lines (but two); what stands out is kept before the rest."""
    room = max(2, room)
    if len(table) <= room:
        return table
    by_need = sorted(range(1, len(table)), key=lambda row: (table[row].style != Style.BAD, row))
    kept = sorted(by_need[: room - 2])
    return [table[0], *(table[row] for row in kept), Line(f"... {len(table) - 1 - len(kept)} more", Style.DIM)]


def _fitting(columns: tuple[Column, ...], name: str, rows: list[Row], width: int) -> list[tuple[Column, int]]:
    """Return the columns that fit and their widths; the first takes what its longest text needs, if there is room."""
    sizes = {column: max(column.width, len(column.head)) for column in columns}
    first = columns[0]
    sizes[first] = max(len(name), *(len(first.text(row)) for row in rows), 4) if rows else len(name)
    shown = list(columns)
    while len(shown) > 1 and sum(sizes[column] + 1 for column in shown) - 1 > width:
        least = max(shown, key=lambda column: (column.rank, shown.index(column)))
        if least.rank == 0:
            break
        shown.remove(least)
    others = sum(sizes[column] + 1 for column in shown) - sizes[first] - 1
    sizes[first] = max(4, min(sizes[first], width - others))
    return [(column, sizes[column]) for column in shown]


def fitted(lines: list[Line], last: Line, width: int, height: int) -> list[Line]:
    """Return exactly `height` lines of at most `width` characters, the last of them `last`."""
    body = lines[: max(0, height - 1)]
    body += [Line("")] * (height - 1 - len(body))
    return [Line(line.text[:width], line.style) for line in [*body, last]][-height:]


def _cell(text: str, size: int, left: bool) -> str:
    if len(text) > size:
        text = text[: max(1, size - 1)] + "~" if size > 1 else text[:size]
    return text.ljust(size) if left else text.rjust(size)


def _strategy_rows(frame: Frame, look: Look) -> list[Row]:
    recent = {one["id"]: one for one in frame.recent["strategies"]}
    rows = []
    for one in frame.total["strategies"]:
        text = f"{one['id']} {one['name']} {one['state']}".lower()
        if look.filter.lower() in text:
            now = recent.get(one["id"], one)
            bad = one["state"] in ("failed", "paused") or now["errors"] > 0
            rows.append({**one, "recent": now, "seconds": frame.seconds, "bad": bad})
    rows.sort(key=SORT_KEYS[look.sort], reverse=look.reverse)
    return rows


def _process_rows(frame: Frame) -> list[Row]:
    recent = {(one["role"], one["index"]): one for one in frame.recent["processes"]}
    rows = []
    for one in frame.total["processes"]:
        now = recent.get((one["role"], one["index"]), one)
        waited_s = now["waited_seconds"]
        beat_ms = one["heartbeat_age_ms"]
        hung = beat_ms is not None and beat_ms > 1000 and frame.total["state"] != "gone"
        several = one["role"] == "worker"
        name = f"{one['role']} {one['index']}" if several else one["role"]
        shares = {
            "load": 100 * now["cpu_seconds"] / max(frame.seconds, 1e-9),
            "waited": None if waited_s is None else 100 * waited_s / max(frame.seconds, 1e-9),
        }
        rows.append({**one, **shares, "label": name, "bad": hung})
    return rows


def _venue_rows(frame: Frame) -> list[Row]:
    recent = {one["name"]: one for one in frame.recent["venues"]}
    rows = []
    for one in frame.total["venues"]:
        stale = one["books"]["live"] < one["books"]["total"]
        rows.append({**one, "recent": recent[one["name"]], "seconds": frame.seconds, "bad": stale})
    return rows


def rate(count: float, seconds: float) -> str:
    """Return a rate per second, short."""
    per_second = count / max(seconds, 1e-9)
    return f"{per_second:.1f}" if per_second < 100 else si(round(per_second))


def si(count: int) -> str:
    """Return a count in at most 6 characters: 12345, 123.5k, 12.3M."""
    if abs(count) < 100_000:
        return str(count)
    for divisor, unit in ((1e3, "k"), (1e6, "M"), (1e9, "G")):
        if abs(count) < divisor * 1000:
            return f"{count / divisor:.1f}{unit}"
    return f"{count / 1e12:.1f}T"


def ms(us: float | None) -> str:
    """Return microseconds as milliseconds, "-" for None."""
    if us is None:
        return "-"
    return f"{us / 1e3:.2f}" if us < 100_000 else f"{us / 1e3:.0f}"


def span(seconds: float) -> str:
    """Return a duration as 1:02:03 or 2:03."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _three(key: str) -> tuple[Callable[[Row], str], ...]:
    return tuple(lambda row, figure=figure: ms(row["recent"][key][figure]) for figure in ("p50", "p99", "max"))


_LATE, _TOOK = _three("tick_lateness_us"), _three("tick_duration_us")
STRATEGIES = (
    Column("", lambda row: row["id"], 8, 0, left=True),
    Column("wkr", lambda row: "-" if row["worker"] is None else str(row["worker"]), 3, 6),
    Column("state", lambda row: str(row["state"]), 8, 3, left=True),
    Column("ticks", lambda row: si(row["ticks"]), 6, 5),
    Column("late50", _LATE[0], 6, 8),
    Column("late99", _LATE[1], 6, 2),
    Column("max", _LATE[2], 6, 10),
    Column("took50", _TOOK[0], 6, 9),
    Column("took99", _TOOK[1], 6, 4),
    Column("max", _TOOK[2], 6, 11),
    Column("over", lambda row: si(row["overruns"]), 5, 7),
    Column("orders", lambda row: si(row["orders"]["submitted"]), 6, 1),
    Column("unkn", lambda row: si(row["orders"]["unknown"]), 4, 12),
    Column("fills", lambda row: si(row["fills"]), 6, 1),
    Column("err", lambda row: si(row["errors"]), 5, 1),
)
PROCESSES = (
    Column("", lambda row: row["label"], 10, 0, left=True),
    Column("pid", lambda row: str(row["pid"]), 7, 4),
    Column("cpu%", lambda row: f"{row['load']:.1f}", 6, 1),
    Column("wait%", lambda row: "-" if row["waited"] is None else f"{row['waited']:.1f}", 6, 2),
    Column("PSS MB", lambda row: "-" if row["pss_mb"] is None else f"{row['pss_mb']:.1f}", 7, 2),
    Column("RSS MB", lambda row: "-" if row["rss_mb"] is None else f"{row['rss_mb']:.1f}", 7, 6),
    Column("beat ms", lambda row: "-" if row["heartbeat_age_ms"] is None else f"{row['heartbeat_age_ms']:.0f}", 7, 3),
    Column("CPU", lambda row: "-" if row["cpu"] is None else str(row["cpu"]), 3, 7),
    Column("restarts", lambda row: str(row["restarts"]), 8, 5),
)
VENUES = (
    Column("", lambda row: f"{row['name']} ({row['mode']})" if row["mode"] else row["name"], 10, 0, left=True),
    Column("conns", lambda row: f"{row['market_connections']}+{row['user_connections']}", 5, 2),
    Column("updates/s", lambda row: rate(row["recent"]["updates"], row["seconds"]), 9, 1),
    Column("live", lambda row: f"{row['books']['live']}/{row['books']['total']}", 7, 1),
    Column("old s", lambda row: _seconds(row["books"]["oldest_ms"]), 6, 3),
    Column("gaps", lambda row: si(row["gaps"]), 5, 7),
    Column("sent/s", lambda row: rate(row["recent"]["orders"]["sent"], row["seconds"]), 6, 4),
    Column("order99", lambda row: ms(row["recent"]["order_latency_us"]["p99"]), 7, 5),
    Column("ack99", lambda row: ms(row["recent"]["ack_latency_us"]["p99"]), 7, 8),
    Column("weight", lambda row: f"{row['weight_used']}/{row['weight_limit']}", 10, 9),
    Column("429", lambda row: si(row["http_429"]), 4, 6),
    Column("unkn", lambda row: si(row["unknown_now"]), 4, 6),
)


def _seconds(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds / 1e3:.1f}"
