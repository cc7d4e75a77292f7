"""The feed under every fault of the exchange, and when it is stopped: books are right or not live, and come back."""

import signal
import socket
import ssl
import threading
import time

import pytest

from feed_run import PAIRS, Sim, assert_equal_books, until
from hive.shm.atomics import boottime_ns
from hive.shm.book import HALTED, LIVE, STALE, WRITER_DEAD
from market_server import self_signed, server_context

KINDS = ("truncated", "text", "empty", "binary", "types", "keys", "nan", "levels", "event", "symbol", "deep", "huge")


class Watch:
    """Reads the states of books as fast as it can, in a thread of its own, and counts those that are not live."""

    def __init__(self, feed, pairs):
        self._readers = [feed.reader(pair) for pair in pairs]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.reads = 0
        self.not_live = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(0.0005):
            for reader in self._readers:
                self.reads += 1
                self.not_live += reader.state != LIVE


def live(feed, pairs=PAIRS):
    return all(feed.state(pair) == LIVE for pair in pairs)


def connections(sim):
    return sim.get("/sim/connections")["market"]


def test_a_skipped_diff_is_a_gap_that_is_counted_and_resynced(sim, feeds):
    feed = feeds(sim.urls).start(PAIRS)
    sim.fault("gap", symbol="BTCUSDT", count=3)  # one alone may fall into the time of a snapshot
    until(lambda: feed.counter("gaps") >= 1, "the gap is noticed")
    until(lambda: feed.counter("resyncs") >= 1 and feed.state("BTC-USDT") == LIVE, "the book is live again")
    assert_equal_books(sim, feed, PAIRS)
    assert feed.counter("reconnects") == 0


def test_duplicated_and_reordered_diffs_leave_the_books_right(sim, feeds):
    feed = feeds(sim.urls).start(PAIRS)
    sim.fault("duplicate", symbol="*", count=3)
    until(lambda: feed.counter("duplicates") >= 3, "the duplicates are noticed")
    sim.fault("reorder", symbol="ETHUSDT")
    until(lambda: feed.counter("gaps") >= 1 and feed.state("ETH-USDT") == LIVE, "the reordered book is live again")
    assert_equal_books(sim, feed, PAIRS)


def test_a_dropped_connection_makes_books_stale_and_is_replaced(sim, feeds):
    feed = feeds(sim.urls).start(PAIRS)
    sim.fault("drop", channel="market", abort=1)
    until(lambda: feed.counter("resyncs") == len(PAIRS) and live(feed), "every book live again")
    assert feed.counter("stale_intervals") >= len(PAIRS)
    assert feed.counter("reconnects") == 1
    assert feed.counter("market_connections") == 1
    assert_equal_books(sim, feed, PAIRS)


def test_a_mute_connection_is_noticed_and_its_books_are_not_live(sim, feeds):
    feed = feeds(sim.urls, silence_s=1.0).start(PAIRS)
    sim.fault("mute", channel="market")
    until(lambda: all(feed.state(pair) != LIVE for pair in PAIRS), "no book live")
    until(lambda: feed.counter("reconnects") >= 1, "a reconnect")
    sim.post("/sim/clear", {})
    until(lambda: all(feed.state(pair) == LIVE for pair in PAIRS), "every book live again")
    assert_equal_books(sim, feed, PAIRS)


def test_a_halt_of_the_venue_shows_in_the_book(sim, feeds):
    feed = feeds(sim.urls, rules_interval_s=0.2).start(PAIRS)
    sim.fault("halt", symbol="BTCUSDT")
    until(lambda: feed.state("BTC-USDT") == HALTED, "the book is halted")
    assert feed.state("ETH-USDT") == LIVE
    sim.post("/sim/clear", {})
    until(lambda: feed.state("BTC-USDT") == LIVE, "the book is live again")


def test_a_venue_that_stalls_is_asked_again_until_it_answers(sim, feeds):
    sim.fault("stall", channel="all", seconds=2)
    feed = feeds(sim.urls).start(PAIRS)
    assert_equal_books(sim, feed, PAIRS)


def test_too_many_requests_are_counted_and_waited_for(sim, feeds):
    sim.fault("http_429", channel="rest", retry_after=1, count=2)
    feed = feeds(sim.urls).start(PAIRS)
    assert feed.counter("http_429") >= 1


@pytest.mark.alone  # a feed that others delay marks its books itself
def test_connections_are_replaced_under_load_and_no_reader_notices(sim, feeds):
    feed = feeds(sim.urls, rotate_after_s=0.7).start(PAIRS)
    with Watch(feed, PAIRS) as watch:
        until(lambda: feed.counter("rotations") >= 4, "four rotations")
    assert watch.reads > 1_000
    assert watch.not_live == 0
    assert feed.counter("gaps") == feed.counter("stale_intervals") == feed.counter("reconnects") == 0
    assert_equal_books(sim, feed, PAIRS)


@pytest.mark.alone
def test_a_connection_that_the_venue_is_going_to_close_is_left_in_time(sim, feeds):
    feed = feeds(sim.urls).start(PAIRS)
    with Watch(feed, PAIRS) as watch:
        sim.fault("shutdown", channel="market", ms=3000)
        until(lambda: feed.counter("rotations") == 1 and len(connections(sim)) == 1, "the connection is replaced")
    assert watch.not_live == 0
    assert feed.counter("reconnects") == 0


def test_a_stopped_feed_is_dead_to_readers_and_no_book_is_live_before_it_is_proven(sim, feeds):
    feed = feeds(sim.urls).start(PAIRS)
    readers = [feed.reader(pair) for pair in PAIRS]
    feed.process.send_signal(signal.SIGSTOP)
    until(lambda: all(one.state_at(boottime_ns()) == WRITER_DEAD for one in readers), "readers see that it is dead")
    time.sleep(0.3)  # what is sent meanwhile waits in the socket
    lags, intervals = feed.counter("lag_events"), feed.counter("stale_intervals")
    feed.process.send_signal(signal.SIGCONT)
    until(lambda: feed.counter("lag_events") > lags, "the feed notices")
    until(lambda: all(one.state_at(boottime_ns()) == LIVE for one in readers), "every book live again")
    assert feed.counter("stale_intervals") >= intervals + len(PAIRS)  # each was marked before it was live again
    assert feed.counter("reconnects") == 0
    assert_equal_books(sim, feed, PAIRS)


def test_a_venue_that_stops_answering_is_noticed_before_the_connection_is_lost(sim, feeds):
    feed = feeds(sim.urls, ping_interval_s=0.2, pong_within_s=0.3, lost_after_s=20.0).start(PAIRS)
    sim.fault("stall", channel="market", seconds=2)
    until(lambda: all(feed.state(pair) == STALE for pair in PAIRS), "every book is stale")
    until(lambda: live(feed), "every book live again")
    assert feed.counter("reconnects") == 0
    assert_equal_books(sim, feed, PAIRS)


def test_a_crossed_book_is_never_shown(sim, feeds):
    feed = feeds(sim.urls).start(PAIRS)
    sim.fault("crossed", symbol="BTCUSDT", count=2)
    until(lambda: feed.counter("crossed") >= 1, "the book was crossed")
    until(lambda: live(feed), "every book live again")
    assert_equal_books(sim, feed, PAIRS)


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_instead_of_a_diff_is_survived_and_the_books_are_right_afterwards(sim, feeds, kind):
    feed = feeds(sim.urls).start(PAIRS)
    sim.fault("garbage", kind=kind, instead=1, bytes=2_000_000, symbol="BTCUSDT", count=2)
    until(lambda: feed.counter("malformed") + feed.counter("gaps") >= 1, "the garbage or what it replaced is noticed")
    until(lambda: live(feed), "every book live again")
    assert_equal_books(sim, feed, PAIRS)
    assert feed.process.poll() is None


def test_a_level_that_the_venue_left_out_is_found_by_an_audit(sim, feeds):
    feed = feeds(sim.urls, audit_interval_s=0.1).start(["BTC-USDT"])
    until(lambda: feed.counter("audits") >= 1, "a first audit")
    assert feed.counter("audit_differences") == 0
    sim.fault("omit", symbol="BTCUSDT", count=20)  # one level alone may come back by itself
    assert "levels differ" in feed.event("audit of BTC-USDT")
    assert feed.counter("audit_differences") >= 1
    sim.post("/sim/clear", {})
    until(lambda: live(feed, ["BTC-USDT"]), "the book is live again")
    until(lambda: _audited_equal(feed), "an audit finds nothing")


def _audited_equal(feed):
    """Return whether the next audit found no difference."""
    audits, differences = feed.counter("audits"), feed.counter("audit_differences")
    until(lambda: feed.counter("audits") > audits, "one more audit")
    return feed.counter("audit_differences") == differences


@pytest.mark.alone
def test_audits_of_right_books_find_nothing(sim, feeds):
    feed = feeds(sim.urls, audit_interval_s=0.1).start(PAIRS[:2])
    until(lambda: feed.counter("audits") >= 5, "five audits")
    assert feed.counter("audit_differences") == 0
    assert feed.counter("stale_intervals") == 0


def test_snapshots_that_fail_are_asked_for_again(sim, feeds):
    sim.fault("http_5xx", operation="snapshot", count=4)
    feed = feeds(sim.urls).start(PAIRS)
    assert_equal_books(sim, feed, PAIRS)


def test_a_ban_is_obeyed_by_requests_and_connections(sim, feeds):
    sim.fault("ban", channel="all", seconds=2)
    began = time.monotonic()
    feed = feeds(sim.urls).start(PAIRS)
    assert time.monotonic() - began > 1.5
    assert 1 <= feed.counter("http_429") <= 10
    assert_equal_books(sim, feed, PAIRS)


def test_maintenance_costs_few_requests_and_ends(sim, feeds):
    feed = feeds(sim.urls).start(PAIRS)
    refused = sim.get("/sim/state")["refusals"].get("503", 0)
    sim.fault("maintenance", channel="all", seconds=3)
    sim.fault("drop", channel="market", abort=1)
    assert "503" in feed.event("not opened")
    until(lambda: live(feed), "every book live again")
    assert sim.get("/sim/state")["refusals"].get("503", 0) - refused <= 12
    assert_equal_books(sim, feed, PAIRS)


def test_halts_and_changed_filters_are_told_and_counted(sim, feeds):
    feed = feeds(sim.urls, rules_interval_s=0.2).start(PAIRS)
    sim.fault("halt", symbol="BTCUSDT")
    assert feed.event("BTC-USDT") == "binance: BTC-USDT halted"
    assert feed.state("BTC-USDT") == HALTED
    sim.fault("filters", symbol="ETHUSDT", min_notional="50")
    assert "min_notional 5 -> 50" in feed.event("ETH-USDT")
    assert feed.directory.rules(feed.directory.find("ETH-USDT")).min_notional == 50
    sim.fault("delist", symbol="SOLUSDT")
    assert feed.event("SOL-USDT") == "binance: SOL-USDT not listed any more"
    assert feed.state("SOL-USDT") == HALTED
    assert (feed.counter("halts"), feed.counter("rules_changes")) == (2, 1)
    sim.post("/sim/clear", {})
    until(lambda: live(feed), "every book live again")


def test_rules_are_read_again_when_somebody_asks(sim, feeds):
    feed = feeds(sim.urls, rules_interval_s=600.0).start(PAIRS[:1])
    sim.fault("filters", symbol="BTCUSDT", min_notional="50")
    feed.channel.send({"type": "reread_rules", "venue": "binance"})
    assert "min_notional 5 -> 50" in feed.event("BTC-USDT")


class TlsServer:
    """Accepts TLS connections with a certificate that nobody signed, and counts them."""

    def __init__(self, folder):
        self._context = server_context(*self_signed(folder))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"wss://127.0.0.1:{self._socket.getsockname()[1]}/ws"
        self.accepted = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _run(self):
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                self._context.wrap_socket(client, server_side=True).close()
            except (ssl.SSLError, OSError):
                client.close()


@pytest.fixture
def untrusted(tmp_path):
    server = TlsServer(tmp_path)
    yield server
    server.close()


def test_a_certificate_that_nobody_signed_is_named_and_not_asked_for_all_the_time(sim, feeds, untrusted):
    feed = feeds({**sim.urls, "ws_url": untrusted.url}).start()
    feed.want(["BTC-USDT"])
    assert "TLS" in feed.event("not opened")
    for _ in range(3):
        feed.event("not opened")
    assert untrusted.accepted <= 6  # 0.1, 0.2, 0.4, 0.8 s, half of each left to chance
    assert feed.state("BTC-USDT") != LIVE


def test_a_name_that_does_not_resolve_is_named(sim, feeds):
    feed = feeds({**sim.urls, "ws_url": "ws://no-such-host.invalid/ws"}).start()
    feed.want(["BTC-USDT"])
    assert "no-such-host.invalid was not found" in feed.event("not opened")


@pytest.mark.alone
def test_hundreds_of_instruments_share_few_connections_and_survive_the_end_of_one(feeds):
    venue = Sim("--symbols", "250", "--active", "40", "--rate", "100")
    try:
        _hundreds(venue, feeds)
    finally:
        venue.stop()


def _hundreds(venue, feeds):
    pairs = sorted(f"{one['baseAsset']}-{one['quoteAsset']}" for one in venue.get("/api/v3/exchangeInfo")["symbols"])
    first, second = pairs[:200], pairs[200:250]
    feed = feeds(venue.urls, max_connections=3, streams_per_connection=400)
    feed.boot["capacity"] = 300
    feed.start(first)
    assert [len(one["streams"]) for one in connections(venue)] == [400]
    time.sleep(2.0)  # so that the exchange can tell the connections apart by their age
    feed.want(second, "worker1")
    until(lambda: live(feed, second), "the second connection's books are live")
    assert [len(one["streams"]) for one in connections(venue)] == [400, 100]
    with Watch(feed, second) as watch:
        middle_ms = sum(one["opened_wall_ms"] for one in connections(venue)) / 2
        age_s = round(time.time() - middle_ms / 1e3, 3)
        venue.fault("lifetime", channel="market", age=age_s, seconds=0.3)
        until(lambda: feed.counter("reconnects") >= 1, "the first connection ends")
        until(lambda: live(feed, first), "its books are live again")
    assert watch.not_live == 0
    assert sorted(len(one["streams"]) for one in connections(venue)) == [100, 400]
