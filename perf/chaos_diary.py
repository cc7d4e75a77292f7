"""What a strategy of chaos.py wrote down: a line for each thing that it did or was told, in order, over all its lives.

    ["life", ns]                                            a new life begins; ns names it
    ["place", ns, id]                                       before the order is handed to the router
    ["refused", ns, id, why]                                by the router: it was never sent
    ["cancel", ns, id]
    ["told", ns, id, kind, exchange id, trade id, amount, code, text]

JSON, times monotonic. Every line goes into the file by one write() before anything else happens, so that no death of
the process loses what was told; a line that a death cut short can only be the last one of a life.
"""

import itertools
import json
import os
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from hive.shm.messages import Reply


class Diary:
    """Appends to a strategy's diary.

    Args:
        path: of the file, which may have lines of earlier lives.
        now_ns: names this life.
    """

    def __init__(self, path: Path, now_ns: int) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(self._fd, b"\n" + _line("life", now_ns))  # the newline ends a line that was cut short

    def place(self, now_ns: int, order: str) -> None:
        """Note that an order is going to be placed."""
        self._write("place", now_ns, order)

    def refused(self, now_ns: int, order: str, why: str) -> None:
        """Note that an order was refused before it was sent."""
        self._write("refused", now_ns, order, why)

    def cancel(self, now_ns: int, order: str) -> None:
        """Note that an order is going to be cancelled."""
        self._write("cancel", now_ns, order)

    def told(self, now_ns: int, reply: Reply) -> None:
        """Note a reply."""
        amount = "" if reply.amount is None else str(reply.amount)
        about = (reply.client_order_id, reply.kind.name, reply.exchange_order_id, reply.trade_id)
        self._write("told", now_ns, *about, amount, reply.code, reply.text)

    def _write(self, *words: object) -> None:
        os.write(self._fd, _line(*words))


def _line(*words: object) -> bytes:
    return json.dumps(words).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Told:
    """One reply, and the life in which it came."""

    ns: int
    life: int
    kind: str
    exchange_id: str = ""
    trade_id: int = 0
    amount: Decimal = Decimal(0)
    code: int = 0
    text: str = ""


@dataclass(slots=True)
class Story:
    """One order as its strategy knows it; `life` 0 when it never placed it."""

    order: str
    life: int = 0
    placed_ns: int = 0
    refused: bool = False
    told: list[Told] = field(default_factory=list)


class DiaryReader:
    """Reads a diary as it grows.

    Attributes:
        stories: of every order that it speaks of, by client order id.
        lives: so far.
        traded_ns: when the youngest order that the exchange has acknowledged was placed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""
        self.stories: dict[str, Story] = {}
        self.lives: list[int] = []
        self.traded_ns = 0

    def read(self) -> None:
        """Take what was written since the last time; ValueError when a whole line is none of a diary."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:  # its first life has not begun
            return
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line, after in itertools.zip_longest(lines, lines[1:]):
            try:
                words = json.loads(line or "null")
            except json.JSONDecodeError:
                if after is None:  # whether a new life begins after it is not known yet
                    self._rest = line + b"\n" + self._rest
                elif not after.startswith(b'["life"'):
                    raise
                continue
            if words is not None:
                self._take(*words)

    def _take(self, what: str, ns: int, *words: Any) -> None:
        if what == "life":
            self.lives.append(ns)
            return
        story = self.stories.setdefault(words[0], Story(words[0]))
        if what == "place":
            story.life, story.placed_ns = self.lives[-1], ns
        elif what == "refused":
            story.refused = True
        elif what == "told":
            _, kind, exchange_id, trade_id, amount, code, text = words
            told = Told(ns, self.lives[-1], kind, exchange_id, trade_id, Decimal(amount or 0), code, text)
            story.told.append(told)
            if kind == "ACKED":
                self.traded_ns = max(self.traded_ns, story.placed_ns)
        elif what != "cancel":
            raise ValueError(f"{self._path.name}: a line must be life, place, refused, cancel or told, was {what!r}")
