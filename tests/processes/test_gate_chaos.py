"""Orders under a storm of faults: at the end, what strategies were told equals what the exchange recorded."""

import os
import random
import signal
import time
from decimal import Decimal

import pytest

from gate.bench import ENDS, FIRST_WORD, Exchange, GateBench, Worker, until
from hive.shm.messages import MAYBE_SENT, ReplyKind

EXCHANGE = ("--orders-10s", "10000", "--weight-limit", "60000", "--ban-after", "1000")
TICK = Decimal("0.01")
STATUS = {"NEW": None, "PARTIALLY_FILLED": None, "FILLED": ReplyKind.FILLED, "CANCELED": ReplyKind.CANCELLED}
FAULTS = (
    ("http_5xx", {"operation": "place", "executed": 1}),
    ("http_5xx", {"operation": "place", "executed": 0}),
    ("http_5xx", {"operation": "cancel", "executed": 1}),
    ("http_5xx", {"operation": "cancel", "executed": 0}),
    ("http_5xx", {"operation": "query", "executed": 1}),
    ("http_429", {"channel": "all", "retry_after": 1}),
    ("drop", {"channel": "ws_api", "abort": 1}),
    ("drop", {"channel": "user", "abort": 0}),
    ("delay", {"channel": "all", "operation": "place", "ms": 300, "seconds": 0.5}),
    ("mute", {"channel": "user", "seconds": 1}),
    ("stall", {"channel": "ws_api", "seconds": 1.5}),
)


def settled(worker: Worker, order: str) -> bool:
    """Return whether a strategy knows where an order stands."""
    replies = [reply for reply in worker.heard(order) if reply.kind in FIRST_WORD | ENDS]
    return bool(replies) and replies[-1].kind is not ReplyKind.UNKNOWN


def last_word(worker: Worker, order: str) -> ReplyKind | None:
    """Return how an order ended for its strategy, None while it is open."""
    kinds = [reply.kind for reply in worker.heard(order) if reply.kind in ENDS | {ReplyKind.ACKED}]
    return None if kinds[-1] is ReplyKind.ACKED else kinds[-1]


def compare(exchange: Exchange, owners: dict[str, Worker]) -> None:
    """Hold every strategy's story against the exchange's record."""
    recorded = {order["clientOrderId"]: order for order in exchange.orders()}
    assert len(recorded) == len(exchange.orders())
    assert recorded.keys() <= owners.keys()
    for order, worker in owners.items():
        told = last_word(worker, order)
        fills = [reply.trade_id for reply in worker.heard(order) if reply.kind is ReplyKind.FILL]
        if order not in recorded:
            assert told in (ReplyKind.REJECTED, ReplyKind.CANCELLED), (order, worker.kinds(order))
            assert fills == []
            continue
        assert told == STATUS[recorded[order]["status"]], (order, worker.kinds(order), recorded[order])
        assert sorted(fills) == sorted(fill["id"] for fill in recorded[order]["fills"]), order
    for worker in set(owners.values()):
        about = {reply.client_order_id for reply in worker.told if reply.client_order_id}
        assert about <= {order for order, owner in owners.items() if owner is worker}


def trade_on(
    exchange: Exchange, workers: list[Worker], rng: random.Random, owners: dict[str, Worker], price: Decimal, turns: int
) -> dict[str, Decimal]:
    """Place, cancel and fill at random; `price` is the first in line to buy. Return what was placed, at which price."""
    placed: dict[str, Decimal] = {}
    low = (price * Decimal("0.9")).quantize(TICK)
    for _ in range(turns):
        worker = rng.choice(workers)
        choice = rng.random()
        mine = [order for order, owner in owners.items() if owner is worker]
        if choice < 0.6 or not mine:
            at = rng.choice((price, low))
            order = worker.place(at)
            owners[order] = worker
            placed[order] = at
        elif choice < 0.85:
            worker.cancel(rng.choice(mine[-20:]))
        else:
            exchange.fill(price, rng.choice(("0.004", "0.01", "0.02")))
        for each in workers:
            each.listen()
        time.sleep(rng.random() * 0.01)
    return placed


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_of_faults_loses_doubles_and_misdirects_nothing(exchange, seed):
    rng = random.Random(seed)
    price = exchange.top_price()
    gate = GateBench(exchange, workers=3).ready()
    owners: dict[str, Worker] = {}
    try:
        for name, arguments in rng.sample(FAULTS, len(FAULTS)):
            exchange.fault(name, **arguments)
            trade_on(exchange, gate.workers, rng, owners, price, 25)
        exchange.clear()
        until(
            lambda: all(settled(worker, order) for order, worker in owners.items()),
            lambda: f"all are settled: {[w.kinds(o) for o, w in owners.items() if not settled(w, o)]}",
            60,
        )
        exchange.fault("drop", channel="user")  # whatever the stream has missed is asked for when it is back
        until(lambda: gate.figures()["unknown_now"] == 0, "nothing is unknown")
        until(lambda: agrees(exchange, owners), "what was told is what was recorded", 30)
        compare(exchange, owners)
        assert len(owners) > 100
        assert gate.figures()["orders_unknown"] > 0  # the storm was one
        assert gate.stop() == 0
        assert exchange.open_orders() == []
    finally:
        gate.close()


def test_a_gate_killed_in_the_middle_loses_doubles_and_misdirects_nothing(exchange):
    rng = random.Random(5)
    price = exchange.top_price()
    first = GateBench(exchange, workers=2).ready()
    second = None
    owners: dict[str, Worker] = {}
    try:
        exchange.fault("delay", channel="ws_api", operation="place", ms=50)
        placed = trade_on(exchange, first.workers, rng, owners, price, 80)
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        placed |= trade_on(exchange, first.workers, rng, owners, price, 10)  # into queues that nobody reads
        exchange.clear()
        second = GateBench(exchange, workers=2, run=first.run, epoch=2)
        second.wake = second.message("ready")["wake"]
        after = {worker.index: Worker(second, worker.index) for worker in first.workers}
        for order, worker in owners.items():
            said = [reply for reply in worker.heard(order) if reply.kind in FIRST_WORD]
            if said:
                after[worker.index].query(order)
            else:
                after[worker.index].place(placed[order], client_order_id=order, flags=MAYBE_SENT)
        for worker in after.values():
            second.workers.append(worker)
        owners = {order: after[worker.index] for order, worker in owners.items()}
        until(
            lambda: all(settled(worker, order) for order, worker in owners.items()),
            lambda: f"all are settled: {[w.kinds(o) for o, w in owners.items() if not settled(w, o)]}",
            60,
        )
        until(lambda: agrees(exchange, owners), "what was told is what was recorded", 30)
        compare(exchange, owners)
        assert second.stop() == 0
        assert exchange.open_orders() == []
    finally:
        first.close()
        if second is not None:
            second.close()


def agrees(exchange: Exchange, owners: dict[str, Worker]) -> bool:
    """Return whether the comparison holds by now; replies may still be on their way."""
    try:
        compare(exchange, owners)
    except (AssertionError, KeyError):
        return False
    return True
