"""A client of the venue's market data as its documentation describes one: slow, obvious, strict; the fuzzer's oracle.

It reads a message with json and keeps a book in dictionaries. It shares no code with the feed.
"""

import json
import math
from typing import Any

MOST_INT = (1 << 63) - 1
MOST_MS = MOST_INT // 1_000_000
LONGEST_MESSAGE = 1 << 20


class Client:
    """One book as a plain client of the documentation keeps it."""

    def __init__(self) -> None:
        self.live = False
        self.last = -1
        self.sides: tuple[dict[float, float], dict[float, float]] = ({}, {})
        self._waiting: list[dict[str, Any]] = []
        self._chained = False  # `last` is a diff's, so that the next one's "pu" must name it

    def on_diff(self, event: dict[str, Any]) -> None:
        """Take a depthUpdate that read() returned."""
        if not self.live:
            self._waiting.append(event)
        elif event["u"] > self.last:
            if self._follows(event):
                self._apply(event)
            else:
                self.give_up()
                self._waiting.append(event)

    def on_snapshot(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot that read_snapshot() returned, and join what waits; with a hole, wait for another."""
        self.last = snapshot["lastUpdateId"]
        self.sides = ({}, {})
        self.live = True
        self._chained = False
        waiting, self._waiting = self._waiting, []
        self._set((snapshot["bids"], snapshot["asks"]))
        for position, event in enumerate(waiting):
            if event["u"] <= self.last:
                continue
            if not self._follows(event):
                self.live = False
                self._waiting = waiting[position:]
                return
            self._apply(event)
            if not self.live:
                return
        if self._crossed():
            self.give_up()

    def give_up(self) -> None:
        """Forget all, and wait for a snapshot."""
        self.live = False
        self._waiting = []

    def top(self, depth: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Return the best levels of both sides."""
        bids, asks = self.sides
        return sorted(bids.items(), reverse=True)[:depth], sorted(asks.items())[:depth]

    def _follows(self, event: dict[str, Any]) -> bool:
        return event["pu"] == self.last if event["pu"] >= 0 and self._chained else event["U"] <= self.last + 1

    def _apply(self, event: dict[str, Any]) -> None:
        if event["b"] is not None:
            self._set((event["b"], event["a"]))
        if event["b"] is None or self._crossed():
            self.give_up()
            return
        self.last = event["u"]
        self._chained = True

    def _set(self, levels: tuple[list, list]) -> None:
        for side, changes in zip(self.sides, levels, strict=True):
            for price, quantity in changes:
                if quantity:
                    side[price] = quantity
                else:
                    side.pop(price, None)

    def _crossed(self) -> bool:
        bids, asks = self.sides
        return bool(bids and asks) and max(bids) >= min(asks)


def read(raw: bytes, symbols: frozenset[str]) -> dict[str, Any] | None:
    """Return the depthUpdate of a followed symbol that a message is by the documentation, None when it is none.

    "b" is None where the envelope is right and a level is not: whoever has to apply it has to give the book up.
    """
    if len(raw) > LONGEST_MESSAGE:
        return None
    event = _loaded(raw)
    if isinstance(event, dict) and "e" not in event and isinstance(event.get("data"), dict):
        event = event["data"] if isinstance(event.get("stream"), str) else None
    if not isinstance(event, dict) or event.get("e") != "depthUpdate":
        return None
    if type(event.get("s")) is not str or event["s"] not in symbols:
        return None
    numbers = (event.get("U"), event.get("u"), event.get("pu", -1))
    if not all(type(number) is int and -1 <= number <= MOST_INT for number in numbers) or min(numbers[:2]) < 0:
        return None
    if numbers[0] > numbers[1] or "b" not in event or "a" not in event:
        return None
    if type(event.get("E")) is not int or not 0 <= event["E"] <= MOST_MS:
        return None
    sides = [_levels(event[side]) for side in "ba"]
    if None in sides:
        sides = [None, None]
    return {"s": event["s"], "U": numbers[0], "u": numbers[1], "pu": numbers[2], "b": sides[0], "a": sides[1]}


def read_snapshot(body: bytes) -> dict[str, Any] | None:
    """Return the snapshot that an answer is by the documentation."""
    answer = _loaded(body)
    if not isinstance(answer, dict) or type(answer.get("lastUpdateId")) is not int:
        return None
    if not 0 <= answer["lastUpdateId"] <= MOST_INT:
        return None
    sides = [_levels(answer.get(side)) for side in ("bids", "asks")]
    if None in sides:
        return None
    return {"lastUpdateId": answer["lastUpdateId"], "bids": sides[0], "asks": sides[1]}


def _loaded(raw: bytes) -> Any:
    def refuse(text: str) -> None:
        raise ValueError(text)

    try:
        return json.loads(raw.decode("utf-8", "surrogateescape"), parse_constant=refuse)
    except (ValueError, RecursionError):
        return None


def _levels(value: Any) -> list[tuple[float, float]] | None:
    if type(value) is not list:
        return None
    levels = []
    for level in value:
        if type(level) is not list or len(level) < 2:
            return None
        numbers = [_number(text) for text in level[:2]]
        if None in numbers or numbers[0] == 0.0:
            return None
        levels.append((numbers[0], numbers[1]))
    return levels


def _number(text: Any) -> float | None:
    """Return a decimal as the nearest float64; an exponent is let pass, blanks, signs and underscores are not."""
    if type(text) is not str or not text.isascii() or "_" in text or text != text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0.0 else None
