"""A venue's data and a scripted gate for the router's tests: real segments, queues and links, in this process."""

import time
from decimal import Decimal

import numpy as np

from hive.shm.book import LIVE, STALE, BookTable, books_size
from hive.shm.broadcast import BroadcastWriter, broadcast_size
from hive.shm.instruments import InstrumentRules
from hive.shm.link import Link
from hive.shm.messages import Reply, unpack
from hive.shm.order_queue import OrderQueue
from hive.shm.segment import Segment, segment_name


def rules(pair):
    base, quote = pair.split("-")
    return InstrumentRules(
        pair=pair,
        symbol=base + quote,
        base=base,
        quote=quote,
        tick=Decimal("0.01"),
        step=Decimal("0.0001"),
        min_qty=Decimal("0.0001"),
        max_qty=None,
        min_notional=Decimal(5),
    )


class TinyFeed:
    """Publishes books and trades that the test asks for."""

    def __init__(self, run, epoch=1, venue="sim"):
        self.epoch = epoch
        self.books = Segment.create(
            segment_name(run, f"books.{venue}", epoch), books_size(8, 5), kind="books", epoch=epoch
        )
        self.trades = Segment.create(
            segment_name(run, f"trades.{venue}", epoch), broadcast_size(64), kind="trades", epoch=epoch
        )
        self.table = BookTable(self.books, 8, 5)
        self.tape = BroadcastWriter(self.trades, 64)
        self.slots = {}
        self.beat()

    def beat(self, now_ns=None):
        """Beat now, or at `now_ns` by both clocks."""
        self.books.beat(time.monotonic_ns() if now_ns is None else now_ns, now_ns)

    def add(self, pair, mid=100.0):
        slot = self.slots[pair] = self.table.add(rules(pair))
        steps = np.arange(1, 4) * 0.01
        self.table.writer(slot).publish(1, 0, 0, 0, mid - steps, np.ones(3), mid + steps, np.ones(3))
        self.live(pair)

    def live(self, pair):
        self.table.set_state(self.slots[pair], LIVE, time.monotonic_ns())

    def stale(self, pair):
        self.table.set_state(self.slots[pair], STALE, time.monotonic_ns())

    def trade(self, pair, trade_id, price=100.0):
        self.tape.publish(self.slots[pair], 0, trade_id, 0, 0, price, 1.0)

    def close(self):
        self.books.unlink()
        self.trades.unlink()


class ScriptedGate:
    """The gate's end of one queue pair; says what the test tells it to."""

    def __init__(self, run, gate_epoch, link_epoch, venue=0):
        self.epoch = gate_epoch
        self.venue = venue
        self.to_gate = OrderQueue.create(segment_name(run, "queue.up", gate_epoch), gate_epoch)
        self.to_worker = OrderQueue.create(segment_name(run, "queue.down", gate_epoch), gate_epoch)
        self.names = (self.to_worker.name, self.to_gate.name)  # as the worker reads and writes them
        self.link = Link(OrderQueue.attach(self.to_gate.name), OrderQueue.attach(self.to_worker.name), None, link_epoch)

    def intents(self):
        taken = [unpack(payload) for payload in self.link.poll()]
        self.link.flush()
        return taken

    def say(self, kind, client_order_id="", **values):
        self.link.send(Reply(kind, self.venue, client_order_id=client_order_id, **values).pack())

    def flush(self):
        assert self.link.flush()

    def close(self):
        for queue in (self.to_gate, self.to_worker):
            queue.unlink()
