"""The gate as a real process between a feed that this test stops and kills and an exchange that keeps the records."""

import os
import signal
import subprocess
import sys

import pytest

from gate.bench import GateBench, until
from hive.shm.counters import CountersReader
from hive.shm.messages import STALE_BOOK, ReplyKind
from hive.shm.refusals import Refusal
from hive.shm.segment import segment_name, unlink

FEED = """
import sys, threading, time
from decimal import Decimal
import numpy as np
from hive.shm.atomics import monotonic_ns
from hive.shm.book import LIVE, STALE, BookTable, books_size
from hive.shm.instruments import InstrumentRules
from hive.shm.segment import Segment

name, epoch = sys.argv[1], int(sys.argv[2])
segment = Segment.create(name, books_size(2, 5), kind="books", epoch=epoch)
table = BookTable(segment, 2, 5)
step = Decimal("0.00001")
slot = table.add(InstrumentRules("BTC-USDT", "BTCUSDT", "BTC", "USDT", step, step, step, None, step))
one = np.ones(1)
table.writer(slot).publish(1, 0, 0, 0, 99 * one, one, 100 * one, one)

def obey():
    for line in sys.stdin:
        table.set_state(slot, {"live": LIVE, "stale": STALE}[line.strip()], monotonic_ns())
        print(line.strip(), flush=True)

threading.Thread(target=obey, daemon=True).start()
while True:
    segment.beat(monotonic_ns())
    time.sleep(0.005)
"""


class Feed:
    """A feed of one instrument that does as it is told."""

    def __init__(self, run, epoch):
        self.epoch = epoch
        self.name = segment_name(run, "books.binance", epoch)
        self.process = subprocess.Popen(
            [sys.executable, "-c", FEED, self.name, str(epoch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.tell("live")

    def tell(self, state):
        self.process.stdin.write(f"{state}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == state

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        unlink(self.name)


@pytest.fixture
def bench(exchange):
    replay = {"index": 1, "name": "tape", "mode": "replay"}
    bench = GateBench(exchange, stale_after_ms=80, replays=[replay], assets=["BTC", "USDT"])
    try:
        yield bench.ready()
    finally:
        bench.close()


@pytest.fixture
def feeds(bench):
    made = []

    def start(epoch):
        made.append(Feed(bench.run, epoch))
        books = {"type": "feed", "venue": "binance", "epoch": epoch, "books": made[-1].name, "trades": ""}
        bench.channel.send(books)
        return made[-1]

    yield start
    for feed in made:
        feed.close()


def place(bench, epoch):
    """Place an order that will rest, decided on a book of that epoch; return its first reply."""
    price = bench.exchange.low_price()
    order = bench.workers[0].place(price, book_epoch=epoch)
    return bench.workers[0].wait(order, ReplyKind.ACKED, ReplyKind.REJECTED)


def taken(bench, epoch):
    return place(bench, epoch).kind is ReplyKind.ACKED


def looked(bench):
    """Wait until the gate has looked at the books as they are now, which it does after each heartbeat."""
    for _ in range(2):
        before = CountersReader(bench.counters).heartbeat_ns
        until(lambda before=before: CountersReader(bench.counters).heartbeat_ns != before, "the gate beats")


def answer(reply):
    return (reply.kind.name, reply.code, reply.text)


def refused(text):
    return ("REJECTED", STALE_BOOK, text)


def test_an_order_goes_only_while_its_book_is_live_in_the_epoch_it_was_decided_on(bench, feeds):
    assert answer(place(bench, 1)) == refused("there is no feed")
    first = feeds(1)
    until(lambda: taken(bench, 1), "the feed is known")
    resting = place(bench, 1).client_order_id
    first.tell("stale")
    assert answer(place(bench, 1)) == refused("book of BTC-USDT is STALE")
    first.tell("live")
    assert taken(bench, 1)
    looked(bench)
    before = bench.figures()["stale_intervals"]
    os.kill(first.process.pid, signal.SIGSTOP)
    until(lambda: not taken(bench, 1), "the stop is noticed")
    looked(bench)
    assert answer(place(bench, 1)) == refused("book of BTC-USDT is WRITER_DEAD")
    bench.workers[0].cancel(resting)
    bench.workers[0].wait(resting, ReplyKind.CANCELLED)
    os.kill(first.process.pid, signal.SIGCONT)
    until(lambda: taken(bench, 1), "it beats again")
    looked(bench)
    first.process.kill()
    until(lambda: not taken(bench, 1), "the death is noticed")
    looked(bench)
    feeds(2)
    until(lambda: taken(bench, 2), "the next epoch is followed")
    assert answer(place(bench, 1)) == refused("decided on epoch 1 of the feed, which is in epoch 2")
    figures = bench.figures()
    assert figures["orders_refused_stale"] == figures["orders_rejected"] >= 6
    assert figures["stale_intervals"] >= before + 2
    sent = {order["clientOrderId"] for order in bench.exchange.orders()}
    assert not sent & {reply.client_order_id for reply in bench.workers[0].told if reply.kind is ReplyKind.REJECTED}
    assert bench.stop() == 0


def test_an_order_that_waited_for_its_turn_is_refused_when_its_book_died_meanwhile(exchange, feeds, bench):
    feed = feeds(1)
    until(lambda: taken(bench, 1), "the feed is known")
    bench.exchange.fault("http_429", channel="ws_api", operation="place", retry_after=2, count=1)
    price = bench.exchange.low_price()
    order = bench.workers[0].place(price, book_epoch=1)
    until(lambda: bench.figures()["http_429"] > 0, "the exchange asks for a pause")
    feed.process.kill()
    reply = bench.workers[0].wait(order, ReplyKind.ACKED, ReplyKind.REJECTED)
    assert answer(reply) == refused("book of BTC-USDT is WRITER_DEAD")
    assert order not in {one["clientOrderId"] for one in bench.exchange.orders()}
    assert bench.stop() == 0


def test_a_refusal_by_a_filter_has_the_rules_read_again(bench, feeds):
    feeds(1)
    until(lambda: taken(bench, 1), "the feed is known")
    order = bench.workers[0].place(bench.exchange.best("bid"), amount="0.00000001", book_epoch=1)
    assert bench.workers[0].wait(order, ReplyKind.REJECTED).code == -1013
    assert bench.message("reread_rules") == {"type": "reread_rules", "venue": "binance"}
    assert bench.stop() == 0


def test_a_replayed_venue_takes_no_orders_and_needs_no_keys(bench):
    worker = bench.workers[0]
    worker.listen()
    opened = [one for one in worker.told if one.venue == 1]
    assert [(one.kind.name, one.fee_asset, one.amount, one.text) for one in opened] == [
        ("BALANCE", "BTC", 0, ""),
        ("BALANCE", "USDT", 0, ""),
        ("OPENED", "", None, ""),
    ]
    order = worker.place("100", venue=1)
    refused = answer(worker.wait(order, ReplyKind.REJECTED))
    assert refused == ("REJECTED", Refusal.VENUE_CLOSED, "venue tape is a replay")
    worker.cancel(order, venue=1)
    assert worker.wait(order, ReplyKind.CANCEL_FAILED).text == "venue tape is a replay"
    assert bench.message_of_ready["budgets"].keys() == {"binance"}
    assert bench.stop() == 0
