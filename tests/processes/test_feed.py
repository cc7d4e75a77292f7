"""The feed as a real process, against the simulated exchange as a real process: life, books, demand."""

import signal
from itertools import pairwise

import pytest

from feed_run import DEADLINE_S, NOWHERE, PAIRS, assert_equal_books, segments_of, until
from hive.shm.book import LIVE, REMOVED, STALE
from hive.shm.segment import sweep


def test_books_equal_the_exchanges_and_trades_arrive_in_order(sim, feeds):
    feed = feeds(sim.urls).start(PAIRS)
    feed.want(PAIRS[:2], "worker1")  # wanted twice, subscribed once
    assert_equal_books(sim, feed, PAIRS)
    trades = []
    until(lambda: trades.extend(feed.trades.drain()) or len(trades) >= 20, "20 trades")
    by_slot = {}
    for trade in trades:
        by_slot.setdefault(trade.slot, []).append(trade.trade_id)
    assert all(ids == sorted(set(ids)) for ids in by_slot.values())
    assert set(by_slot) <= set(range(len(PAIRS)))
    rules = feed.directory.rules(feed.directory.find("BTC-USDT"))
    listed = sim.get("/api/v3/exchangeInfo?symbol=BTCUSDT")["symbols"][0]
    filters = {one["filterType"]: one for one in listed["filters"]}
    assert rules.tick == rules.tick.__class__(filters["PRICE_FILTER"]["tickSize"])
    assert rules.step == rules.step.__class__(filters["LOT_SIZE"]["stepSize"])
    assert len(sim.get("/sim/connections")["market"]) == feed.counter("market_connections") == 1
    assert feed.counter("instruments") == len(PAIRS)
    assert feed.counter("gaps") == feed.counter("malformed") == feed.counter("reconnects") == 0
    assert feed.latency().count > 0
    assert feed.end() == 0


def test_an_unknown_pair_is_reported_and_the_others_are_followed(sim, feeds):
    feed = feeds(sim.urls).start()
    feed.want(["NOT-LISTED", "BTC-USDT"])
    unknown = feed.message("unknown")
    assert (unknown["venue"], unknown["pair"]) == ("binance", "NOT-LISTED")
    until(lambda: feed.state("BTC-USDT") == LIVE, "the known pair is live")


def test_more_pairs_than_the_table_holds_are_refused_and_the_others_are_followed(sim, feeds):
    feed = feeds(sim.urls)
    feed.boot["capacity"] = 1
    feed.start().want(["BTC-USDT", "ETH-USDT"])
    assert "is full" in feed.message("unknown")["reason"]
    until(lambda: feed.state("BTC-USDT") == LIVE, "the first pair is live")


def test_the_heartbeat_beats_while_nothing_else_happens(feeds):
    feed = feeds(NOWHERE).start()
    for segment in feed.segments:
        first = segment.heartbeat_ns
        until(lambda segment=segment, first=first: segment.heartbeat_ns > first, "a heartbeat")


def test_sigterm_leaves_nothing(sim, feeds):
    feed = feeds(sim.urls).start(PAIRS)
    assert segments_of(feed) != []
    assert feed.end(signal.SIGTERM) == 0
    assert feed.message("stopped") == {"type": "stopped"}
    assert feed.state("BTC-USDT") == STALE  # what is still mapped says so
    assert segments_of(feed) == []


def test_a_stop_message_ends_it(feeds):
    feed = feeds(NOWHERE).start()
    feed.want(["BTC-USDT"])
    feed.channel.send({"type": "stop", "deadline_s": 1})
    assert feed.process.wait(DEADLINE_S) == 0
    assert segments_of(feed) == []


def test_the_end_of_the_channel_ends_it(feeds):
    feed = feeds(NOWHERE).start()
    feed.channel.close()
    assert feed.process.wait(DEADLINE_S) == 0
    assert segments_of(feed) == []


@pytest.mark.alone  # any fleet that starts sweeps what dead processes left
def test_killed_it_leaves_its_segments_and_the_next_epoch_works(sim, feeds):
    killed = feeds(sim.urls).start(PAIRS)
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    assert len(segments_of(killed)) == 4
    again = feeds(sim.urls, 2).start(PAIRS)
    assert again.directory.epoch == 2
    assert_equal_books(sim, again, PAIRS)
    assert sorted(sweep(killed.run)) == sorted(segment.name for segment in killed.segments)
    assert again.end() == 0
    assert segments_of(again) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "depth"),
        ({"trades_capacity": 100}, "capacity"),
        ({"venues": [{"index": 0, "name": "x", "kind": "nope", **NOWHERE}]}, "kind must be one of"),
        ({"capacity": 1 << 30}, "/dev/shm"),
        ({"epoch": "one"}, "boot"),
        ({"venues": []}, "at least one"),
        ({"run": None}, "run"),
    ],
)
def test_what_cannot_boot_says_why_and_leaves_nothing(feeds, change, message):
    feed = feeds(NOWHERE)
    feed.channel.send({**feed.boot, **change})
    assert message in feed.message("fatal")["message"]
    assert feed.process.wait(DEADLINE_S) == 3
    assert segments_of(feed) == []


def streams_at(sim):
    """Return every stream that the exchange sends to somebody, and on how many connections."""
    connections = sim.get("/sim/connections")["market"]
    return {stream for one in connections for stream in one["streams"]}, len(connections)


def test_what_nobody_wants_any_more_is_unsubscribed_and_removed_and_can_come_again(sim, feeds):
    feed = feeds(sim.urls, linger_s=0.2).start(["BTC-USDT", "ETH-USDT"])
    feed.want(["ETH-USDT", "SOL-USDT"], "worker1")
    until(lambda: feed.state("SOL-USDT") == LIVE, "the third book is live")
    gone = feed.reader("BTC-USDT")
    shared = feed.reader("ETH-USDT")
    feed.want([], "worker0")
    until(lambda: gone.state == REMOVED, "the book that only the first wanted is removed")
    remaining = {f"{symbol}@{kind}" for symbol in ("ethusdt", "solusdt") for kind in ("depth@100ms", "trade")}
    until(lambda: streams_at(sim) == (remaining, 1), "the exchange is told")
    assert feed.directory.find("BTC-USDT") == -1
    assert shared.state == LIVE
    assert (feed.counter("unsubscribed"), feed.counter("instruments")) == (1, 2)
    feed.want(["BTC-USDT"], "worker2")
    until(lambda: feed.state("BTC-USDT") == LIVE, "the book is live again")
    assert gone.state == REMOVED
    assert_equal_books(sim, feed, PAIRS[:3])
    feed.want([], "worker1")
    feed.want([], "worker2")
    until(lambda: streams_at(sim) == (set(), 0), "nothing is wanted, nothing is connected")
    assert feed.counter("reconnects") == feed.counter("gaps") == 0


def test_what_comes_back_while_it_lingers_was_never_gone(sim, feeds):
    feed = feeds(sim.urls, linger_s=30.0).start(["BTC-USDT"])
    reader = feed.reader("BTC-USDT")
    snapshots = feed.counter("snapshots")
    feed.want([], "worker0")
    feed.want(["ETH-USDT"], "worker0")
    until(lambda: feed.state("ETH-USDT") == LIVE, "the other book is live")
    feed.want(["BTC-USDT"], "worker0")
    assert reader.state == LIVE
    assert feed.counter("unsubscribed") == 0
    assert feed.counter("snapshots") == snapshots + 1


def test_each_kind_is_subscribed_for_itself(sim, feeds):
    feed = feeds(sim.urls, linger_s=0.1).start()
    feed.want(["BTC-USDT"], kinds=["trades"])
    until(lambda: feed.trades.drain(), "a trade")
    assert streams_at(sim)[0] == {"btcusdt@trade"}
    feed.want(["BTC-USDT"], kinds=["tops"])
    tops = []
    until(lambda: tops.extend(feed.tops.drain()) or len(tops) >= 5, "changes of the best prices")
    until(lambda: streams_at(sim)[0] == {"btcusdt@depth@100ms"}, "trades are not sent any more")
    assert all(0 < one.bid < one.ask for one in tops)
    assert all(before[3:] != after[3:] for before, after in pairwise(tops))


def test_a_pair_has_a_depth_of_its_own(sim, feeds):
    feed = feeds(sim.urls, depths={"ETH-USDT": 100}).start(["BTC-USDT", "ETH-USDT"])
    assert feed.reader("BTC-USDT").depth == 20
    assert feed.reader("ETH-USDT").depth == 100
    until(lambda: len(feed.reader("ETH-USDT").copy().bid_px) > 20, "more than 20 levels")


def test_a_wish_for_what_there_is_not_is_told(sim, feeds):
    feed = feeds(sim.urls).start()
    feed.want(["BTC-USDT"], kinds=["nonsense"])
    assert "no such kind" in feed.event("nonsense")
    feed.channel.send({"type": "want", "venue": "nowhere", "who": "worker0", "wants": []})
    assert "no venue is named 'nowhere'" in feed.event("nowhere")
