"""Draw the gate as lines of text, or as JSON: reports in, styled lines out. Pure; `cli_gate.py` and `top.py` show them.

    title, halts, alarms                   who may not trade, and what the gate complained of last
    limits                                 what each venue lets through, how much of it is used
    venues                                 state, journal, refusals
    queues                                 a line for each class of requests: how many wait, how long
    strategies                             who waits longest, then who spends most; they scroll in `hive top`

A figure that no gate has counted yet is "-".
"""

import time
from collections.abc import Callable
from typing import Any

from hive.gate_sample import CLASSES
from hive.halts import scope_text
from hive.top_help import GATE_HELP
from hive.top_view import (
    Column,
    Frame,
    Line,
    Look,
    Row,
    Screen,
    Style,
    fitted,
    foot,
    helped,
    listed,
    ms,
    rate,
    si,
    span,
    table,
)

UNKNOWN = "-"
ALARMS_SHOWN = 3
LOW = 10  # lines for the strategies and the last one: with fewer, what never was used gives way
SIGNS = ("queue", "sent", "rejected", "refused", "starved_s", "backoff_ms", "halted")  # of a strategy at a venue
SORTED_BY = ("head_wait_ms", "weight_per_s", "orders_per_s")  # the largest first
DRIFT_BAD = 0.05  # of a limit: from there on the gate itself raises an alarm


def draw_gate(frame: Frame, width: int, height: int | None = None) -> list[Line]:
    """Return everything as lines of at most `width`, cut to `height` lines when that is given."""
    rows = _where_they_trade(strategy_rows(frame))
    lines = [*_head(frame, width), *table("STRATEGY", _columns(rows), rows, width)]
    if height is not None and len(lines) > height:
        kept = max(0, height - 1)
        text = f"... {len(lines) - kept} more: the window is too low; `hive top`, key g, scrolls"
        lines = [*lines[:kept], Line(text, Style.DIM)]
    return [Line(line.text[:width], line.style) for line in lines]


def draw_page(frame: Frame, look: Look, width: int, height: int) -> Screen:
    """Return the gate's page of `hive top`: exactly `height` lines of at most `width` characters."""
    lines = _head(frame, width)
    if look.help:
        return helped(lines[:1], GATE_HELP, foot(frame, look, width), width, height)
    if height < len(lines) + LOW:
        lines = _head(frame, width, idle=False)
    rows = [row for row in _where_they_trade(strategy_rows(frame)) if look.filter.lower() in row["id"].lower()]
    shown, last, which = listed(table("STRATEGY", _columns(rows), rows, width), look, height - len(lines) - 2)
    return Screen(fitted(lines + shown, foot(frame, look, width, *which), width, height), last)


def as_json(frame: Frame) -> dict[str, Any]:
    """Return the same as JSON-able values; `per_s` is over the `seconds` between two looks."""
    total, recent = frame.total, {one["name"]: one["gate"] for one in frame.recent["venues"]}
    venues = [
        {
            "name": one["name"],
            "mode": one["mode"],
            **{name: one[name] for name in ("open_orders", "unknown_now", "queue_depth")},
            **one["gate"],
            "recent_wait_us": {name: recent[one["name"]]["classes"][name]["wait_us"] for name in CLASSES},
        }
        for one in total["venues"]
    ]
    hidden = ("recent", "bad", "seconds")
    return {
        "fleet": total["fleet"],
        "run": total["run"],
        "alive": total["state"] != "gone",
        "seconds": round(frame.seconds, 3),
        "halts": total["halts"],
        "alarms": total["alarms"],
        **{name: total["totals"][name] for name in ("refusals", "starved_s", "starvation_events")},
        "venues": venues,
        "strategies": [
            {key: value for key, value in row.items() if key not in hidden} for row in strategy_rows(frame)
        ],
    }


def strategy_rows(frame: Frame) -> list[dict[str, Any]]:
    """Return a row for each strategy and venue: the longest wait first, then the largest spender."""
    recent = {one["id"]: one["gate"] for one in frame.recent["strategies"]}
    rows = []
    for one in frame.total["strategies"]:
        for venue, figures in one["gate"].items() or ((None, None),):
            row = {"id": one["id"], "worker": one["worker"], "state": one["state"], "venue": venue}
            row |= figures or dict.fromkeys(FIGURES)
            sent = recent[one["id"]][venue]["sent"] if figures else None
            row["sent_per_s"] = None if sent is None else round(sent / max(frame.seconds, 1e-9), 3)
            row["bad"] = bool(row["halted"] or row["starved_s"] or row["backoff_ms"])
            rows.append(row)
    rows.sort(key=lambda row: (*(-(row[key] or 0) for key in SORTED_BY), row["id"]))
    return rows


def notices(total: Row) -> list[Line]:
    """Return a line for each halt in force and for the latest alarms."""
    lines = []
    for halt in total["halts"]:
        whom = scope_text(halt["venue"], halt["strategy"])
        lines.append(Line(f"HALTED {whom}: {halt['reason']} (since {_clock(halt['wall_ns'])} UTC)", Style.BAD))
    for alarm in total["alarms"][-ALARMS_SHOWN:]:
        venue = f"{alarm['venue']}: " if alarm["venue"] else ""
        again = f" ({alarm['count']} times)" if alarm["count"] > 1 else ""
        lines.append(Line(f"ALARM {_clock(alarm['wall_ns'])} UTC {venue}{alarm['text']}{again}", Style.BAD))
    return lines


def venue_table(frame: Frame, width: int) -> list[Line]:
    """Return the venues' state, journal and refusals as a table."""
    recent = {one["name"]: one["gate"] for one in frame.recent["venues"]}
    rows = []
    for one in frame.total["venues"]:
        gate = one["gate"]
        records = recent[one["name"]]["journal"]["records"]
        rows.append(
            {
                **gate,
                "name": f"{one['name']} ({one['mode']})" if one["mode"] else one["name"],
                "state": _state(gate),
                "open": one["open_orders"],
                "unknown": one["unknown_now"],
                "per_s": None if records is None else records / max(frame.seconds, 1e-9),
                "bad": bool(gate["halted"] or gate["breaker_open"] or gate["journal"]["failing"] or one["unknown_now"]),
            }
        )
    return table("GATE", VENUES, rows, width)


def starved(seconds: float | None) -> str:
    """Return starved seconds, "-" when nobody counts them."""
    return UNKNOWN if seconds is None else f"{seconds:.1f} s"


def _where_they_trade(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the venues at which a strategy has done nothing, when it has done something at another."""
    busy = {row["id"] for row in rows if any(row[key] for key in SIGNS)}
    return [row for row in rows if any(row[key] for key in SIGNS) or row["id"] not in busy]


def _head(frame: Frame, width: int, *, idle: bool = True) -> list[Line]:
    """Return all above the strategies; without `idle`, classes that never had a request are left out."""
    total = frame.total
    gone = total["state"] == "gone"
    sums = total["totals"]
    refused = sum(sums["refusals"].values())
    title = f"hive gate  fleet {total['fleet']}  {'gone' if gone else 'up ' + span(total['duration_s'])}  "
    count = len(total["strategies"])
    title += f"{count} strateg{'y' if count == 1 else 'ies'}  "
    title += f"starved {starved(sums['starved_s'])}  refused {si(refused)}"
    lines = [Line(title, Style.TITLE)]
    if gone:
        lines.append(Line("the fleet is gone: these are its last figures", Style.BAD))
    lines += notices(total)
    lines += table("LIMIT", LIMITS, _limit_rows(frame), width)
    lines += venue_table(frame, width)
    queues = [row for row in _queue_rows(frame) if idle or row["queue"] or row["wait_us"]["count"]]
    return lines + table("QUEUE", QUEUES, queues, width)


def _limit_rows(frame: Frame) -> list[Row]:
    rows = []
    for one in frame.total["venues"]:
        for name, limit in one["gate"]["limits"].items():
            drifts = limit["limit"] and (limit["drift"] or 0) > DRIFT_BAD * limit["limit"]
            less = limit["effective"] is not None and limit["effective"] < (limit["limit"] or 0)
            rows.append({"name": f"{one['name']} {name}", **limit, "bad": bool(drifts or less)})
    return rows


def _queue_rows(frame: Frame) -> list[Row]:
    recent = {one["name"]: one["gate"]["classes"] for one in frame.recent["venues"]}
    return [
        {"name": f"{one['name']} {name}", **figures, "recent": recent[one["name"]][name]["wait_us"]}
        for one in frame.total["venues"]
        for name, figures in one["gate"]["classes"].items()
    ]


def _state(gate: Row) -> str:
    if gate["halted"] is None:
        return UNKNOWN
    words = [word for word, on in (("halted", gate["halted"]), ("breaker open", gate["breaker_open"])) if on]
    return ", ".join(words) or "open"


def _journal_state(row: Row) -> str:
    failing = row["journal"]["failing"]
    return UNKNOWN if failing is None else "FAILING" if failing else "ok"


def _refused(row: Row) -> str:
    return " ".join(f"{reason} {si(count)}" for reason, count in row["refusals"].items()) or UNKNOWN


def _columns(rows: list[dict[str, Any]]) -> tuple[Column, ...]:
    several = len({row["venue"] for row in rows}) > 1
    return tuple(column for column in STRATEGIES if column.head != "venue" or several)


def _clock(wall_ns: int) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(wall_ns / 1e9))


def _count(key: str) -> Callable[[Row], str]:
    return lambda row: UNKNOWN if row[key] is None else si(row[key])


def _fixed(key: str, places: int, divisor: float = 1.0) -> Callable[[Row], str]:
    return lambda row: UNKNOWN if row[key] is None else f"{row[key] / divisor:.{places}f}"


def _rate(key: str) -> Callable[[Row], str]:
    return lambda row: UNKNOWN if row[key] is None else rate(row[key], 1.0)


def _share(row: Row) -> str:
    usable = row["effective"] if row["effective"] is not None else row["limit"]
    return UNKNOWN if row["used"] is None or not usable else f"{100 * row['used'] / usable:.0f}"


FIGURES = (
    "queue",
    "sent",
    "rejected",
    "refused",
    "starved_s",
    "starvation_events",
    "head_wait_ms",
    "deficit",
    "orders_per_s",
    "weight_per_s",
    "halted",
    "backoff_ms",
)
LIMITS = (
    Column("", lambda row: row["name"], 10, 0, left=True),
    Column("used", _count("used"), 6, 0),
    Column("limit", _count("limit"), 6, 0),
    Column("now", _count("effective"), 6, 1),
    Column("used%", _share, 5, 2),
    Column("drift", _count("drift"), 6, 1),
)
VENUES = (
    Column("", lambda row: row["name"], 10, 0, left=True),
    Column("state", lambda row: row["state"], 20, 0, left=True),
    Column("closed s", _fixed("closed_s", 1), 8, 3),
    Column("starved s", _fixed("starved_s", 1), 9, 1),
    Column("open", _count("open"), 5, 4),
    Column("unkn", _count("unknown"), 4, 2),
    Column("foreign", _count("foreign_orders"), 7, 5),
    Column("journal", _journal_state, 7, 0),
    Column("rec/s", _rate("per_s"), 6, 6),
    Column("backlog", lambda row: _count("backlog")(row["journal"]), 7, 2),
    Column("refused", _refused, 34, 3, left=True),
)
QUEUES = (
    Column("", lambda row: row["name"], 10, 0, left=True),
    Column("waiting", _count("queue"), 7, 0),
    Column("served", lambda row: si(row["wait_us"]["count"]), 6, 3),
    Column("wait50", lambda row: ms(row["wait_us"]["p50"]), 7, 2),
    Column("wait99", lambda row: ms(row["wait_us"]["p99"]), 7, 1),
    Column("max", lambda row: ms(row["wait_us"]["max"]), 7, 4),
    Column("now50", lambda row: ms(row["recent"]["p50"]), 7, 5),
    Column("now99", lambda row: ms(row["recent"]["p99"]), 7, 1),
)
STRATEGIES = (
    Column("", lambda row: row["id"], 8, 0, left=True),
    Column("venue", lambda row: row["venue"] or UNKNOWN, 10, 0, left=True),
    Column("queue", _count("queue"), 5, 0),
    Column("wait s", _fixed("head_wait_ms", 2, 1e3), 7, 0),
    Column("sent/s", _rate("sent_per_s"), 6, 1),
    Column("weight/s", _rate("weight_per_s"), 8, 5),
    Column("sent", _count("sent"), 6, 6),
    Column("rejected", _count("rejected"), 8, 2),
    Column("refused", _count("refused"), 7, 2),
    Column("starved s", _fixed("starved_s", 1), 9, 1),
    Column("events", _count("starvation_events"), 6, 7),
    Column("deficit", _count("deficit"), 7, 4),
    Column("backoff s", _fixed("backoff_ms", 1, 1e3), 9, 6),
    Column("halted", lambda row: UNKNOWN if row["halted"] is None else "yes" if row["halted"] else "no", 6, 3),
)
