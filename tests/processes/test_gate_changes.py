"""A real gate whose strategies come, move and go: whose orders it takes, and who is told of those that live on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest

from gate.bench import FLEET_ID, GateBench, until
from hive.shm.counters import CountersReader
from hive.shm.ids import order_prefix, strategy_tag
from hive.shm.messages import ReplyKind
from hive.shm.refusals import Refusal


class Lives:
    """The supervisor's part: numbers of lives, and what the gate answers."""

    def __init__(self, gate: GateBench) -> None:
        self._gate = gate
        self._life = 100
        self._asked = 0

    def adopt(self, strategy: str, worker: int, life: int | None = None, **limits) -> int:
        """Let a strategy begin a life on a worker; return the number of that life."""
        if life is None:
            self._life += 1
            life = self._life
        entry = {"id": strategy, "tag": strategy_tag(strategy), "worker": worker, "life": life, **limits}
        answer = self._ask({"type": "adopt", "strategy": entry})
        assert "error" not in answer
        return life

    def retire(self, strategy: str, cancel: bool) -> int:
        """End a strategy's life; return how many orders the gate says it had."""
        return self._ask({"type": "retire", "id": strategy, "cancel": cancel})["orders"]

    def exposure(self, strategy: str) -> dict:
        """Return what the gate says that a strategy has at stake."""
        return self._ask({"type": "exposure", "ids": [strategy]})["strategies"][strategy]

    def _ask(self, message: dict) -> dict:
        self._asked += 1
        self._gate.channel.send({**message, "change": self._asked})
        answer = self._gate.message(message["type"])
        assert answer["change"] == self._asked
        return answer


def order_of(strategy: str) -> str:
    return order_prefix(FLEET_ID, strategy_tag(strategy)) + f"{time.monotonic_ns():x}"


def refusals(gate: GateBench) -> dict[str, int]:
    """Return how many orders the gate counts as refused, by reason."""
    values = CountersReader(gate.counters).read().values
    return {dict(labels)["reason"]: n for (name, labels), n in values.items() if name == "orders_refused" and n}


def test_an_order_of_a_strategy_that_lives_elsewhere_is_refused_by_its_code_and_counted(gate, exchange):
    one, two = gate.workers
    forged = order_of("strategy-1")
    one.place(exchange.low_price(), client_order_id=forged)
    reply = one.wait(forged, ReplyKind.REJECTED)
    assert (reply.code, reply.text) == (Refusal.WRONG_WORKER, f"no strategy of worker 0 has the tag {two.tag}")
    mine = two.place(exchange.low_price())
    two.wait(mine, ReplyKind.ACKED)
    one.query(mine)
    one.cancel(mine)  # nor can it end what is another's
    assert one.wait(mine, ReplyKind.CANCEL_FAILED).code == Refusal.WRONG_WORKER
    assert one.kinds(mine) == ["CANCEL_FAILED"]  # and of what lives nobody is told that it was refused
    assert [order["clientOrderId"] for order in exchange.open_orders()] == [mine]
    assert exchange.orders(forged) == []
    assert refusals(gate) == {"wrong_worker": 3}


def test_a_moved_strategys_orders_are_told_to_its_next_life_and_taken_from_nowhere_else(gate, exchange):
    one, two = gate.workers
    lives = Lives(gate)
    top = exchange.top_price()
    resting, filled = one.place(exchange.low_price()), one.place(top)
    for order in (resting, filled):
        one.wait(order, ReplyKind.ACKED)
    assert lives.retire("strategy-0", cancel=False) == 2
    exchange.fill(top)  # between two lives: kept
    until(lambda: exchange.orders(filled)[0]["status"] == "FILLED", "the exchange has filled it")
    assert one.kinds(filled) == ["ACKED"]
    late = one.place(exchange.low_price())
    assert one.wait(late, ReplyKind.REJECTED).code == Refusal.WRONG_WORKER
    lives.adopt("strategy-0", 1)
    two.wait(resting, ReplyKind.ACKED)
    two.wait(filled, ReplyKind.FILLED)
    assert two.kinds(filled).count("FILL") == 1
    again = one.place(exchange.low_price())
    assert one.wait(again, ReplyKind.REJECTED).code == Refusal.WRONG_WORKER
    fresh = two.place(exchange.low_price(), client_order_id=order_of("strategy-0"))
    two.wait(fresh, ReplyKind.ACKED)
    own = two.place(exchange.low_price())  # its own strategy is there still
    two.wait(own, ReplyKind.ACKED)
    two.cancel(resting)
    two.wait(resting, ReplyKind.CANCELLED)
    assert {order["clientOrderId"] for order in exchange.open_orders()} == {fresh, own}


def test_the_death_of_the_old_worker_leaves_a_moved_strategys_orders_alone_and_that_of_the_new_does_not(gate, exchange):
    one, two = gate.workers
    lives = Lives(gate)
    resting = one.place(exchange.low_price())
    one.wait(resting, ReplyKind.ACKED)
    lives.retire("strategy-0", cancel=False)
    lives.adopt("strategy-0", 1)
    two.wait(resting, ReplyKind.ACKED)
    gate.channel.send({"type": "worker_gone", "index": 0, "epoch": 1})
    marker = two.place(exchange.low_price())
    two.wait(marker, ReplyKind.ACKED)
    assert {order["clientOrderId"] for order in exchange.open_orders()} == {resting, marker}
    gate.channel.send({"type": "worker_gone", "index": 1, "epoch": 1})
    until(lambda: exchange.open_orders() == [], "on_crash: cancel")


def test_a_removed_strategys_orders_are_cancelled_and_what_it_has_is_there_when_it_comes_back(gate, exchange):
    one, _ = gate.workers
    lives = Lives(gate)
    top = exchange.top_price()
    filled, resting = one.place(top), one.place(exchange.low_price(), amount="0.02")
    for order in (filled, resting):
        one.wait(order, ReplyKind.ACKED)
    exchange.fill(top)
    one.wait(filled, ReplyKind.FILLED)
    stake = lives.exposure("strategy-0")
    assert stake["open_orders"] == {"BTC-USDT": {"orders": 1, "buys": "0.02", "sells": "0"}}
    assert Decimal(stake["positions"]["BTC"]) > 0
    assert lives.retire("strategy-0", cancel=True) == 1
    until(lambda: exchange.open_orders() == [], "its order is cancelled")
    until(lambda: lives.exposure("strategy-0")["open_orders"] == {}, "the gate knows")
    assert lives.exposure("strategy-0")["positions"] == stake["positions"]
    lives.adopt("strategy-0", 0)
    one.wait(resting, ReplyKind.CANCELLED)  # nobody was there to hear of it
    back = one.place(exchange.low_price())
    one.wait(back, ReplyKind.ACKED)


def test_a_new_strategy_trades_within_its_limits_and_other_limits_count_what_is_open_already(gate, exchange):
    one, _ = gate.workers
    lives = Lives(gate)
    price = exchange.low_price()
    life = lives.adopt("newcomer", 0, risk={"max_open_orders": 2})
    orders = []
    for _ in range(2):
        orders.append(one.place(price, client_order_id=order_of("newcomer")))
        one.wait(orders[-1], ReplyKind.ACKED)
    third = one.place(price, client_order_id=order_of("newcomer"))
    assert one.wait(third, ReplyKind.REJECTED).code == Refusal.OPEN_ORDERS
    lives.adopt("newcomer", 0, life, risk={"max_open_orders": 3})  # the same life: it only gets other limits
    third = one.place(price, client_order_id=order_of("newcomer"))
    one.wait(third, ReplyKind.ACKED)
    assert one.kinds(orders[0]) == ["ACKED"]
    fourth = one.place(price, client_order_id=order_of("newcomer"))
    assert one.wait(fourth, ReplyKind.REJECTED).code == Refusal.OPEN_ORDERS
    lives.adopt("newcomer", 0, life, capital={"USDT": str(price * Decimal("0.035"))})
    poor = one.place(price, client_order_id=order_of("newcomer"))  # three of 0.01 are reserved
    refused = one.wait(poor, ReplyKind.REJECTED)
    assert refused.code == Refusal.CAPITAL
    one.cancel(orders[0])
    one.wait(orders[0], ReplyKind.CANCELLED)
    rich = one.place(price, client_order_id=order_of("newcomer"))
    one.wait(rich, ReplyKind.ACKED)


def test_orders_that_were_handed_over_are_still_its_when_the_gate_is_killed(exchange):
    first = GateBench(exchange, workers=2)
    try:
        first.ready()
        one, two = first.workers
        lives = Lives(first)
        resting = one.place(exchange.low_price())
        one.wait(resting, ReplyKind.ACKED)
        lives.retire("strategy-0", cancel=False)
        life = lives.adopt("strategy-0", 1)
        two.wait(resting, ReplyKind.ACKED)
        first.process.kill()
        first.process.wait(30)
        owners = [
            {"id": "strategy-0", "tag": strategy_tag("strategy-0"), "worker": 1, "life": life},
            {"id": "strategy-1", "tag": strategy_tag("strategy-1"), "worker": 1, "life": 1},
        ]
        second = GateBench(exchange, run=first.run, epoch=2, strategies=owners, living={"0": 1, "1": 1})
        try:
            second.ready()
            assert [order["clientOrderId"] for order in exchange.open_orders()] == [resting]
        finally:
            second.close()
    finally:
        first.close()
        first.forget()


def owner(strategy: str, worker: int, life: int, kept: int | None = None) -> dict:
    """Return what a boot message says of a strategy."""
    return {"id": strategy, "tag": strategy_tag(strategy), "worker": worker, "life": life, "kept": kept}


@contextmanager
def next_gate(gate: GateBench, *owners: dict, **boot) -> Iterator[GateBench]:
    """Kill a gate, and start the one that takes over from it, with other strategies."""
    gate.process.kill()
    gate.process.wait(30)
    living = {"0": 1, "1": 1}
    second = GateBench(gate.exchange, run=gate.run, epoch=2, strategies=list(owners), living=living, **boot)
    try:
        yield second.ready()
    finally:
        second.close()


def test_a_removed_strategys_orders_are_cancelled_by_the_next_gate_when_the_first_is_killed_before(exchange):
    first = GateBench(exchange, workers=2, on_worker_death="keep")
    try:
        first.ready()
        one, two = first.workers
        removed, other = one.place(exchange.low_price()), two.place(exchange.low_price())
        one.wait(removed, ReplyKind.ACKED)
        two.wait(other, ReplyKind.ACKED)
        exchange.fault("http_5xx", operation="cancel", executed=0, count=1_000_000)  # the first cannot do it
        assert Lives(first).retire("strategy-0", cancel=True) == 1
        first.process.kill()
        first.process.wait(30)
        exchange.clear()
        assert {order["clientOrderId"] for order in exchange.open_orders()} == {removed, other}
        with next_gate(first, owner("strategy-1", 1, 1), on_worker_death="keep"):
            until(lambda: [o["clientOrderId"] for o in exchange.open_orders()] == [other], "the removed one's is gone")
    finally:
        first.close()
        first.forget()


@pytest.mark.parametrize("begun", [False, True], ids=["before its next life", "in its next life"])
def test_a_moved_strategys_orders_stay_when_the_gate_is_killed_before_it_has_handed_them_over(exchange, begun):
    first = GateBench(exchange, workers=2)
    try:
        first.ready()
        one, two = first.workers
        moving, lost = one.place(exchange.low_price()), two.place(exchange.low_price())
        one.wait(moving, ReplyKind.ACKED)
        two.wait(lost, ReplyKind.ACKED)
        assert Lives(first).retire("strategy-0", cancel=False) == 1
        moves = owner("strategy-0", 1, 7, kept=1) if begun else owner("strategy-0", -1, 1, kept=1)
        with next_gate(first, moves, owner("strategy-1", 1, 5)) as second:  # and that one has lost its last life
            until(lambda: [o["clientOrderId"] for o in exchange.open_orders()] == [moving], "only the lost one is gone")
            heir = second.workers[1]
            if begun:  # and the worker to which it moves dies, before it was handed anything
                other = heir.place(exchange.low_price())
                heir.wait(other, ReplyKind.ACKED)
                second.channel.send({"type": "worker_gone", "index": 1, "epoch": 1})
                until(lambda: [o["clientOrderId"] for o in exchange.open_orders()] == [moving], "only it stays")
                heir = second.workers[0]
            Lives(second).adopt("strategy-0", heir.index, 8)
            heir.wait(moving, ReplyKind.ACKED)
            heir.cancel(moving)
            heir.wait(moving, ReplyKind.CANCELLED)
    finally:
        first.close()
        first.forget()
