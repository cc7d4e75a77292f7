"""A real gate process against the simulated exchange: every order's fate is known, and told to who owns it."""

import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

from gate.bench import ENDS, FIRST_WORD, FLEET_ID, Exchange, GateBench, Relay, Worker, until
from hive.shm.ids import order_prefix, strategy_tag
from hive.shm.messages import MAYBE_SENT, OrderType, ReplyKind, Side, TimeInForce
from hive.shm.refusals import Refusal
from hive.shm.segment import list_segments

TICK = Decimal("0.01")


@pytest.fixture
def exchange():
    exchange = Exchange()
    yield exchange
    exchange.close()


@pytest.fixture
def gate(exchange):
    bench = GateBench(exchange, workers=2)
    yield bench.ready()
    bench.close()


@pytest.fixture
def start(exchange):
    """Start gates that say something else at boot."""
    benches = []

    def start(**boot: object) -> GateBench:
        benches.append(GateBench(exchange, **boot))
        return benches[-1]

    yield start
    for bench in benches:
        bench.close()


def low_price(exchange: Exchange) -> Decimal:
    """Return a price at which nothing is sold."""
    return (exchange.best("bid") * Decimal("0.9")).quantize(TICK)


def top_price(exchange: Exchange) -> Decimal:
    """Return a price just above the best bid: first in line, and not taking."""
    return exchange.best("bid") + TICK


class TestOrders:
    """The straight ways of an order."""

    def test_one_rests_one_is_cancelled_and_one_is_filled(self, gate, exchange):
        worker = gate.workers[0]
        price = low_price(exchange)
        first, second = worker.place(price), worker.place(price)
        for order in (first, second):
            reply = worker.wait(order, ReplyKind.ACKED)
            assert reply.exchange_order_id
            assert reply.sent_ns > 0
        worker.cancel(second)
        assert worker.wait(second, *ENDS).kind is ReplyKind.CANCELLED
        third = worker.place(exchange.best("ask") + 1)
        assert worker.wait(third, *ENDS).kind is ReplyKind.FILLED
        assert worker.kinds(third)[0] == "ACKED"
        fills = [reply for reply in worker.heard(third) if reply.kind is ReplyKind.FILL]
        assert sum(fill.amount for fill in fills) == Decimal("0.01")
        assert {(fill.trade_id, fill.price, fill.fee, fill.fee_asset) for fill in fills} == {
            (fill["id"], Decimal(fill["price"]), Decimal(fill["commission"]), fill["commissionAsset"])
            for fill in exchange.orders(third)[0]["fills"]
        }
        figures = gate.figures()
        assert (figures["orders_sent"], figures["orders_acked"]) == (3, 3)
        assert (figures["orders_cancelled"], figures["orders_filled"], figures["fills"]) == (1, 1, len(fills))
        assert gate.histogram("order_latency_ns").count == 3
        until(lambda: gate.figures()["user_connections"] == 2, "both connections are shown")

    def test_a_resting_order_is_filled_in_parts_and_its_rest_cancelled(self, gate, exchange):
        worker = gate.workers[0]
        price = top_price(exchange)
        order = worker.place(price, "0.05")
        worker.wait(order, ReplyKind.ACKED)
        exchange.fill(price, "0.02")
        fill = worker.wait(order, ReplyKind.FILL)
        assert (fill.amount, fill.price, fill.maker, fill.cumulative) == (Decimal("0.02"), price, True, Decimal("0.02"))
        worker.cancel(order)
        end = worker.wait(order, *ENDS)
        assert (end.kind, end.cumulative) == (ReplyKind.CANCELLED, Decimal("0.02"))

    def test_every_reply_goes_to_the_strategy_that_asked_and_to_no_other(self, gate, exchange):
        price = top_price(exchange)
        placed = {worker.index: [worker.place(price) for _ in range(25)] for worker in gate.workers}
        for worker in gate.workers:
            for order in placed[worker.index]:
                worker.wait(order, ReplyKind.ACKED)
        exchange.fill(price, "0.3")
        for worker in gate.workers:
            for order in placed[worker.index]:
                worker.cancel(order)
            for order in placed[worker.index]:
                worker.wait(order, *ENDS)
        recorded = {order["clientOrderId"]: order for order in exchange.orders()}
        for worker in gate.workers:
            about = {reply.client_order_id for reply in worker.told if reply.client_order_id}
            assert about == set(placed[worker.index])
            for order in placed[worker.index]:
                fills = [reply.trade_id for reply in worker.heard(order) if reply.kind is ReplyKind.FILL]
                assert fills == [fill["id"] for fill in recorded[order]["fills"]]
                ended = {"FILLED": "FILLED", "CANCELED": "CANCELLED"}[recorded[order]["status"]]
                assert worker.kinds(order)[-1] == ended
        assert len(recorded) == 50

    def test_refusals_of_the_venue_reach_the_strategy_with_code_and_text(self, gate, exchange):
        worker = gate.workers[0]
        cases = [
            (worker.place(low_price(exchange), "100"), -2010, "insufficient balance"),
            (worker.place(low_price(exchange) + Decimal("0.001")), -1013, "PRICE_FILTER"),
            (worker.place(exchange.best("ask") + 1, order_type=OrderType.LIMIT_MAKER), -2010, "immediately match"),
            (worker.place(low_price(exchange), pair="NO-SUCH"), Refusal.INVALID, "binance does not list NO-SUCH"),
            (worker.place("0", "1"), Refusal.INVALID, "price must be > 0, was 0"),
        ]
        for order, code, text in cases:
            reply = worker.wait(order, *FIRST_WORD)
            assert (reply.kind, reply.code) == (ReplyKind.REJECTED, code), reply
            assert text in reply.text

    def test_orders_that_may_not_rest_expire_or_fill_at_once(self, gate, exchange):
        worker = gate.workers[0]
        none = worker.place(low_price(exchange), tif=TimeInForce.IOC)
        assert worker.wait(none, *ENDS).kind is ReplyKind.EXPIRED
        market = worker.place(None, order_type=OrderType.MARKET, side=Side.SELL)
        end = worker.wait(market, *ENDS)
        assert (end.kind, end.cumulative) == (ReplyKind.FILLED, Decimal("0.01"))

    def test_balances_are_told_at_the_start_and_as_they_change(self, gate, exchange):
        worker = gate.workers[0]
        free, locked = worker.balances()["USDT"]
        assert (free, locked) == (Decimal(1_000_000), Decimal(0))
        price = low_price(exchange)
        worker.wait(worker.place(price), ReplyKind.ACKED)
        tied = price * Decimal("0.01")
        until(lambda: worker.balances()["USDT"] == (free - tied, tied), "the order's money is locked")

    def test_another_workers_tag_and_another_fleets_id_are_refused_and_never_sent(self, gate, exchange):
        mine, other = gate.workers
        price = low_price(exchange)
        for order in (other.new_id(), order_prefix("other", mine.tag) + "x", "not-ours-at-all"):
            mine.place(price, client_order_id=order)
            reply = mine.wait(order, *FIRST_WORD)
            assert reply.kind is ReplyKind.REJECTED
            assert "tag" in reply.text or "fleet" in reply.text
            mine.cancel(order)
            mine.wait(order, ReplyKind.CANCEL_FAILED)
        assert exchange.orders() == []
        assert other.told == [reply for reply in other.told if not reply.client_order_id]

    def test_an_order_that_comes_twice_is_sent_once_and_answered_twice(self, gate, exchange):
        worker = gate.workers[0]
        order = worker.place(low_price(exchange))
        worker.wait(order, ReplyKind.ACKED)
        worker.place(low_price(exchange), client_order_id=order)
        until(lambda: worker.kinds(order) == ["ACKED", "ACKED"], "the second is answered with the first's state")
        assert len(exchange.orders()) == 1
        assert gate.figures()["duplicates_dropped"] == 1


class TestCancels:
    """Cancels tell the truth."""

    def test_one_of_an_order_that_nobody_knows_fails(self, gate):
        worker = gate.workers[0]
        order = worker.new_id()
        worker.cancel(order)
        assert worker.wait(order, ReplyKind.CANCEL_FAILED).code == -2011

    def test_one_of_an_order_that_is_over_tells_how_it_ended(self, gate, exchange):
        worker = gate.workers[0]
        order = worker.place(exchange.best("ask") + 1)
        worker.wait(order, ReplyKind.FILLED)
        worker.cancel(order)
        until(lambda: worker.kinds(order).count("FILLED") == 2, "the end is told again")

    def test_one_of_an_order_that_the_venue_ended_unheard_tells_the_end(self, gate, exchange):
        worker = gate.workers[0]
        order = worker.place(top_price(exchange))
        worker.wait(order, ReplyKind.ACKED)
        exchange.fault("mute", channel="user")
        exchange.fill(Decimal(exchange.orders(order)[0]["price"]))
        worker.cancel(order)
        assert worker.wait(order, *ENDS).kind is ReplyKind.FILLED
        assert worker.kinds(order) == ["ACKED", "FILL", "FILLED"]

    def test_one_of_an_order_that_waits_for_its_turn_annihilates_both(self, start, exchange):
        gate = start(rate_limiting={"global_orders_per_second": 1, "per_strategy_orders_per_second": 1}).ready()
        worker = gate.workers[0]
        first, second = worker.place(low_price(exchange)), worker.place(low_price(exchange))
        worker.cancel(second)
        assert worker.wait(second, *ENDS).kind is ReplyKind.CANCELLED
        worker.wait(first, ReplyKind.ACKED)
        third = worker.place(low_price(exchange))
        worker.wait(third, ReplyKind.ACKED)
        assert {order["clientOrderId"] for order in exchange.orders()} == {first, third}


class TestUnknown:
    """What became of an order is found out, never guessed."""

    @pytest.mark.parametrize("heard", [True, False])
    def test_an_error_after_executing_ends_in_the_truth_and_one_order(self, gate, exchange, heard):
        worker = gate.workers[0]
        exchange.fault("http_5xx", operation="place", executed=1)
        if not heard:
            exchange.fault("mute", channel="user")
        order = worker.place(low_price(exchange))
        worker.wait(order, ReplyKind.ACKED)
        if not heard:
            assert worker.kinds(order) == ["UNKNOWN", "ACKED"]
        assert [o["status"] for o in exchange.orders()] == ["NEW"]
        worker.cancel(order)
        assert worker.wait(order, *ENDS).kind is ReplyKind.CANCELLED

    def test_an_error_without_executing_is_believed_only_after_the_window(self, gate, exchange):
        worker = gate.workers[0]
        exchange.fault("http_5xx", operation="place", executed=0)
        began = time.monotonic()
        order = worker.place(low_price(exchange))
        worker.wait(order, ReplyKind.UNKNOWN)
        reply = worker.wait(order, *ENDS)
        assert (reply.kind, reply.code, reply.text) == (ReplyKind.REJECTED, -2013, "never reached the venue")
        assert time.monotonic() - began > 1.0  # recvWindow
        assert exchange.orders() == []

    def test_a_connection_lost_in_flight_loses_and_doubles_no_order(self, gate, exchange):
        worker = gate.workers[0]
        exchange.fault("mute", channel="user")
        exchange.fault("delay", channel="ws_api", operation="place", ms=800)
        orders = [worker.place(low_price(exchange)) for _ in range(5)]
        until(lambda: len(exchange.orders()) == 5, "the exchange has them")
        exchange.fault("drop", channel="ws_api", abort=1)
        for order in orders:
            worker.wait(order, ReplyKind.UNKNOWN)
            worker.wait(order, ReplyKind.ACKED)
        exchange.clear()
        assert sorted(o["clientOrderId"] for o in exchange.orders()) == sorted(orders)
        until(lambda: gate.figures()["unknown_now"] == 0, "the figures follow")

    def test_more_fills_than_one_page_of_trades_are_found_when_the_stream_missed_them_all(self, gate, exchange):
        worker = gate.workers[0]
        price = top_price(exchange)
        exchange.fault("mute", channel="user")
        order = worker.place(price, "0.01005")
        worker.wait(order, ReplyKind.ACKED)
        for _ in range(1005):
            exchange.fill(price, "0.00001")
        exchange.clear()
        exchange.fault("drop", channel="user")
        until(lambda: worker.heard(order)[-1].kind is ReplyKind.FILLED, "all of them are told", 60)
        fills = [reply for reply in worker.heard(order) if reply.kind is ReplyKind.FILL]
        assert len({reply.trade_id for reply in fills}) == len(fills) == 1005
        assert sum(reply.amount for reply in fills) == Decimal("0.01005")

    def test_an_answer_that_does_not_come_makes_the_order_unknown_until_it_is_found(self, gate, exchange):
        worker = gate.workers[0]
        exchange.fault("mute", channel="user")
        exchange.fault("stall", channel="ws_api", seconds=3)
        order = worker.place(low_price(exchange))
        worker.wait(order, ReplyKind.UNKNOWN)
        last = worker.wait(order, ReplyKind.ACKED, ReplyKind.REJECTED)
        live = [o["clientOrderId"] for o in exchange.open_orders()]
        assert live == ([order] if last.kind is ReplyKind.ACKED else [])

    def test_a_cancel_of_an_unknown_order_waits_for_its_fate(self, gate, exchange):
        worker = gate.workers[0]
        exchange.fault("mute", channel="user")
        exchange.fault("http_5xx", operation="place", executed=1)
        order = worker.place(low_price(exchange))
        worker.wait(order, ReplyKind.UNKNOWN)
        worker.cancel(order)
        assert worker.wait(order, *ENDS).kind is ReplyKind.CANCELLED
        assert worker.kinds(order) == ["UNKNOWN", "ACKED", "CANCELLED"]

    def test_a_cancel_without_an_answer_is_settled_by_asking(self, gate, exchange):
        worker = gate.workers[0]
        order = worker.place(low_price(exchange))
        worker.wait(order, ReplyKind.ACKED)
        for executed in (0, 1):
            exchange.fault("http_5xx", operation="cancel", executed=executed)
        worker.cancel(order)
        assert worker.wait(order, *ENDS).kind is ReplyKind.CANCELLED
        assert "CANCEL_FAILED" not in worker.kinds(order)

    def test_an_order_that_an_earlier_gate_may_have_sent_is_found_and_never_placed(self, gate, exchange):
        worker = gate.workers[0]
        price = low_price(exchange)
        there, absent = worker.new_id(), worker.new_id()
        exchange.place_around(there, price)
        for order in (there, absent):
            worker.place(price, client_order_id=order, flags=MAYBE_SENT)
        assert worker.wait(there, *FIRST_WORD).kind is ReplyKind.ACKED
        reply = worker.wait(absent, *ENDS)
        assert (reply.kind, reply.text) == (ReplyKind.REJECTED, "never reached the venue")
        assert [order["clientOrderId"] for order in exchange.orders()] == [there]
        worker.cancel(there)
        assert worker.wait(there, *ENDS).kind is ReplyKind.CANCELLED

    def test_a_question_is_answered_with_the_whole_story(self, gate, exchange):
        worker = gate.workers[0]
        price = top_price(exchange)
        known, found, absent = worker.place(price), worker.new_id(), worker.new_id()
        worker.wait(known, ReplyKind.ACKED)
        worker.query(known)
        until(lambda: worker.kinds(known) == ["ACKED", "ACKED"], "an open order is ACKED again")
        exchange.fault("mute", channel="user")
        exchange.place_around(found, price)
        exchange.fill(price, "0.02")
        worker.query(found)
        worker.query(absent)
        assert worker.wait(found, *ENDS).kind is ReplyKind.FILLED
        assert worker.kinds(found) == ["ACKED", "FILL", "FILLED"]
        reply = worker.wait(absent, *ENDS)
        assert (reply.kind, reply.code, reply.text) == (ReplyKind.REJECTED, -2013, "not known at the venue")


class TestStream:
    """What the user stream did not tell is asked for, and told once."""

    def test_a_fill_during_an_outage_is_told_once_when_the_stream_is_back(self, gate, exchange):
        worker = gate.workers[0]
        price = top_price(exchange)
        order = worker.place(price, "0.05")
        worker.wait(order, ReplyKind.ACKED)
        exchange.fill(price, "0.01")
        worker.wait(order, ReplyKind.FILL)
        exchange.fault("mute", channel="user")
        exchange.fill(price, "0.04")
        exchange.clear()
        exchange.fault("drop", channel="user", abort=1)
        assert worker.wait(order, *ENDS).kind is ReplyKind.FILLED
        fills = [reply.trade_id for reply in worker.heard(order) if reply.kind is ReplyKind.FILL]
        assert fills == [fill["id"] for fill in exchange.orders(order)[0]["fills"]]

    def test_a_mute_stream_does_not_hide_a_fill_for_long(self, gate, exchange):
        worker = gate.workers[0]
        price = top_price(exchange)
        order = worker.place(price)
        worker.wait(order, ReplyKind.ACKED)
        exchange.fault("mute", channel="user")
        exchange.fill(price)
        assert worker.wait(order, *ENDS, timeout_s=15).kind is ReplyKind.FILLED
        assert worker.kinds(order) == ["ACKED", "FILL", "FILLED"]


class TestFallback:
    """Without the WebSocket API, signed REST carries on."""

    @pytest.fixture
    def relay(self, exchange):
        relay = Relay(exchange.told["ws_api_url"])
        yield relay
        relay.close()

    def test_orders_and_cancels_go_by_rest_and_fills_are_found_without_a_stream(self, start, exchange, relay):
        gate = start(venue={"ws_api_url": relay.url}).ready()
        worker = gate.workers[0]
        price = top_price(exchange)
        rests = worker.place(price, "0.02")
        worker.wait(rests, ReplyKind.ACKED)
        relay.cut()
        until(lambda: gate.figures()["user_connections"] == 0, "both connections are down")
        before = exchange.get("/sim/state")["requests"]
        first, taker = worker.place(low_price(exchange)), worker.place(exchange.best("ask") + 1)
        assert worker.wait(first, *FIRST_WORD).kind is ReplyKind.ACKED
        assert worker.wait(taker, *ENDS).kind is ReplyKind.FILLED
        worker.cancel(first)
        assert worker.wait(first, *ENDS).kind is ReplyKind.CANCELLED
        exchange.fill(price, "0.02")
        until(lambda: not worker.opened(), "the account is told to be not ready without a stream")
        relay.mend()
        assert worker.wait(rests, *ENDS).kind is ReplyKind.FILLED
        until(worker.opened, "the account is ready again")
        after = exchange.get("/sim/state")["requests"]
        assert before != after
        recorded = {order["clientOrderId"]: order for order in exchange.orders()}
        assert len(recorded) == 3
        for order in (rests, taker):
            fills = [reply.trade_id for reply in worker.heard(order) if reply.kind is ReplyKind.FILL]
            assert fills == [fill["id"] for fill in recorded[order]["fills"]]

    def test_a_cut_in_the_middle_of_many_orders_loses_and_doubles_none(self, start, exchange, relay):
        gate = start(venue={"ws_api_url": relay.url}).ready()
        worker = gate.workers[0]
        price = low_price(exchange)
        orders = []
        for number in range(60):
            orders.append(worker.place(price))
            if number == 20:
                relay.cut()
            if number == 40:
                relay.mend()
        ends = {order: worker.wait(order, ReplyKind.ACKED, ReplyKind.REJECTED, timeout_s=30) for order in orders}
        recorded = [order["clientOrderId"] for order in exchange.orders()]
        assert len(recorded) == len(set(recorded))
        acked = sorted(order for order, reply in ends.items() if reply.kind is ReplyKind.ACKED)
        assert sorted(recorded) == acked
        assert gate.stop() == 0
        assert exchange.open_orders() == []


class TestLimits:
    """The venue's limits, the fleet's rates, and the age of what waits."""

    def test_a_429_delays_an_order_and_it_is_sent_once(self, gate, exchange):
        worker = gate.workers[0]
        exchange.fault("http_429", channel="ws_api", retry_after=2)
        began = time.monotonic()
        order = worker.place(low_price(exchange))
        assert worker.wait(order, *FIRST_WORD).kind is ReplyKind.ACKED
        assert time.monotonic() - began > 1.0
        assert len(exchange.orders()) == 1
        assert gate.figures()["http_429"] == 1

    def test_the_venues_count_of_orders_is_never_exceeded(self, start):
        small = Exchange("--orders-10s", "10")
        gate = GateBench(small).ready()
        try:
            worker = gate.workers[0]
            orders = [worker.place(low_price(small)) for _ in range(15)]
            for order in orders:
                assert worker.wait(order, *FIRST_WORD, timeout_s=60).kind is ReplyKind.ACKED
            assert small.get("/sim/state")["refusals"] == {}
            assert gate.figures()["http_429"] == 0
        finally:
            gate.close()
            small.close()

    def test_a_strategy_above_its_rate_waits_for_itself_alone(self, start, exchange):
        gate = start(workers=2, rate_limiting={"per_strategy_orders_per_second": 2}).ready()
        hog, quiet = gate.workers
        price = low_price(exchange)
        many = [hog.place(price) for _ in range(6)]
        one = quiet.place(price)
        quiet.wait(one, ReplyKind.ACKED)
        waits = [hog.wait(order, ReplyKind.ACKED).sent_ns for order in many]
        assert quiet.heard(one)[0].sent_ns < waits[3]
        assert waits[-1] - waits[0] > 1.8e9

    def test_an_intent_that_waited_too_long_is_refused_and_not_sent(self, start, exchange):
        gate = start(rate_limiting={"per_strategy_orders_per_second": 0.2, "max_order_age_s": 1}).ready()
        worker = gate.workers[0]
        first, second = worker.place(low_price(exchange)), worker.place(low_price(exchange))
        worker.wait(first, ReplyKind.ACKED)
        reply = worker.wait(second, *ENDS)
        assert (reply.kind, reply.text) == (ReplyKind.REJECTED, "waited longer than 1 s for its turn")
        old = worker.place(low_price(exchange), created_ns=time.monotonic_ns() - 2_000_000_000)
        assert "waited longer" in worker.wait(old, *ENDS).text
        assert len(exchange.orders()) == 1

    @pytest.mark.parametrize("skew_ms", [5_000, -5_000])
    def test_a_venue_whose_clock_jumps_is_followed(self, gate, exchange, skew_ms):
        worker = gate.workers[0]
        worker.wait(worker.place(low_price(exchange)), ReplyKind.ACKED)
        exchange.fault("skew", ms=skew_ms)
        order = worker.place(low_price(exchange))
        assert worker.wait(order, *FIRST_WORD).kind is ReplyKind.ACKED
        worker.cancel(order)
        assert worker.wait(order, *ENDS).kind is ReplyKind.CANCELLED
        assert len(exchange.orders()) == 2


def readable(path: Path) -> bytes:
    """Return what this user can read there: nothing of a process that is not dumpable, unless it is root."""
    try:
        return path.read_bytes()
    except PermissionError:
        return b""


class TestLife:
    """Start, stop, and the deaths of others."""

    def test_the_secret_is_in_no_argument_environment_or_log(self, gate, exchange):
        gate.workers[0].wait(gate.workers[0].place(low_price(exchange)), ReplyKind.ACKED)
        secret = exchange.told["api_secret"].encode()
        for name in ("environ", "cmdline"):
            assert secret not in readable(Path(f"/proc/{gate.process.pid}/{name}"))
        assert gate.stop() == 0
        assert secret not in gate.log.read_bytes()
        assert b"signature" not in gate.log.read_bytes()

    def test_the_process_cannot_be_dumped(self):
        get_dumpable = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
        code = f"from hive.gate.process import make_undumpable; make_undumpable(); {get_dumpable}"
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert told.stdout.strip() == "0"

    def test_stopping_cancels_what_is_open_and_says_so(self, gate, exchange):
        worker = gate.workers[0]
        orders = [worker.place(low_price(exchange)) for _ in range(10)]
        for order in orders:
            worker.wait(order, ReplyKind.ACKED)
        foreign = exchange.place_around("somebody-elses", low_price(exchange))
        assert gate.stop() == 0
        assert [order["orderId"] for order in exchange.open_orders()] == [foreign["orderId"]]
        for order in orders:
            assert worker.wait(order, *ENDS).kind is ReplyKind.CANCELLED

    def test_a_gone_supervisor_leaves_no_order_and_no_segment(self, gate, exchange):
        for worker in gate.workers:
            for order in [worker.place(low_price(exchange)) for _ in range(5)]:
                worker.wait(order, ReplyKind.ACKED)
        gate.channel.close()
        until(lambda: exchange.open_orders() == [], "the orders are cancelled")
        late = gate.workers[0].place(low_price(exchange))
        assert gate.process.wait(20) == 0
        assert list_segments(gate.run) == []
        assert exchange.orders(late) == []
        assert len(exchange.orders()) == 10

    def test_a_fleet_that_keeps_its_orders_leaves_them_when_the_supervisor_dies(self, start, exchange):
        gate = start(on_supervisor_death="keep").ready()
        worker = gate.workers[0]
        order = worker.place(low_price(exchange))
        worker.wait(order, ReplyKind.ACKED)
        gate.channel.close()
        assert gate.process.wait(20) == 0
        assert [o["clientOrderId"] for o in exchange.open_orders()] == [order]

    def test_a_gone_workers_orders_are_cancelled_and_its_successor_can_ask(self, gate, exchange):
        worker, neighbour = gate.workers
        orders = [worker.place(low_price(exchange)) for _ in range(5)]
        stays = neighbour.place(low_price(exchange))
        for order in orders:
            worker.wait(order, ReplyKind.ACKED)
        neighbour.wait(stays, ReplyKind.ACKED)
        gate.channel.send({"type": "worker_gone", "index": 0, "epoch": 1})
        until(lambda: len(exchange.open_orders()) == 1, "only the neighbour's order is open")
        assert exchange.open_orders()[0]["clientOrderId"] == stays
        successor = Worker(gate, 0, epoch=2)
        gate.workers.append(successor)
        until(successor.opened, "the account is opened for the successor")
        successor.query(orders[0])
        assert successor.wait(orders[0], *ENDS).kind is ReplyKind.CANCELLED
        again = successor.place(low_price(exchange))
        assert successor.wait(again, *FIRST_WORD).kind is ReplyKind.ACKED

    def test_a_killed_gates_orders_are_found_by_the_next_one(self, start, exchange):
        gate = start().ready()
        worker = gate.workers[0]
        price = top_price(exchange)
        filled, cancelled, waits = worker.place(price), worker.place(low_price(exchange)), worker.new_id()
        for order in (filled, cancelled):
            worker.wait(order, ReplyKind.ACKED)
        os.kill(gate.process.pid, signal.SIGKILL)
        gate.process.wait()
        exchange.fill(price)
        worker.place(price, client_order_id=waits)
        second = start(run=gate.run, epoch=2)
        told = second.message("ready")
        assert told["leftovers"] == 1
        second.wake = told["wake"]
        worker.waker.close()
        after = Worker(second, 0)
        gate.workers.append(after)
        for order in (filled, cancelled):
            after.query(order)
        after.place(price, client_order_id=waits, flags=MAYBE_SENT)
        assert after.wait(filled, *ENDS).kind is ReplyKind.FILLED
        assert [kind for kind in after.kinds(filled) if kind != "ACKED"] == ["FILL", "FILLED"]
        assert after.wait(cancelled, *ENDS).kind is ReplyKind.CANCELLED
        assert after.wait(waits, *FIRST_WORD).kind is ReplyKind.ACKED  # no gate had sent it: it goes now, and once
        assert len(exchange.orders()) == 3

    def test_an_order_that_was_adopted_by_policy_outlives_the_gates(self, start, exchange):
        found = f"{order_prefix(FLEET_ID, strategy_tag('strategy-0'))}found"
        exchange.place_around(found, low_price(exchange))
        gate = start(on_unknown_orders="adopt").ready()
        assert gate.message_of_ready["leftovers"] == 1
        os.kill(gate.process.pid, signal.SIGKILL)
        gate.process.wait()
        second = start(run=gate.run, epoch=2, on_unknown_orders="adopt", living={"0": 1}).ready()
        assert [order["clientOrderId"] for order in exchange.open_orders()] == [found]
        second.workers[0].cancel(found)
        assert second.workers[0].wait(found, *ENDS).kind is ReplyKind.CANCELLED
        assert exchange.open_orders() == []

    def test_fresh_queues_for_the_same_worker_lose_nothing(self, gate, exchange):
        worker = gate.workers[0]
        order = worker.place(low_price(exchange))
        worker.wait(order, ReplyKind.ACKED)
        link = worker.link
        worker.connect(gate)
        fresh, worker.link = worker.link, link
        worker.link.relink(fresh._inbound, fresh._outbound)
        second = worker.place(low_price(exchange))
        worker.wait(second, ReplyKind.ACKED)
        worker.cancel(order)
        assert worker.wait(order, *ENDS).kind is ReplyKind.CANCELLED
        assert worker.kinds(order) == ["ACKED", "CANCELLED"]

    @pytest.mark.parametrize("whom", [{}, {"venue": "binance"}, {"strategy": "strategy-0"}])
    def test_a_halt_refuses_new_orders_until_it_is_lifted_and_cancels_pass(self, gate, exchange, whom):
        worker, neighbour = gate.workers[:2]
        order = worker.place(low_price(exchange))
        worker.wait(order, ReplyKind.ACKED)
        gate.channel.send({"type": "halt", "reason": "a look at the books", **whom})

        def answer() -> tuple[int, str]:
            reply = worker.wait(worker.place(low_price(exchange)), *FIRST_WORD)
            return reply.code, reply.text

        until(lambda: answer() == (Refusal.HALTED, "a look at the books"), "new orders are refused")
        worker.cancel(order)
        assert worker.wait(order, *ENDS).kind is ReplyKind.CANCELLED
        others = neighbour.wait(neighbour.place(low_price(exchange)), *FIRST_WORD).kind
        assert others is (ReplyKind.ACKED if "strategy" in whom else ReplyKind.REJECTED)
        gate.channel.send({"type": "resume", **whom})
        until(lambda: answer() == (0, ""), "new orders are taken again")

    def test_a_second_fleet_on_the_same_key_is_refused_by_name(self, gate, start):
        second = start(fleet="other", fleet_id="other")
        message = until(lambda: second.channel.recv_blocking(20), "an answer")
        assert message["type"] == "fatal"
        assert message["message"] == (f"another fleet is using this API key (pid {gate.process.pid}, fleet bench)")
        assert second.process.wait(10) == 3

    @pytest.mark.parametrize(
        ("venue", "text"),
        [
            ({"api_key": "wrong" * 12}, "refuses the API key"),
            ({"api_secret": "wrong" * 12}, "refuses the API key"),
            ({"rest_url": "https://api.binance.com"}, "api.binance.com is not a loopback, testnet or demo host"),
            ({"api_key": ""}, "api_key must be ASCII and not empty"),
        ],
    )
    def test_what_cannot_work_is_said_and_not_tried_again(self, start, venue, text):
        bench = start(venue=venue)
        message = until(lambda: bench.channel.recv_blocking(20), "an answer")
        assert message["type"] == "fatal"
        assert text in message["message"]
        assert bench.process.wait(10) == 3
