"""One end of shared memory in a process of its own, compiled or pure as HIVE_PURE_PYTHON says.

    pure_peer.py publish NAME         books, trades, tops, counters and candles of known content; waits for stdin's end
    pure_peer.py look NAME            prints what it finds in them, as JSON
    pure_peer.py write NAME SECONDS   one book, version after version, as fast as it can
    pure_peer.py read NAME SECONDS    reads that, and prints how many it accepted, how many of those were torn, ...
    pure_peer.py queue NAME           makes an order queue and puts a message into it; waits for stdin's end
    pure_peer.py names                prints what every module that has a twin offers, as JSON

NAME is the middle of the segments' names, "run.what".
"""

import importlib
import inspect
import json
import sys
import time
from array import array
from dataclasses import asdict
from decimal import Decimal
from math import isnan

from hive.pure import TWINS, implementation
from hive.shm.atomics import boottime_ns
from hive.shm.book import LIVE, STALE, BookCopy, BookDirectory, BookTable, books_size
from hive.shm.broadcast import BroadcastReader, BroadcastWriter, TopReader, TopWriter, broadcast_size
from hive.shm.candles import CandleReader, CandleWriter, candles_size
from hive.shm.counters import Counters, CountersReader, counters_size
from hive.shm.instruments import InstrumentRules
from hive.shm.order_queue import OrderQueue
from hive.shm.segment import Segment, segment_name

DEPTH, VERSIONS = 20, 4
RULES = InstrumentRules(
    pair="BTC-USDT",
    symbol="BTCUSDT",
    base="BTC",
    quote="USDT",
    tick=Decimal("0.01"),
    step=Decimal("0.00001"),
    min_qty=Decimal("0.00001"),
    max_qty=None,
    min_notional=Decimal(5),
)
OTHER = {"pair": "ETH-USDT", "symbol": "ETHUSDT", "base": "ETH"}
KINDS = ("books", "trades", "tops", "counters", "candles")
SIZES = {
    "books": books_size(3, DEPTH, VERSIONS, depths=(50,)),
    "trades": broadcast_size(16),
    "tops": broadcast_size(16),
    "counters": counters_size(4, 1),
    "candles": candles_size(8),
}


def create(name: str, kind: str) -> Segment:
    """Return a fresh segment of a kind."""
    return Segment.create(segment_name(name, kind, 1), SIZES[kind], kind=kind, epoch=1)


def opened(name: str, kind: str) -> Segment:
    """Return the other process's segment of a kind."""
    return Segment.open(segment_name(name, kind, 1), kind=kind)


def publish(name: str) -> None:
    """Fill one segment of each kind; tell of it; unlink them when stdin ends."""
    segments = {kind: create(name, kind) for kind in KINDS}
    table = BookTable(segments["books"], 3, DEPTH, VERSIONS)
    gone = table.add(InstrumentRules(**{**fields(RULES), "pair": "OLD-USDT"}))
    table.writer(gone).publish(1, 0, 0, 0, *[array("d", [1.0])] * 4)
    table.remove(gone)
    slot = table.add(RULES)
    deep = table.add(InstrumentRules(**{**fields(RULES), **OTHER}), depth=50)
    for update_id in range(1, 11):
        table.writer(slot).publish(update_id, 5, 6, 7, *columns(update_id))
    table.set_state(slot, LIVE, 8)
    table.writer(slot).set_last_trade(99.5, 9)
    one = array("d", [2.0])
    table.writer(deep).publish(77, 1, 2, 3, array("d", []), array("d", []), one, one)
    table.set_state(deep, STALE, 4)
    trades, tops = BroadcastWriter(segments["trades"], 16), TopWriter(segments["tops"], 16)
    print("ready to be followed", flush=True)
    sys.stdin.readline()
    for number in range(5):
        trades.publish(slot, number & 1, 1000 + number, 10, 11, 100.25 + number, 0.5, 2)
        tops.publish(slot, 2, number, 12, 1.0 + number, 2.0, 3.0, 4.0)
    counters = Counters.create(segments["counters"], 4)
    counters.counter("seen", venue="x").inc(41)
    counters.counter("seen", venue="x").inc()
    counters.counter("below").set(-3)
    for value_ns in (0, 100, 5_000, 10**12):
        counters.histogram("took_ns", side="buy").record(value_ns)
    candles = CandleWriter(segments["candles"], "BTC-USDT", "1m", 60_000, 8)
    for minute in range(12):
        candles.update(minute * 60_000, minute * 60_000 + 59_999, 1.0, 4.0, 0.5, 2.0, 7.0, 8.0, 9, 3.0, 4.0, False, 5)
    candles.set_state(LIVE, 6)
    for segment in segments.values():
        segment.beat(time.monotonic_ns())
    print("ready", flush=True)
    sys.stdin.read()
    for segment in segments.values():
        segment.unlink()


def look(name: str) -> None:
    """Print everything that a reader can find in the other process's segments."""
    trades, tops = BroadcastReader(opened(name, "trades")), TopReader(opened(name, "tops"))
    print("following", flush=True)
    sys.stdin.readline()
    books = opened(name, "books")
    directory = BookDirectory(books, silent_after_ns=60_000_000_000)
    readers = {pair: directory.reader(directory.find(pair)) for pair in directory.pairs()}
    candles = CandleReader(opened(name, "candles"))
    rows = memoryview(array("d", bytes(8 * 10 * 20))).cast("B").cast("d", (20, 10))
    counters = CountersReader(opened(name, "counters")).read()
    found = {
        "implementation": implementation(),
        "pairs": directory.pairs(),
        "changes": directory.changes,
        "rules": {pair: str(directory.rules(reader.slot)) for pair, reader in readers.items()},
        "tops": {pair: [str(value) for value in reader.top()] for pair, reader in readers.items()},
        "states": {pair: [reader.state, reader.state_at(boottime_ns())] for pair, reader in readers.items()},
        "read_tops": {pair: str(reader.read_top(boottime_ns())[:-1]) for pair, reader in readers.items()},
        "copies": {pair: {k: str(v) for k, v in asdict(reader.copy()).items()} for pair, reader in readers.items()},
        "last_trades": {pair: reader.last_trade for pair, reader in readers.items()},
        "depths": {pair: [reader.depth, reader.room, reader.generation] for pair, reader in readers.items()},
        "borrowed": {pair: str(reader.borrow()) for pair, reader in readers.items()},
        "dead_later": readers["BTC-USDT"].state_at(boottime_ns() + 61_000_000_000),
        "trades": str(trades.drain()),
        "top_events": str(tops.drain()),
        "values": sorted(map(str, counters.values.items())),
        "histograms": sorted(map(str, counters.histograms.items())),
        "candles": [candles.read_into(rows), rows.tolist(), str(candles.newest), candles.count, candles.revision],
        "series": [candles.pair, candles.interval, candles.interval_ms, candles.capacity, candles.state],
    }
    print(json.dumps(found), flush=True)


def fields(rules: InstrumentRules) -> dict:
    """Return the fields of rules by name."""
    return {name: getattr(rules, name) for name in rules.__slots__}


def columns(update_id: int) -> list[array]:
    """Return bid prices, bid quantities, ask prices and ask quantities of a version; all follow from its id."""
    depth = update_id % DEPTH + 1
    base = float(update_id)
    return [array("d", [base + column * 0.125 + level * 1024.0 for level in range(depth)]) for column in range(4)]


def write(name: str, seconds: float) -> None:
    """Publish for so long; the last id is printed."""
    segment = create(name, "books")
    table = BookTable(segment, 3, DEPTH, VERSIONS)
    writer = table.writer(table.add(RULES))
    made = [columns(update_id) for update_id in range(DEPTH * 64)]
    update_id = 0
    print("ready", flush=True)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(200):
            update_id += 1
            base = made[update_id % len(made)]
            writer.publish(update_id % len(made), update_id, 0, 0, *base)
        segment.beat(time.monotonic_ns())
    print(json.dumps({"published": update_id, "implementation": implementation()}), flush=True)
    sys.stdin.read()
    segment.unlink()


def read(name: str, seconds: float) -> None:
    """Read by every way there is; print what was accepted and what of it was torn."""
    segment = opened(name, "books")
    reader = BookDirectory(segment).reader(0)
    into = BookCopy(DEPTH)
    accepted = torn = refused = distinct = last = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(100):
            status = reader.copy_into(into)
            if status == 0:
                continue
            book = into.snapshot() if status == 1 else None
            top = reader.top()
            borrowed = reader.borrow()
            if borrowed is not None:
                here = borrowed.offset
                prices = array("d", bytes(segment.buffer[here : here + 8 * borrowed.n_bids]))
                if reader.still_valid(borrowed.version):
                    accepted += 1
                    torn += len(prices) != borrowed.n_bids or prices != columns(int(prices[0]))[0]
            if book is None or top is None:
                refused += 1
                continue
            accepted += 2
            expected = columns(book.update_id)
            torn += [book.bid_px, book.bid_qty, book.ask_px, book.ask_qty] != expected
            torn += book.exchange_ns != book.version or book.update_id != book.version % (DEPTH * 64)
            torn += top != (*(column[0] for column in columns(top[4])), top[4]) or isnan(top[0])
            distinct += book.version != last
            last = book.version
    found = {"accepted": accepted, "torn": torn, "refused": refused, "distinct": distinct}
    print(json.dumps({**found, "implementation": implementation()}), flush=True)


def queue(name: str) -> None:
    """Make a queue with a message in it."""
    made = OrderQueue.create(segment_name(name, "queue", 1), 1)
    made.put_many([b"hello"])
    print("ready", flush=True)
    sys.stdin.read()
    made.unlink()


def names() -> None:
    """Print the public names of every module, the public attributes of its classes, and the arguments they take."""
    found = {}
    for module_name in sorted(TWINS):
        module = importlib.import_module(module_name)
        offered = {}
        for name, value in vars(module).items():
            own = getattr(value, "__module__", module_name) == module_name
            if name.startswith("_") or inspect.ismodule(value) or not own:
                continue
            offered[name] = arguments(value)
            if inspect.isclass(value):
                declared = {attribute for base in value.__mro__ for attribute in vars(base).get("__annotations__", ())}
                for attribute in declared | set(dir(value)):
                    if not attribute.startswith("_"):
                        offered[f"{name}.{attribute}"] = arguments(getattr(value, attribute, None))
        found[module_name] = offered
    print(json.dumps(found), flush=True)


def arguments(value: object) -> list[str] | None:
    """Return the names of what a function takes, None when it is none or does not tell."""
    if not callable(value) or inspect.isclass(value):
        return None
    try:
        return [name for name in inspect.signature(value).parameters if name != "self"]
    except (TypeError, ValueError):
        return None


ROLES = {"publish": publish, "look": look, "write": write, "read": read, "queue": queue, "names": names}

if __name__ == "__main__":
    ROLES[sys.argv[1]](*sys.argv[2:3], *map(float, sys.argv[3:4]))
