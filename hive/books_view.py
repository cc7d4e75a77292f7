"""Draw books as lines of text, or as JSON: samples in, styled lines out. Pure; `cli_books.py` puts them up.

    title                                  fleet, how many instruments are in which state
    the list                               a line for each instrument, or
    the ladder                             bids on the left, asks on the right, best first

A terminal that is too narrow for all columns loses the less important ones first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from hive.books_sample import BookSample, BooksSample, Key, rates
from hive.top_view import Column, Line, Style, rate, table

LIVE = "LIVE"
UNKNOWN = "-"


def entry(one: BookSample, updates_per_s: float | None) -> dict[str, Any]:
    """Return an instrument's figures; None where nothing is known."""
    book = one.book
    bid, bid_qty = _best(book.bid_px, book.bid_qty) if book else (None, None)
    ask, ask_qty = _best(book.ask_px, book.ask_qty) if book else (None, None)
    whole = bid is not None and ask is not None
    return {
        "venue": one.venue,
        "pair": one.pair,
        "state": one.state,
        "bid": bid,
        "bid_qty": bid_qty,
        "ask": ask,
        "ask_qty": ask_qty,
        "spread": _tidy(ask - bid, one) if whole else None,
        "spread_bps": round((ask - bid) / (ask + bid) * 20_000, 4) if whole else None,
        "age_ms": None if one.age_ns is None else round(one.age_ns / 1e6, 3),
        "updates_per_s": None if updates_per_s is None else round(updates_per_s, 3),
        "depth": one.depth or None,
        "bid_levels": len(book.bid_px) if book else None,
        "ask_levels": len(book.ask_px) if book else None,
        "used_by": one.used_by,
        "last_trade": one.last_trade or None,
        "update_id": book.update_id if book else None,
        "version": book.version if book else None,
        "epoch": one.epoch or None,
    }


def as_json(now: BooksSample, before: BooksSample | None, keys: list[Key], levels: int | None) -> dict[str, Any]:
    """Return chosen instruments as JSON-able values; with `levels` each has its ladder, [[price, quantity], ...]."""
    per_second = rates(now, before)
    books = []
    for key in keys:
        one = now.books[key]
        shown = entry(one, per_second.get(key))
        if levels is not None and one.book is not None:
            sides = ((one.book.bid_px, one.book.bid_qty), (one.book.ask_px, one.book.ask_qty))
            shown["bids"], shown["asks"] = ([list(pair) for pair in zip(*side, strict=True)][:levels] for side in sides)
        books.append(shown)
    beats = {venue: None if beat is None else round(beat / 1e6, 3) for venue, beat in now.beats_ns.items()}
    return {"fleet": now.fleet, "run": now.run, "alive": now.alive, "heartbeat_age_ms": beats, "books": books}


def draw_list(
    now: BooksSample, before: BooksSample | None, keys: list[Key], width: int, height: int | None = None
) -> list[Line]:
    """Return the list of chosen instruments as lines of at most `width`, cut to `height` lines when that is given."""
    per_second = rates(now, before)
    rows = [_row(now.books[key], per_second.get(key)) for key in keys]
    columns = [column for column in LIST if column.head != "venue" or len({key[0] for key in keys}) > 1]
    lines = [_title(now, keys), *_warnings(now), *table("PAIR", _widened(columns, rows), rows, width)]
    if not rows:
        lines.append(Line("no instrument is followed", Style.DIM))
    return _cut(lines, width, height)


def draw_ladder(
    now: BooksSample, before: BooksSample | None, key: Key, levels: int, width: int, height: int | None = None
) -> list[Line]:
    """Return one instrument's ladder of up to `levels` levels, cut to `height` lines when that is given."""
    one = now.books[key]
    row = _row(one, rates(now, before).get(key))
    lines = [Line(f"{one.pair}  {one.venue}  {one.state}", Style.TITLE if one.state == LIVE else Style.BAD)]
    lines += _warnings(now)
    facts = [
        f"spread {row['spread_text']} ({row['bps']} bps)", f"age {row['age']}", f"updates/s {row['rate']}",
        f"last trade {_price(one.last_trade or None, one)}",
    ]
    lines.append(Line("  ".join(facts)))
    book = one.book
    if book is None:
        lines.append(Line("no book yet", Style.DIM))
        return _cut(lines, width, height)
    rows, bid_sum, ask_sum = [], 0.0, 0.0
    for level in range(min(levels, max(len(book.bid_px), len(book.ask_px)))):
        bid_sum += book.bid_qty[level] if level < len(book.bid_px) else 0.0
        ask_sum += book.ask_qty[level] if level < len(book.ask_px) else 0.0
        rows.append(
            {
                "level": str(level + 1),
                **_level("bid", book.bid_px, book.bid_qty, level, bid_sum, one),
                **_level("ask", book.ask_px, book.ask_qty, level, ask_sum, one),
            }
        )
    lines += table("#", _widened(LADDER, rows), rows, width)
    if not rows:
        lines.append(Line("both sides are empty", Style.DIM))
    return _cut(lines, width, height)


def _title(now: BooksSample, keys: list[Key]) -> Line:
    states: dict[str, int] = {}
    for key in keys:
        states[now.books[key].state] = states.get(now.books[key].state, 0) + 1
    what = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    count = f"{len(keys)} instrument{'' if len(keys) == 1 else 's'}"
    return Line(f"hive books  fleet {now.fleet}  {count}{': ' if what else ''}{what}", Style.TITLE)


def _warnings(now: BooksSample) -> list[Line]:
    lines = []
    if not now.alive:
        lines.append(Line("the fleet is gone: these are its last books", Style.BAD))
    for venue, beat_ns in now.beats_ns.items() if now.alive else ():
        if beat_ns is None:
            lines.append(Line(f"{venue}: no feed runs", Style.BAD))
        elif beat_ns > 1e9:
            lines.append(Line(f"{venue}: the feed has no heartbeat for {beat_ns / 1e9:.0f} s", Style.BAD))
    return lines


def _row(one: BookSample, updates_per_s: float | None) -> dict[str, Any]:
    figures = entry(one, updates_per_s)
    return {
        "pair": one.pair,
        "venue": one.venue,
        "state": one.state,
        "bid": _price(figures["bid"], one),
        "bid_qty": _quantity(figures["bid_qty"], one),
        "ask": _price(figures["ask"], one),
        "ask_qty": _quantity(figures["ask_qty"], one),
        "spread_text": _price(figures["spread"], one),
        "bps": _bps(figures["spread_bps"]),
        "age": age(one.age_ns),
        "rate": UNKNOWN if updates_per_s is None else rate(updates_per_s, 1.0),
        "levels": UNKNOWN if one.book is None else f"{max(len(one.book.bid_px), len(one.book.ask_px))}/{one.depth}",
        "used_by": str(one.used_by),
        "bad": one.state != LIVE,
    }


def _level(side: str, prices: Any, quantities: Any, level: int, total: float, one: BookSample) -> Mapping[str, str]:
    if level >= len(prices):
        return {side: "", f"{side}_qty": "", f"{side}_sum": ""}
    return {
        side: _price(prices[level], one),
        f"{side}_qty": _quantity(quantities[level], one),
        f"{side}_sum": _quantity(total, one),
    }


def age(age_ns: int | None) -> str:
    """Return an age in at most 6 characters: 12ms, 1.5s, 75s, 12m, 3.5h."""
    if age_ns is None:
        return UNKNOWN
    seconds = age_ns / 1e9
    if seconds < 1:
        return f"{seconds * 1e3:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 600:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 36_000 else f"{seconds / 3600:.0f}h"


def _bps(bps: float | None) -> str:
    if bps is None:
        return UNKNOWN
    return f"{bps:.3f}" if bps < 1 else f"{bps:.2f}" if bps < 100 else f"{bps:.0f}"


def _best(prices: Any, quantities: Any) -> tuple[float | None, float | None]:
    return (prices[0], quantities[0]) if len(prices) else (None, None)


def _tidy(value: float, one: BookSample) -> float:
    """Return a difference of two prices without the dust of float64."""
    return round(value, _places(one.rules.tick) + 2) if one.rules else value


def _price(value: float | None, one: BookSample) -> str:
    places = _places(one.rules.tick if one.rules else None)
    return UNKNOWN if value is None or math.isnan(value) else f"{value:.{places}f}"


def _quantity(value: float | None, one: BookSample) -> str:
    return UNKNOWN if value is None else f"{value:.{_places(one.rules.step if one.rules else None)}f}"


def _places(step: Decimal | None) -> int:
    """Return the decimal places of a tick or step."""
    return 8 if step is None else max(0, -int(step.normalize().as_tuple().exponent))


def _cut(lines: list[Line], width: int, height: int | None) -> list[Line]:
    if height is not None and len(lines) > height:
        kept = max(0, height - 1)
        lines = [*lines[:kept], Line(f"... {len(lines) - kept} more: the window is too low", Style.DIM)]
    return [Line(line.text[:width], line.style) for line in lines]


def _widened(columns: Sequence[Column], rows: list[dict[str, Any]]) -> tuple[Column, ...]:
    """Return the columns as wide as their longest text; one that is narrower stays, so that the screen stands still."""
    return tuple(replace(one, width=max([one.width, *(len(one.text(row)) for row in rows)])) for one in columns)


def _text(key: str) -> Any:
    return lambda row: row[key]


LIST = (
    Column("", _text("pair"), 8, 0, left=True),
    Column("venue", _text("venue"), 7, 5, left=True),
    Column("state", _text("state"), 11, 0, left=True),
    Column("bid qty", _text("bid_qty"), 8, 2),
    Column("bid", _text("bid"), 7, 0),
    Column("ask", _text("ask"), 7, 0),
    Column("ask qty", _text("ask_qty"), 8, 2),
    Column("spread", _text("spread_text"), 6, 6),
    Column("bps", _text("bps"), 5, 3),
    Column("age", _text("age"), 5, 1),
    Column("upd/s", _text("rate"), 5, 4),
    Column("levels", _text("levels"), 6, 7),
    Column("used by", _text("used_by"), 7, 8),
)
LADDER = (
    Column("", _text("level"), 3, 0),
    Column("bid total", _text("bid_sum"), 11, 2),
    Column("bid qty", _text("bid_qty"), 11, 1),
    Column("bid", _text("bid"), 11, 0),
    Column("ask", _text("ask"), 11, 0),
    Column("ask qty", _text("ask_qty"), 11, 1),
    Column("ask total", _text("ask_sum"), 11, 2),
)
