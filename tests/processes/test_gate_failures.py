"""What goes wrong around a gate: a full disk, a revoked key, a clock, a halted symbol, a venue that is a black hole."""

import os
import signal
import time
from decimal import Decimal
from pathlib import Path

import pytest

from gate.bench import ENDS, FIRST_WORD, Exchange, GateBench, until
from hive.shm.messages import MAYBE_SENT, ReplyKind
from hive.shm.refusals import Refusal
from small_disk import small_file_system

EXCHANGE = ("--orders-10s", "1000", "--weight-limit", "60000")
OTHER_PAIR = "ETH-USDT"
CENT = Decimal("0.01")


def placed(gate: GateBench, **order) -> tuple[ReplyKind, int]:
    worker = gate.workers[0]
    reply = worker.wait(worker.place(gate.exchange.low_price(), **order), *FIRST_WORD)
    return reply.kind, reply.code


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    with small_file_system(tmp_path / "small", 1) as folder:
        yield folder


def fill_up(file: Path) -> None:
    """Write into a file until that fails."""
    fd = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        while True:
            os.write(fd, bytes(4096))
    finally:
        os.close(fd)


def test_on_a_full_disk_no_order_is_taken_cancels_pass_and_nothing_is_forgotten(small_disk, start, exchange):
    gate = start(state_dir=str(small_disk), journal={"file_bytes": 65536}).ready()
    worker = gate.workers[0]
    rests = worker.place(exchange.low_price())
    worker.wait(rests, ReplyKind.ACKED)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        fill_up(filler)
    sent = [rests]
    for _ in range(600):  # what is allocated already carries some
        order = worker.place(exchange.low_price())
        reply = worker.wait(order, *FIRST_WORD)
        if reply.kind is ReplyKind.REJECTED:
            break
        sent.append(order)
    assert reply.code == Refusal.JOURNAL
    until(lambda: gate.figures()["journal_failing"] == 1, "it is shown")
    worker.cancel(rests)
    assert worker.wait(rests, *ENDS).kind is ReplyKind.CANCELLED
    filler.unlink()
    until(lambda: placed(gate) == (ReplyKind.ACKED, 0), "orders are taken again")
    assert {order["clientOrderId"] for order in exchange.orders()} >= set(sent)
    os.kill(gate.process.pid, signal.SIGKILL)
    gate.process.wait()
    second = start(run=gate.run, epoch=2, state_dir=str(small_disk), journal={"file_bytes": 65536}, living={"0": 1})
    second.ready()
    after = second.workers[0]
    for order in sent:
        after.query(order)
    assert after.wait(rests, *ENDS).kind is ReplyKind.CANCELLED
    for order in sent[1:]:
        assert after.wait(order, *FIRST_WORD).kind is ReplyKind.ACKED
    assert second.stop() == 0
    assert exchange.open_orders() == []


def test_a_revoked_key_stops_the_venue_and_says_so(start, exchange):
    gate = start().ready()
    exchange.fault("revoke")
    assert placed(gate) == (ReplyKind.REJECTED, -2015)
    halted = gate.message("halted")
    assert (halted["venue"], halted["strategy"]) == ("binance", None)
    assert "-2015" in halted["reason"]
    assert placed(gate) == (ReplyKind.REJECTED, Refusal.HALTED)
    assert any(event["type"] == "alarm" and "API key" in event["text"] for event in gate.events)
    exchange.clear()
    gate.channel.send({"type": "resume", "venue": "binance", "strategy": None})
    until(lambda: placed(gate) == (ReplyKind.ACKED, 0), "orders are taken again when it is lifted")


@pytest.mark.parametrize("ms", [-20_000, 20_000])
def test_a_venue_whose_clock_jumps_gets_orders_with_its_new_time(start, exchange, ms):
    gate = start().ready()
    exchange.fault("skew", ms=ms)
    worker = gate.workers[0]
    order = worker.place(exchange.low_price())
    assert worker.wait(order, *FIRST_WORD).kind is ReplyKind.ACKED
    assert len(exchange.orders(order)) == 1
    assert abs(gate.figures()["clock_offset_ms"] - ms) < 2000 or until(
        lambda: abs(gate.figures()["clock_offset_ms"] - ms) < 2000, "the offset was measured again"
    )


def test_a_halted_symbols_orders_are_refused_with_the_reason_and_the_others_flow(start, exchange):
    gate = start().ready()
    exchange.fault("halt", symbol="BTCUSDT")
    kind, code = placed(gate)
    assert (kind, code) == (ReplyKind.REJECTED, -1013)
    price = Decimal(exchange.get("/api/v3/depth?symbol=ETHUSDT&limit=5")["bids"][0][0])
    worker = gate.workers[0]
    order = worker.place((price * Decimal("0.9")).quantize(CENT), "0.1", pair=OTHER_PAIR)
    assert worker.wait(order, *FIRST_WORD).kind is ReplyKind.ACKED


def test_a_venue_that_is_a_black_hole_leaves_the_others_orders_alone(start, exchange):
    other = Exchange("--orders-10s", "1000", "--weight-limit", "60000")
    told = {name: other.told[name] for name in ("rest_url", "ws_url", "ws_api_url", "api_key", "api_secret")}
    second = {"index": 1, "name": "second", "recv_window_ms": 1000, "request_timeout_s": 1.0, **told}
    gate = start(replays=[second]).ready()
    worker = gate.workers[0]
    try:
        logged = len(gate.log_text())  # gates of one name share a log
        exchange.fault("stall", channel="all", seconds=600)
        lost = [worker.place(other.low_price()) for _ in range(3)]
        for _ in range(20):
            order = worker.place(other.low_price(), venue=1)
            assert worker.wait(order, *FIRST_WORD).kind is ReplyKind.ACKED
        for order in lost:
            assert worker.wait(order, *FIRST_WORD).kind is ReplyKind.UNKNOWN
        waits = worker.place(other.low_price())  # the breaker is open: it is not sent into the hole
        until(lambda: "answers no orders" in gate.log_text()[logged:], "the breaker opens")
        worker.cancel(waits)
        assert worker.wait(waits, *ENDS).kind is ReplyKind.CANCELLED
        exchange.clear()
        for order in lost:
            until(lambda order=order: worker.heard(order)[-1].kind is not ReplyKind.UNKNOWN, "its fate is told", 60)
        until(lambda: placed(gate) == (ReplyKind.ACKED, 0), "orders flow again", 60)
    finally:
        gate.close()
        other.close()


def test_a_gate_that_hung_and_was_replaced_finds_what_it_had_sent(start, exchange):
    """As the supervisor does with a gate whose heart stopped: kill it, start the next."""
    gate = start().ready()
    worker = gate.workers[0]
    rests = worker.place(exchange.low_price())
    worker.wait(rests, ReplyKind.ACKED)
    os.kill(gate.process.pid, signal.SIGSTOP)
    waits = worker.place(exchange.low_price())
    time.sleep(0.3)
    os.kill(gate.process.pid, signal.SIGKILL)
    gate.process.wait()
    second = start(run=gate.run, epoch=2, living={"0": 1}).ready()
    after = second.workers[0]
    after.query(rests)
    after.place(exchange.low_price(), client_order_id=waits, flags=MAYBE_SENT)
    assert after.wait(rests, *FIRST_WORD).kind is ReplyKind.ACKED
    assert after.wait(waits, *FIRST_WORD).kind is ReplyKind.ACKED
    assert len(exchange.orders()) == 2
    assert second.message_of_ready["leftovers"] == 0
