"""A real gate process against the simulated exchange: its limits, and its life from boot to the last order."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gate.bench import ENDS, FIRST_WORD, FLEET_ID, Exchange, GateBench, Worker, until
from hive.shm.ids import order_prefix, strategy_tag
from hive.shm.messages import MAYBE_SENT, ReplyKind
from hive.shm.refusals import Refusal
from hive.shm.segment import list_segments


class TestLimits:
    """The venue's limits, the fleet's rates, and the age of what waits."""

    def test_a_429_delays_an_order_and_it_is_sent_once(self, gate, exchange):
        worker = gate.workers[0]
        exchange.fault("http_429", channel="ws_api", retry_after=2)
        began = time.monotonic()
        order = worker.place(exchange.low_price())
        assert worker.wait(order, *FIRST_WORD).kind is ReplyKind.ACKED
        assert time.monotonic() - began > 1.0
        assert len(exchange.orders()) == 1
        assert gate.figures()["http_429"] == 1

    def test_the_venues_count_of_orders_is_never_exceeded(self, start):
        small = Exchange("--orders-10s", "10")
        gate = GateBench(small).ready()
        try:
            worker = gate.workers[0]
            orders = [worker.place(small.low_price()) for _ in range(15)]
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
        price = exchange.low_price()
        many = [hog.place(price) for _ in range(6)]
        one = quiet.place(price)
        quiet.wait(one, ReplyKind.ACKED)
        waits = [hog.wait(order, ReplyKind.ACKED).sent_ns for order in many]
        assert quiet.heard(one)[0].sent_ns < waits[3]
        assert waits[-1] - waits[0] > 1.8e9

    def test_an_intent_that_waited_too_long_is_refused_and_not_sent(self, start, exchange):
        gate = start(rate_limiting={"per_strategy_orders_per_second": 0.2, "max_order_age_s": 1}).ready()
        worker = gate.workers[0]
        first, second = worker.place(exchange.low_price()), worker.place(exchange.low_price())
        worker.wait(first, ReplyKind.ACKED)
        reply = worker.wait(second, *ENDS)
        assert (reply.kind, reply.text) == (ReplyKind.REJECTED, "waited longer than 1 s for its turn")
        old = worker.place(exchange.low_price(), created_ns=time.monotonic_ns() - 2_000_000_000)
        assert "waited longer" in worker.wait(old, *ENDS).text
        assert len(exchange.orders()) == 1

    @pytest.mark.parametrize("skew_ms", [5_000, -5_000])
    def test_a_venue_whose_clock_jumps_is_followed(self, gate, exchange, skew_ms):
        worker = gate.workers[0]
        worker.wait(worker.place(exchange.low_price()), ReplyKind.ACKED)
        exchange.fault("skew", ms=skew_ms)
        order = worker.place(exchange.low_price())
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
        gate.workers[0].wait(gate.workers[0].place(exchange.low_price()), ReplyKind.ACKED)
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
        orders = [worker.place(exchange.low_price()) for _ in range(10)]
        for order in orders:
            worker.wait(order, ReplyKind.ACKED)
        foreign = exchange.place_around("somebody-elses", exchange.low_price())
        assert gate.stop() == 0
        assert [order["orderId"] for order in exchange.open_orders()] == [foreign["orderId"]]
        for order in orders:
            assert worker.wait(order, *ENDS).kind is ReplyKind.CANCELLED

    def test_a_gone_supervisor_leaves_no_order_and_no_segment(self, gate, exchange):
        for worker in gate.workers:
            for order in [worker.place(exchange.low_price()) for _ in range(5)]:
                worker.wait(order, ReplyKind.ACKED)
        gate.channel.close()
        until(lambda: exchange.open_orders() == [], "the orders are cancelled")
        late = gate.workers[0].place(exchange.low_price())
        assert gate.process.wait(20) == 0
        assert list_segments(gate.run) == []
        assert exchange.orders(late) == []
        assert len(exchange.orders()) == 10

    def test_a_fleet_that_keeps_its_orders_leaves_them_when_the_supervisor_dies(self, start, exchange):
        gate = start(on_supervisor_death="keep").ready()
        worker = gate.workers[0]
        order = worker.place(exchange.low_price())
        worker.wait(order, ReplyKind.ACKED)
        gate.channel.close()
        assert gate.process.wait(20) == 0
        assert [o["clientOrderId"] for o in exchange.open_orders()] == [order]

    def test_a_gone_workers_orders_are_cancelled_and_its_successor_can_ask(self, gate, exchange):
        worker, neighbour = gate.workers
        orders = [worker.place(exchange.low_price()) for _ in range(5)]
        stays = neighbour.place(exchange.low_price())
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
        again = successor.place(exchange.low_price())
        assert successor.wait(again, *FIRST_WORD).kind is ReplyKind.ACKED

    def test_a_killed_gates_orders_are_found_by_the_next_one(self, start, exchange):
        gate = start().ready()
        worker = gate.workers[0]
        price = exchange.top_price()
        filled, cancelled, waits = worker.place(price), worker.place(exchange.low_price()), worker.new_id()
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
        exchange.place_around(found, exchange.low_price())
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
        order = worker.place(exchange.low_price())
        worker.wait(order, ReplyKind.ACKED)
        link = worker.link
        worker.connect(gate)
        fresh, worker.link = worker.link, link
        worker.link.relink(fresh._inbound, fresh._outbound)
        second = worker.place(exchange.low_price())
        worker.wait(second, ReplyKind.ACKED)
        worker.cancel(order)
        assert worker.wait(order, *ENDS).kind is ReplyKind.CANCELLED
        assert worker.kinds(order) == ["ACKED", "CANCELLED"]

    @pytest.mark.parametrize("whom", [{}, {"venue": "binance"}, {"strategy": "strategy-0"}])
    def test_a_halt_refuses_new_orders_until_it_is_lifted_and_cancels_pass(self, gate, exchange, whom):
        worker, neighbour = gate.workers[:2]
        order = worker.place(exchange.low_price())
        worker.wait(order, ReplyKind.ACKED)
        gate.channel.send({"type": "halt", "reason": "a look at the books", **whom})

        def answer() -> tuple[int, str]:
            reply = worker.wait(worker.place(exchange.low_price()), *FIRST_WORD)
            return reply.code, reply.text

        until(lambda: answer() == (Refusal.HALTED, "a look at the books"), "new orders are refused")
        worker.cancel(order)
        assert worker.wait(order, *ENDS).kind is ReplyKind.CANCELLED
        others = neighbour.wait(neighbour.place(exchange.low_price()), *FIRST_WORD).kind
        assert others is (ReplyKind.ACKED if "strategy" in whom else ReplyKind.REJECTED)
        gate.channel.send({"type": "resume", **whom})
        until(lambda: answer() == (0, ""), "new orders are taken again")

    def test_a_second_fleet_on_the_same_key_is_refused_by_name(self, gate, start):
        second = start(fleet="other", fleet_id="other")
        message = until(lambda: second.channel.recv_blocking(20), "an answer")
        assert message["type"] == "fatal"
        assert message["message"] == (f"another fleet is using this API key (pid {gate.process.pid}, fleet bench)")
        assert second.process.wait(30) == 3

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
        assert bench.process.wait(30) == 3
