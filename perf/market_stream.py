"""A deterministic stream of messages as Binance sends them: depth updates, mostly near the top, and trades.

    instrument: mid (a random walk) | bids, asks: quantity by tick
    a diff: the levels that the mid ran over, then changes at a distance from the top that is mostly a few ticks;
            5..40 levels of both sides together, every price and quantity with eight decimals

Books never cross, ids have no gap, and the same seed gives the same bytes. A recording is a file of messages, each
preceded by its length in four bytes.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FEWEST_LEVELS, MOST_LEVELS = 5, 40
TYPICAL_LEVELS = 14  # the median; its logarithm is normal
TYPICAL_DISTANCE = 6.0  # of a change from the top, in ticks, on average
FAR = 0.08  # share of changes that are anywhere in the book
DELETES = 0.3
FIRST_MS = 1_790_000_000_000
SNAPSHOT_LEVELS = 1_000
ROOM = 1_500  # ticks per side in which levels may be


@dataclass(slots=True)
class Instrument:
    """One instrument's whole book and its ids."""

    pair: str
    symbol: str
    tick: float
    step: float
    mid: int  # bids are below, asks at it or above
    rng: random.Random
    last_id: int = 0
    trade_id: int = 0
    bids: dict[int, str] = field(default_factory=dict)
    asks: dict[int, str] = field(default_factory=dict)

    def price(self, ticks: int) -> str:
        """Return a price in the venue's decimals."""
        return f"{ticks * self.tick:.8f}"

    def quantity(self) -> str:
        """Return a quantity, log-normal, in whole steps."""
        steps = max(1, int(self.rng.lognormvariate(6.0, 1.5)))
        return f"{steps * self.step:.8f}"

    def snapshot(self, limit: int = SNAPSHOT_LEVELS) -> dict[str, object]:
        """Return the answer to GET depth."""
        bids = [[self.price(ticks), self.bids[ticks]] for ticks in sorted(self.bids, reverse=True)[:limit]]
        asks = [[self.price(ticks), self.asks[ticks]] for ticks in sorted(self.asks)[:limit]]
        return {"lastUpdateId": self.last_id, "bids": bids, "asks": asks}

    def diff(self, ms: int) -> dict[str, object]:
        """Change the book, and return the message that says so."""
        rng = self.rng
        changed: tuple[dict[int, str], dict[int, str]] = ({}, {})
        if rng.random() < 0.4:
            self._move(rng.choice((-3, -2, -1, -1, 1, 1, 2, 3)), changed)
        wanted = int(rng.lognormvariate(0.0, 0.6) * TYPICAL_LEVELS)
        wanted = min(max(wanted, FEWEST_LEVELS), MOST_LEVELS)
        while len(changed[0]) + len(changed[1]) < wanted:
            self._change(rng.randrange(2), changed)
        first_id = self.last_id + 1
        self.last_id += len(changed[0]) + len(changed[1])
        bids, asks = changed
        return {
            "e": "depthUpdate",
            "E": ms,
            "s": self.symbol,
            "U": first_id,
            "u": self.last_id,
            "b": [[self.price(ticks), bids[ticks]] for ticks in sorted(bids, reverse=True)],
            "a": [[self.price(ticks), asks[ticks]] for ticks in sorted(asks)],
        }

    def trade(self, ms: int) -> dict[str, object]:
        """Return a trade at the touch."""
        self.trade_id += 1
        seller_took = self.rng.random() < 0.5
        at = max(self.bids) if seller_took else min(self.asks)
        return {
            "e": "trade",
            "E": ms,
            "s": self.symbol,
            "t": self.trade_id,
            "p": self.price(at),
            "q": self.quantity(),
            "T": ms,
            "m": seller_took,
            "M": True,
        }

    def _move(self, by: int, changed: tuple[dict[int, str], dict[int, str]]) -> None:
        """Move the mid; levels that it runs over go, and both sides quote at the new touch."""
        side, book = (1, self.asks) if by > 0 else (0, self.bids)
        for ticks in range(min(self.mid, self.mid + by), max(self.mid, self.mid + by)):
            if book.pop(ticks, None):
                changed[side][ticks] = f"{0:.8f}"
        self.mid += by
        for side, book, ticks in ((0, self.bids, self.mid - 1), (1, self.asks, self.mid)):
            book[ticks] = changed[side][ticks] = self.quantity()

    def _change(self, side: int, changed: tuple[dict[int, str], dict[int, str]]) -> None:
        rng = self.rng
        far = rng.random() < FAR
        distance = rng.randrange(ROOM) if far else int(rng.expovariate(1 / TYPICAL_DISTANCE))
        ticks = self.mid - 1 - distance if side == 0 else self.mid + distance
        book = self.bids if side == 0 else self.asks
        if ticks < 1 or ticks in changed[side]:
            return
        if ticks in book and distance and rng.random() < DELETES:
            del book[ticks]
            changed[side][ticks] = f"{0:.8f}"
        else:
            book[ticks] = changed[side][ticks] = self.quantity()


def instruments(count: int, seed: int = 1) -> list[Instrument]:
    """Return instruments of various prices, each with a book of about a thousand levels per side."""
    made = []
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        decimals = rng.choice((1, 2, 2, 3, 4, 5))
        pair = f"C{number:04d}-USDT"
        mid = rng.randrange(5_000, 900_000)
        one = Instrument(pair, pair.replace("-", ""), 10.0**-decimals, 10.0 ** -rng.choice((1, 2, 3, 5)), mid, rng)
        for distance in range(ROOM):
            if distance == 0 or rng.random() < 0.7:
                one.bids[mid - 1 - distance] = one.quantity()
            if distance == 0 or rng.random() < 0.7:
                one.asks[mid + distance] = one.quantity()
        one.last_id = rng.randrange(10**9, 10**10)
        one.trade_id = rng.randrange(10**8, 10**9)
        made.append(one)
    return made


def messages(of: Sequence[Instrument], count: int, trade_share: float = 0.2, seed: int = 1) -> Iterator[bytes]:
    """Yield `count` messages, 10,000 in a second of the venue's clock, of instruments in turn; the books follow."""
    rng = random.Random(seed)
    for number in range(count):
        one = of[number % len(of)]
        ms = FIRST_MS + number // 10
        message = one.trade(ms) if rng.random() < trade_share else one.diff(ms)
        yield json.dumps(message, separators=(",", ":")).encode()


def record(path: Path, stream: Iterator[bytes]) -> int:
    """Write a recording; return how many messages it has."""
    count = 0
    with path.open("wb") as file:
        for message in stream:
            file.write(len(message).to_bytes(4, "big"))
            file.write(message)
            count += 1
    return count


def replay(path: Path) -> list[bytes]:
    """Return the messages of a recording."""
    data = path.read_bytes()
    found = []
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found
