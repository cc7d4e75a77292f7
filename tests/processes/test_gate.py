"""A real gate process against the simulated exchange: every order's fate is known, and told to who owns it."""

import time
from decimal import Decimal

import pytest

from gate.bench import ENDS, FIRST_WORD, until
from gate.relay import Relay
from hive.shm.ids import order_prefix
from hive.shm.messages import MAYBE_SENT, OrderType, ReplyKind, Side, TimeInForce
from hive.shm.refusals import Refusal


class TestOrders:
    """The straight ways of an order."""

    def test_one_rests_one_is_cancelled_and_one_is_filled(self, gate, exchange):
        worker = gate.workers[0]
        price = exchange.low_price()
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
        price = exchange.top_price()
        order = worker.place(price, "0.05")
        worker.wait(order, ReplyKind.ACKED)
        exchange.fill(price, "0.02")
        fill = worker.wait(order, ReplyKind.FILL)
        assert (fill.amount, fill.price, fill.maker, fill.cumulative) == (Decimal("0.02"), price, True, Decimal("0.02"))
        worker.cancel(order)
        end = worker.wait(order, *ENDS)
        assert (end.kind, end.cumulative) == (ReplyKind.CANCELLED, Decimal("0.02"))

    def test_every_reply_goes_to_the_strategy_that_asked_and_to_no_other(self, gate, exchange):
        price = exchange.top_price()
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
            (worker.place(exchange.low_price(), "100"), -2010, "insufficient balance"),
            (worker.place(exchange.low_price() + Decimal("0.001")), -1013, "PRICE_FILTER"),
            (worker.place(exchange.best("ask") + 1, order_type=OrderType.LIMIT_MAKER), -2010, "immediately match"),
            (worker.place(exchange.low_price(), pair="NO-SUCH"), Refusal.INVALID, "binance does not list NO-SUCH"),
            (worker.place("0", "1"), Refusal.INVALID, "price must be > 0, was 0"),
        ]
        for order, code, text in cases:
            reply = worker.wait(order, *FIRST_WORD)
            assert (reply.kind, reply.code) == (ReplyKind.REJECTED, code), reply
            assert text in reply.text

    def test_orders_that_may_not_rest_expire_or_fill_at_once(self, gate, exchange):
        worker = gate.workers[0]
        none = worker.place(exchange.low_price(), tif=TimeInForce.IOC)
        assert worker.wait(none, *ENDS).kind is ReplyKind.EXPIRED
        market = worker.place(None, order_type=OrderType.MARKET, side=Side.SELL)
        end = worker.wait(market, *ENDS)
        assert (end.kind, end.cumulative) == (ReplyKind.FILLED, Decimal("0.01"))

    def test_balances_are_told_at_the_start_and_as_they_change(self, gate, exchange):
        worker = gate.workers[0]
        free, locked = worker.balances()["USDT"]
        assert (free, locked) == (Decimal(1_000_000), Decimal(0))
        price = exchange.low_price()
        worker.wait(worker.place(price), ReplyKind.ACKED)
        tied = price * Decimal("0.01")
        until(lambda: worker.balances()["USDT"] == (free - tied, tied), "the order's money is locked")

    def test_another_workers_tag_and_another_fleets_id_are_refused_and_never_sent(self, gate, exchange):
        mine, other = gate.workers
        price = exchange.low_price()
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
        order = worker.place(exchange.low_price())
        worker.wait(order, ReplyKind.ACKED)
        worker.place(exchange.low_price(), client_order_id=order)
        until(lambda: worker.kinds(order) == ["ACKED", "ACKED"], "the second is answered with the first's state")
        assert len(exchange.orders()) == 1
        assert gate.figures()["duplicates_dropped"] == 1


class TestCancels:
    """Cancels tell the truth."""

    def test_one_of_an_order_that_nobody_knows_fails(self, gate):
        worker = gate.workers[0]
        order = worker.new_id()
        worker.cancel(order)
        assert worker.wait(order, ReplyKind.CANCEL_FAILED).code == -2013

    def test_one_of_an_order_that_is_over_tells_how_it_ended(self, gate, exchange):
        worker = gate.workers[0]
        order = worker.place(exchange.best("ask") + 1)
        worker.wait(order, ReplyKind.FILLED)
        worker.cancel(order)
        until(lambda: worker.kinds(order).count("FILLED") == 2, "the end is told again")

    def test_one_of_an_order_that_the_venue_ended_unheard_tells_the_end(self, gate, exchange):
        worker = gate.workers[0]
        order = worker.place(exchange.top_price())
        worker.wait(order, ReplyKind.ACKED)
        exchange.fault("mute", channel="user")
        exchange.fill(Decimal(exchange.orders(order)[0]["price"]))
        worker.cancel(order)
        assert worker.wait(order, *ENDS).kind is ReplyKind.FILLED
        assert worker.kinds(order) == ["ACKED", "FILL", "FILLED"]

    def test_one_of_an_order_that_waits_for_its_turn_annihilates_both(self, start, exchange):
        gate = start(rate_limiting={"global_orders_per_second": 1, "per_strategy_orders_per_second": 1}).ready()
        worker = gate.workers[0]
        first, second = worker.place(exchange.low_price()), worker.place(exchange.low_price())
        worker.cancel(second)
        assert worker.wait(second, *ENDS).kind is ReplyKind.CANCELLED
        worker.wait(first, ReplyKind.ACKED)
        third = worker.place(exchange.low_price())
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
        order = worker.place(exchange.low_price())
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
        order = worker.place(exchange.low_price())
        worker.wait(order, ReplyKind.UNKNOWN)
        reply = worker.wait(order, *ENDS)
        assert (reply.kind, reply.code, reply.text) == (ReplyKind.REJECTED, -2013, "never reached the venue")
        assert time.monotonic() - began > 1.0  # recvWindow
        assert exchange.orders() == []

    def test_a_connection_lost_in_flight_loses_and_doubles_no_order(self, gate, exchange):
        worker = gate.workers[0]
        exchange.fault("mute", channel="user")
        exchange.fault("delay", channel="ws_api", operation="place", ms=5000)  # none is answered before the drop
        orders = [worker.place(exchange.low_price()) for _ in range(5)]
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
        price = exchange.top_price()
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
        order = worker.place(exchange.low_price())
        worker.wait(order, ReplyKind.UNKNOWN)
        last = worker.wait(order, ReplyKind.ACKED, ReplyKind.REJECTED)
        live = [o["clientOrderId"] for o in exchange.open_orders()]
        assert live == ([order] if last.kind is ReplyKind.ACKED else [])

    def test_a_cancel_of_an_unknown_order_waits_for_its_fate(self, gate, exchange):
        worker = gate.workers[0]
        exchange.fault("mute", channel="user")
        exchange.fault("http_5xx", operation="place", executed=1)
        order = worker.place(exchange.low_price())
        worker.wait(order, ReplyKind.UNKNOWN)
        worker.cancel(order)
        assert worker.wait(order, *ENDS).kind is ReplyKind.CANCELLED
        assert worker.kinds(order) == ["UNKNOWN", "ACKED", "CANCELLED"]

    def test_a_cancel_without_an_answer_is_settled_by_asking(self, gate, exchange):
        worker = gate.workers[0]
        order = worker.place(exchange.low_price())
        worker.wait(order, ReplyKind.ACKED)
        for executed in (0, 1):
            exchange.fault("http_5xx", operation="cancel", executed=executed)
        worker.cancel(order)
        assert worker.wait(order, *ENDS).kind is ReplyKind.CANCELLED
        assert "CANCEL_FAILED" not in worker.kinds(order)

    def test_an_order_that_an_earlier_gate_may_have_sent_is_found_and_never_placed(self, gate, exchange):
        worker = gate.workers[0]
        price = exchange.low_price()
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
        price = exchange.top_price()
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
        price = exchange.top_price()
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
        price = exchange.top_price()
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
        price = exchange.top_price()
        rests = worker.place(price, "0.02")
        worker.wait(rests, ReplyKind.ACKED)
        relay.cut()
        until(lambda: gate.figures()["user_connections"] == 0, "both connections are down")
        before = exchange.get("/sim/state")["requests"]
        first, taker = worker.place(exchange.low_price()), worker.place(exchange.best("ask") + 1)
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
        price = exchange.low_price()
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
