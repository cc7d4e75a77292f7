"""Candles with real processes: exchange, feed, shared series, workers with unmodified controllers, and back."""

import json
import shutil
import signal

import psutil
import pytest

from feed_run import until
from fleet_run import EXAMPLES, FleetRun, has_traded, tags, wait_until
from gate.bench import Exchange
from hive.shm.book import LIVE, REMOVED, WRITER_DEAD
from hive.shm.candle_rows import rows
from hive.shm.candles import CandleReader
from hive.shm.segment import Segment, list_segments, sweep

TRADE_WITHIN_S = 90.0
COLUMNS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 10)  # of a klines row, in the order of a series


def wants(feed, *wishes, who="worker0"):
    """Make this the whole wish list of `who`: "BTC-USDT 1s"."""
    told = [[pair, f"candles:{interval}"] for pair, interval in map(str.split, wishes)]
    feed.channel.send({"type": "want", "venue": "binance", "who": who, "wants": told})


def series(feed, count=1):
    """Return readers of the next `count` series that the feed announces, by "BTC-USDT 1s"."""
    readers = {}
    for _ in range(count):
        told = feed.message("series")
        assert told["segment"], told
        reader = CandleReader(Segment.open(told["segment"], kind="candles"), 2_000_000_000)
        readers[f"{told['pair']} {told['interval']}"] = reader
    return readers


def klines(get, pair, interval, first_s, count):
    """Return the exchange's own candles from `first_s` on, as rows of a series."""
    where = f"symbol={pair.replace('-', '')}&interval={interval}&startTime={round(first_s * 1000)}&limit={count}"
    found = [[float(row[column]) for column in COLUMNS] for row in get(f"/api/v3/klines?{where}")]
    return [[row[0] / 1000, *row[1:]] for row in found]


def assert_equal_candles(get, reader, closed=None):
    """Compare the newest `closed` closed candles (all: None) with the exchange's."""
    ours = rows(reader)[:-1].tolist()
    ours = ours if closed is None else ours[-closed:]
    theirs = []
    for start in range(0, len(ours), 1000):
        page = ours[start : start + 1000]
        theirs += klines(get, reader.pair, reader.interval, page[0][0], len(page))
    assert ours == theirs


def kline_streams(get):
    """Return the candle streams that the exchange sends, each as often as somebody receives it."""
    return sorted(
        stream for one in get("/sim/connections")["market"] for stream in one["streams"] if "@kline_" in stream
    )


def grow(reader, candles):
    """Wait until a series has so many candles more, and is live."""
    from_ms = reader.newest.open_ms
    until(
        lambda: reader.state == LIVE and reader.newest.open_ms >= from_ms + candles * reader.interval_ms,
        f"{candles} candles more",
    )


def test_series_are_the_exchanges_own_candles_and_go_on(sim, feeds):
    feed = feeds(sim.urls, linger_s=0.1).start()
    wants(feed, "BTC-USDT 1s", "BTC-USDT 5m", "XRP-USDT 1s")
    wants(feed, "BTC-USDT 1s", who="worker1")  # wanted twice, followed once
    readers = series(feed, 3)
    assert {reader.count for reader in readers.values()} == {1000}
    grow(readers["BTC-USDT 1s"], 3)
    for reader in readers.values():
        assert reader.state_at() == LIVE
        assert_equal_candles(sim.get, reader)
    assert kline_streams(sim.get) == ["btcusdt@kline_1s", "btcusdt@kline_5m", "xrpusdt@kline_1s"]
    assert feed.counter("candle_series") == 3
    assert feed.counter("candle_gaps") == feed.counter("malformed") == 0
    live = readers["BTC-USDT 5m"].newest
    until(lambda: readers["BTC-USDT 5m"].newest.trades > live.trades, "the current candle changes")
    wants(feed, "BTC-USDT 1s")
    until(lambda: readers["XRP-USDT 1s"].state == REMOVED, "what nobody wants is taken down")
    until(lambda: kline_streams(sim.get) == ["btcusdt@kline_1s"], "its streams are unsubscribed")
    assert [info.kind for info in list_segments(feed.run)].count("candles") == 1
    wants(feed, "BTC-USDT 1s", "XRP-USDT 1s")
    again = series(feed)["XRP-USDT 1s"]
    assert_equal_candles(sim.get, again)
    assert feed.end() == 0
    assert [info.name for info in list_segments(feed.run)] == []


def test_more_candles_than_one_answer_has(sim, feeds):
    feed = feeds(sim.urls)
    feed.boot["candles"] = 2_500
    feed.start()
    wants(feed, "ETH-USDT 1m")
    reader = series(feed)["ETH-USDT 1m"]
    assert reader.count == reader.capacity == 2_500
    assert_equal_candles(sim.get, reader)


def test_a_lost_connection_leaves_no_hole(sim, feeds):
    feed = feeds(sim.urls).start()
    wants(feed, "BTC-USDT 1s")
    reader = series(feed)["BTC-USDT 1s"]
    for _ in range(2):
        sim.fault("drop", channel="market")
        until(lambda: reader.state != LIVE, "the series is not live")
        grow(reader, 3)
        assert_equal_candles(sim.get, reader)
    assert feed.counter("reconnects") == 2


def test_what_the_venue_does_not_have_is_told_and_keeps_nobody_from_the_rest(sim, feeds):
    feed = feeds(sim.urls).start()
    wrong = ("NOT-LISTED", "BTC/USDT", "btc-usdt", "BTCUS-DT")
    wants(feed, "BTC-USDT 7m", "BTC-USDT 1m", *(f"{pair} 1m" for pair in wrong))
    told = {}
    while len(told) < 2 + len(wrong):
        message = feed.channel.recv_blocking(20)
        if message["type"] in ("series", "unknown"):
            told[message["pair"], message.get("interval")] = message.get("reason", "")
    assert "was 'candles:7m'" in told["BTC-USDT", "7m"]
    assert [told[pair, None] for pair in wrong] == [f"binance does not list {pair}" for pair in wrong]
    assert told["BTC-USDT", "1m"] == ""
    wants(feed, "BTC-USDT 7m", who="worker1")
    again = feed.message("series")
    assert (again["interval"], again["segment"], again["reason"]) == ("7m", "", told["BTC-USDT", "7m"])


def test_a_killed_feed_leaves_candles_that_can_be_read_and_the_next_epoch_has_the_same(sim, feeds):
    feed = feeds(sim.urls).start()
    wants(feed, "BTC-USDT 1s")
    reader = series(feed)["BTC-USDT 1s"]
    grow(reader, 1)
    assert feed.end(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: reader.state_at() == WRITER_DEAD, "the reader knows")
    last = rows(reader)
    assert_equal_candles(sim.get, reader)
    after = feeds(sim.urls, 2).start()
    wants(after, "BTC-USDT 1s")
    again = series(after)["BTC-USDT 1s"]
    assert (again.epoch, reader.epoch) == (2, 1)
    assert rows(again)[-1, 0] >= last[-1, 0]
    assert_equal_candles(sim.get, again)
    sweep(feed.run)


DUMP = """
import json, os

from controllers.directional_trading import bands


class DumpConfig(bands.BandsConfig):
    controller_name: str = "dump"


class Dump(bands.Bands):
    async def update_processed_data(self):
        await super().update_processed_data()
        frame = self.market_data_provider.get_candles_df(
            self.config.connector_name, self.config.trading_pair, self.config.interval, 100
        )
        path = os.path.join(os.environ["DUMP"], str(os.getpid()))
        with open(path + ".part", "w") as file:
            json.dump({"columns": list(frame.columns), "rows": frame.values.tolist()}, file)
        os.replace(path + ".part", path)
"""


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """(run, folder of dumps): a fleet whose root is the examples and a controller that writes down what it sees."""
    exchange = Exchange("--rate", "200", "--symbols", "30")
    root, dumps = tmp_path / "root", tmp_path / "dumps"
    shutil.copytree(EXAMPLES, root)
    dumps.mkdir()
    monkeypatch.setenv("DUMP", str(dumps))
    (root / "controllers" / "directional_trading" / "dump.py").write_text(DUMP)
    config = (root / "conf" / "controllers" / "bands_eth.yml").read_text()
    (root / "conf" / "controllers" / "dump_eth.yml").write_text(
        config.replace("bands_eth", "dump_eth").replace(": bands", ": dump")
    )
    runner = {"script": "controllers_runner", "config": "dump.yml", "tick_interval_ms": 1000}
    strategies = [{"id": f"dump-{one}", **runner} for one in "ab"]
    (root / "conf" / "scripts" / "dump.yml").write_text("controllers_config: [dump_eth.yml]\n")
    run = FleetRun(tmp_path, exchange, strategies, name="candles")
    yield run, root, dumps
    run.close()
    exchange.close()


def seen(dumps, pid):
    """Return the candles that the controller of a worker saw last."""
    return json.loads((dumps / str(pid)).read_text())["rows"]


def test_unmodified_controllers_in_two_workers_share_a_series_and_open_no_socket(fleet):
    run, root, dumps = fleet
    get = run.exchange.get
    run.up("--root", str(root), workers=2)
    run.wait_running()
    workers = run.pids("worker")
    assert len(workers) == 2
    wait_until(lambda: {path.name for path in dumps.iterdir()} >= set(map(str, workers)), "both see candles")
    since = max(seen(dumps, pid)[-1][0] for pid in workers)
    wait_until(lambda: all(seen(dumps, pid)[-1][0] >= since + 3 for pid in workers), "three candles more")
    for pid in workers:
        *closed, _ = seen(dumps, pid)
        assert len(closed) == 99
        assert closed == klines(get, "ETH-USDT", "1s", closed[0][0], len(closed))
        assert psutil.Process(pid).net_connections("inet") == []
    assert kline_streams(get) == ["ethusdt@kline_1s"]
    (info,) = [one for one in list_segments() if one.kind == "candles" and one.name.startswith(_prefix(run))]
    assert_equal_candles(get, CandleReader(Segment.open(info.name, kind="candles")), 20)
    owners = tags(["dump-a", "dump-b"])

    def both_traded():
        recorded = run.recorded_orders()
        return all(has_traded(recorded.get(tag, [])) for tag in owners.values())

    wait_until(both_traded, f"both controllers traded\n{run.text()}", TRADE_WITHIN_S)
    assert run.stop() == 0, run.text()
    assert run.exchange.open_orders() == []


def _prefix(run):
    return f"/hive.{run.status()['run']}."
