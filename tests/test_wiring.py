"""Who is told of whom, over real channels and queues."""

import secrets

import pytest

from hive.boots import Run
from hive.child import Child
from hive.config import load_fleet
from hive.pairs import QueuePairs
from hive.plan import place
from hive.roster import Roster, versions
from hive.shm.channel import Channel
from hive.shm.order_queue import OrderQueue
from hive.shm.segment import Segment, list_segments, segment_name, unlink
from hive.state import FleetDir
from hive.wiring import Wiring

READY_FEED = {"venues": [{"name": "binance", "books": "/b.1", "trades": "/t.1"}]}


class Peer:
    """A process of the fleet, and this test at the other end of its channel."""

    def __init__(self, role: str, index: int = 0, epoch: int = 1) -> None:
        ours, theirs = Channel.pair()
        self.child = Child(role, index, epoch, ours, 0, pid=1, ready=True, wake=f"/wake.{role}{index}")
        self.end = Channel(theirs)

    def told(self) -> list[dict]:
        """Return what it was told since the last call."""
        messages = []
        while True:
            try:
                messages.append(self.end.recv_blocking(0))
            except TimeoutError:
                return messages


class Bench:
    """A wiring with a feed, a gate and two workers."""

    def __init__(self, tmp_path) -> None:
        (tmp_path / "scripts").mkdir()
        (tmp_path / "scripts/x.py").touch()
        (tmp_path / "fleet.yml").write_text("venues: {binance: {mode: sim}}\nstrategies: [{script: x, count: 2}]\n")
        fleet = load_fleet(tmp_path / "fleet.yml")
        self.run = secrets.token_hex(4)
        placement = place(fleet.strategies, workers=2, cpus=(0, 1), limit=50)
        run = Run(self.run, fleet, tmp_path, tmp_path, 1)
        self.roster = Roster(run, placement, FleetDir(tmp_path), versions("0", "0"), 0)
        self.roster.venues = [{"name": "binance", "mode": "sim", "books": "", "trades": ""}]
        self.wiring = Wiring(self.roster, QueuePairs(self.run, 8192))
        self.peers: list[Peer] = []

    def join(self, role: str, index: int = 0, epoch: int = 1, message: dict | None = None) -> Peer:
        """Let a process become ready."""
        peer = Peer(role, index, epoch)
        self.peers.append(peer)
        self.roster.children[peer.child.member] = peer.child
        self.wiring.ready(peer.child, message or {})
        return peer

    def leave(self, peer: Peer) -> None:
        """Let a process die."""
        self.roster.bury(peer.child, 0.0)
        self.wiring.gone(peer.child)

    def close(self) -> None:
        """Unlink and close everything."""
        for peer in self.peers:
            peer.child.close()
            peer.end.close()
        for info in list_segments(self.run):
            unlink(info.name)


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.close()


def test_a_pair_of_queues_joins_worker_and_gate_crosswise(bench):
    gate, worker = bench.join("gate", epoch=3), bench.join("worker", 1, epoch=5)
    (to_gate,), (to_worker,) = gate.told(), worker.told()
    assert (to_gate["inbound"], to_gate["outbound"]) == (to_worker["outbound"], to_worker["inbound"])
    assert (to_gate["type"], to_gate["index"], to_gate["epoch"], to_gate["wake"]) == ("worker", 1, 5, "/wake.worker1")
    assert (to_worker["type"], to_worker["epoch"], to_worker["link_epoch"]) == ("gate", 3, 5)
    queue = OrderQueue.attach(to_gate["inbound"])
    assert queue.put_many([b"x"]) == 1
    queue.close()


def test_a_worker_that_dies_is_told_to_the_gate_and_its_queues_are_unlinked(bench):
    gate, worker = bench.join("gate"), bench.join("worker")
    gate.told()
    assert len(list_segments(bench.run)) == 2
    bench.leave(worker)
    assert gate.told() == [{"type": "worker_gone", "index": 0, "epoch": 1}]
    assert list_segments(bench.run) == []


def test_a_gate_that_is_starting_learns_of_a_worker_that_dies_meanwhile(bench):
    gate, worker = bench.join("gate"), bench.join("worker", epoch=3)
    gate.told()
    gate.child.ready = False
    bench.leave(worker)
    assert gate.told() == [{"type": "worker_gone", "index": 0, "epoch": 3}]


def test_a_new_gate_gets_fresh_queues_to_every_worker(bench):
    gate, one, two = bench.join("gate"), bench.join("worker", 0), bench.join("worker", 1)
    before = {message["inbound"] for message in one.told() + two.told()}
    bench.leave(gate)
    assert one.told() == two.told() == [{"type": "gate_gone", "epoch": 1}]
    new = bench.join("gate", epoch=2)
    after = {message["inbound"] for message in one.told() + two.told()}
    assert len(new.told()) == len(after) == 2
    assert not before & after
    assert len(list_segments(bench.run)) == 4


def test_a_wedged_pair_is_replaced_at_both_ends(bench):
    gate, worker = bench.join("gate"), bench.join("worker")
    first = gate.told()[0]["inbound"]
    worker.told()
    bench.wiring.link(0)
    (to_gate,), (to_worker,) = gate.told(), worker.told()
    assert to_gate["inbound"] == to_worker["outbound"] != first
    assert to_gate["epoch"] == to_worker["link_epoch"] == 1


def test_a_wish_reaches_the_feed_and_every_feed_after_it(bench):
    feed = bench.join("feed", message=READY_FEED)
    one, two = bench.join("worker", 0).child, bench.join("worker", 1).child
    first, both = [["BTC-USDT", "book"]], [["BTC-USDT", "book"], ["ETH-USDT", "candles:1m"]]
    bench.wiring.want(one, "binance", first)
    bench.wiring.want(two, "binance", first)
    bench.wiring.want(one, "binance", both)
    told = [(message["who"], message["venue"], message["wants"]) for message in feed.told()]
    assert told == [("worker0", "binance", first), ("worker1", "binance", first), ("worker0", "binance", both)]
    bench.leave(feed)
    bench.wiring.want(two, "binance", [])
    new = bench.join("feed", epoch=2, message=READY_FEED)
    assert {message["who"]: message["wants"] for message in new.told()} == {"worker0": both, "worker1": []}


def test_what_a_worker_wanted_stays_wanted_until_its_replacement_says_otherwise(bench):
    feed = bench.join("feed", message=READY_FEED)
    worker = bench.join("worker", 0)
    bench.wiring.want(worker.child, "binance", [["BTC-USDT", "book"]])
    feed.told()
    bench.leave(worker)
    assert feed.told() == []
    again = bench.join("worker", 0, epoch=2)
    bench.wiring.want(again.child, "binance", [["ETH-USDT", "book"]])
    assert [message["wants"] for message in feed.told()] == [[["ETH-USDT", "book"]]]


def test_a_pair_that_cannot_be_followed_is_not_asked_for_again(bench):
    feed, worker = bench.join("feed", message=READY_FEED), bench.join("worker", 0)
    bench.wiring.want(worker.child, "binance", [["BTC-USDT", "book"], ["NOT-THERE", "book"]])
    worker.told()
    unknown = {"type": "unknown", "venue": "binance", "pair": "NOT-THERE", "reason": "not listed"}
    bench.wiring.unknown(unknown)
    assert worker.told() == [unknown]
    bench.leave(feed)
    new = bench.join("feed", epoch=2, message=READY_FEED)
    assert [message["wants"] for message in new.told()] == [[["BTC-USDT", "book"]]]


def test_workers_learn_of_candle_series_whoever_is_ready_first(bench):
    feed, early = bench.join("feed", message=READY_FEED), bench.join("worker", 0)
    early.told()
    series = {"type": "series", "venue": "binance", "pair": "BTC-USDT", "interval": "1m", "segment": "/c.1"}
    bench.wiring.series(series)
    late = bench.join("worker", 1)
    assert early.told() == [series]
    assert series in late.told()
    bench.leave(feed)
    assert series not in bench.join("worker", 2).told()  # the next feed makes its own


def test_the_gate_learns_of_the_books_and_the_feed_of_the_gates_budget(bench):
    gate = bench.join("gate", message={"budgets": {"binance": "/budget.1"}})
    feed = bench.join("feed", epoch=4, message=READY_FEED)
    books = {"type": "feed", "venue": "binance", "epoch": 4, "books": "/b.1", "trades": "/t.1"}
    assert gate.told() == [books]
    assert feed.told() == [{"type": "budget", "venue": "binance", "segment": "/budget.1"}]
    bench.leave(gate)
    new = bench.join("gate", epoch=2, message={"budgets": {"binance": "/budget.2"}})
    assert new.told() == [books]
    assert feed.told() == [{"type": "budget", "venue": "binance", "segment": "/budget.2"}]


def test_workers_learn_of_the_books_whoever_is_ready_first(bench):
    early = bench.join("worker", 0)
    assert early.told() == []
    feed = bench.join("feed", epoch=4, message=READY_FEED)
    late = bench.join("worker", 1)
    expected = {"type": "feed", "venue": "binance", "epoch": 4, "books": "/b.1", "trades": "/t.1"}
    assert early.told() == late.told() == [expected]
    assert feed.told() == []
    assert bench.roster.venues[0]["books"] == "/b.1"


def test_a_worker_without_room_for_its_queues_is_told_of_none_and_gets_them_at_a_later_try(bench):
    gate, worker = bench.join("gate"), bench.join("worker", 0)
    gate.told(), worker.told()
    taken = Segment.create(segment_name(bench.run, "orders.replies1", 2), 4096, kind="taken", epoch=1)
    other = bench.join("worker", 1)
    assert bench.wiring.unlinked == {1: f"segment {taken.name} exists already"}
    assert gate.told() == [one for one in other.told() if one["type"] == "gate"] == []
    assert not [one.name for one in list_segments(bench.run) if "orders.intents1" in one.name]
    bench.wiring.link_again()
    assert bench.wiring.unlinked == {}
    assert [(one["type"], one["index"]) for one in gate.told()] == [("worker", 1)]
    assert other.told()[-1]["type"] == "gate"
    assert worker.told() == []
    taken.close()
