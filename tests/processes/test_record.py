"""Recordings made by real processes: `hive record` against the simulated exchange, and fleets recorded and replayed."""

import hashlib
import itertools
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from command import HIVE, Command
from feed_run import PAIRS, Feed, Sim, until
from hive.cli_errors import CONFIG, ERROR, NOT_FOUND, OK
from hive.feed.recording import Kind, Recording, replay_messages
from hive.shm.book import STALE

TWO = ["BTC-USDT", "ETH-USDT"]
FLEET = """
name: {name}
venues: {{binance: {{VENUE}}}}
strategies:
- {{id: watch, script: watcher, config: watcher.yml, for_each: {{trading_pair: [BTC-USDT, ETH-USDT]}}}}
"""
WATCHER = '''
"""Writes down every mid price that it sees, and tries to buy once."""

from decimal import Decimal
from pathlib import Path

from hummingbot.core.data_type.common import MarketDict, OrderType, PriceType
from hummingbot.strategy.strategy_v2_base import StrategyV2Base, StrategyV2ConfigBase


class WatcherConfig(StrategyV2ConfigBase):
    script_file_name: str = "watcher.py"
    trading_pair: str = "BTC-USDT"
    folder: str

    def update_markets(self, markets: MarketDict) -> MarketDict:
        return markets.add_or_update("binance", self.trading_pair)


class Watcher(StrategyV2Base):
    def __init__(self, connectors, config: WatcherConfig):
        super().__init__(connectors, config)
        self.asked = False
        self.file = Path(config.folder) / config.trading_pair

    def on_tick(self):
        pair = self.config.trading_pair
        mid = self.connectors["binance"].get_price_by_type(pair, PriceType.MidPrice)
        with self.file.open("a") as file:
            file.write(f"{mid}\\n")
        if not self.asked:
            self.asked = True
            self.buy("binance", pair, Decimal(60) / mid, OrderType.LIMIT, mid)
'''


@pytest.fixture
def sim():
    made = Sim()
    yield made
    made.stop()


@pytest.fixture
def home(tmp_path):
    made = Command(tmp_path)
    yield made
    made.close()


def addresses(sim):
    return ["--rest-url", sim.urls["rest_url"], "--ws-url", sim.urls["ws_url"]]


def ours():
    """Return the processes that record, by pid."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (place / "cmdline").read_bytes().split(b"\0")
            parent = int((place / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if b"hive.feed.process" in arguments and parent in (1, os.getpid()):
            found.append(int(place.name))
    return found


def test_a_venue_is_recorded_for_so_long_and_nothing_is_left(sim, home, tmp_path):
    out = tmp_path / "market.rec"
    options = ["--pairs", ",".join([*TWO, "NO-PE"]), "--kinds", "book,trades,candles:1m", "--duration", "3"]
    done = home.run("record", *options, "--out", str(out), *addresses(sim))
    assert done.returncode == OK, done.stderr
    assert "recording book, trades, candles:1m of BTC-USDT, ETH-USDT, NO-PE" in done.stdout
    assert f"{out}: " in done.stdout
    assert done.stderr == "warning: binance does not list NO-PE\n"
    summary = Recording(out).summary()
    assert summary.complete
    assert summary.counts[Kind.MESSAGE] > 20
    assert summary.answers == {"rules": 2, "snapshot": 2, "candles": 2}
    assert Recording(out).header.pairs == (*TWO, "NO-PE")
    shown = home.run("record", "--info", str(out))
    assert shown.returncode == OK
    assert "complete  yes" in shown.stdout
    assert "streams   6: " in shown.stdout
    again = home.run("record", "--pairs", "BTC-USDT", "--out", str(out), *addresses(sim))
    assert again.returncode == ERROR
    assert again.stderr == f"error: {out} exists: a recording is never written over\n"


def test_what_cannot_be_recorded_is_said(sim, home, tmp_path):
    out = tmp_path / "market.rec"
    nothing = home.run("record", "--pairs", "NO-PE", "--out", str(out), *addresses(sim))
    assert (nothing.returncode, nothing.stderr.splitlines()[-1]) == (NOT_FOUND, "error: nothing to record")
    assert not out.exists()
    for options, words in (
        (["--pairs", "btc"], "--pairs must be like BTC-USDT,ETH-USDT, was 'btc'"),
        (["--kinds", "tops"], "--kinds must be of book, trades and candles:INTERVAL, was 'tops'"),
    ):
        done = home.run("record", *options, "--out", str(out))
        assert (done.returncode, done.stderr) == (CONFIG, f"error: {words}\n")
    done = home.run("record", "--info", __file__)
    assert (done.returncode, done.stderr) == (ERROR, f"error: {__file__} is no recording of market data\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_recording_ends_well(sim, home, tmp_path, number):
    out = tmp_path / "market.rec"
    command = [HIVE, "record", "--pairs", "BTC-USDT", "--out", str(out), *addresses(sim)]
    recording = subprocess.Popen(command, env=home.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: out.exists() and out.stat().st_size > 2_000, "something is written")
    recording.send_signal(number)
    output, errors = recording.communicate(timeout=30)
    assert (recording.returncode, errors) == (OK, "")
    assert "messages in" in output
    assert Recording(out).summary().complete


def test_a_recorder_whose_terminal_is_killed_finishes_its_file_and_goes(sim, home, tmp_path):
    out = tmp_path / "market.rec"
    command = [HIVE, "record", "--pairs", "BTC-USDT", "--out", str(out), *addresses(sim)]
    recording = subprocess.Popen(command, env=home.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: out.exists() and out.stat().st_size > 2_000, "something is written")
    recording.kill()
    recording.wait()
    until(lambda: Recording(out).summary().ended, "the feed finished the recording")
    until(lambda: not ours(), "the feed is gone")
    assert Recording(out).summary().complete


def test_a_killed_feed_leaves_a_recording_that_plays(sim, tmp_path):
    out = tmp_path / "market.rec"
    feed = Feed(sim.urls, record=str(out))
    feed.start(PAIRS)
    until(lambda: feed.counter("recorded") > 150, "records were written")
    seen = feed.counter("messages")
    feed.end(signal.SIGKILL)
    feed.close()
    summary = Recording(out).summary()
    assert not summary.ended
    assert 0 < summary.counts[Kind.MESSAGE] <= seen + 1_000
    replay = played(out, 0.0)
    assert replay["messages"] == summary.counts[Kind.MESSAGE]
    assert replay["gaps"] == 0


def test_a_restarted_feed_records_to_a_file_of_its_own(sim, tmp_path):
    out = tmp_path / "market.rec"
    for epoch in (1, 2):
        feed = Feed(sim.urls, epoch=epoch, record=str(out))
        feed.start(["BTC-USDT"])
        assert feed.end() == 0
        feed.close()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["market.rec", "market.rec.1"]
    assert Recording(tmp_path / "market.rec.1").summary().complete


def played(path, speed, kinds=("book", "trades")):
    """Play a recording in a feed process; return its counters, and a digest of the books at its end."""
    feed = Feed({"rest_url": "", "ws_url": ""}, mode="replay", file=str(path), speed=speed)
    try:
        feed.start()
        feed.want(PAIRS, kinds=kinds)
        over = feed.event("the replay is over")
        result = {name: feed.counter(name) for name in ("messages", "updates", "trades", "gaps", "malformed")}
        books = []
        for pair in PAIRS:
            assert feed.state(pair) == STALE
            book = feed.reader(pair).copy()
            books.append((pair, book.update_id, *(list(map(float, side)) for side in (book.bid_px, book.ask_px))))
        result["digest"] = hashlib.sha256(repr(books).encode()).hexdigest()
        result["seconds"] = float(over.split(" in ")[1].split()[0])
        assert feed.end() == 0
        return result
    finally:
        feed.close()


def test_a_recorded_feed_plays_the_same_at_every_speed_and_ends_at_the_markets_book(sim, tmp_path):
    out = tmp_path / "market.rec"
    feed = Feed(sim.urls, record=str(out), audit_interval_s=1.0)
    feed.start(PAIRS)
    sim.fault("gap", symbol="BTCUSDT", count=3)  # one alone may fall into the time of a snapshot
    until(lambda: feed.counter("resyncs") >= 1, "a book was resynced")
    sim.fault("drop")
    until(lambda: feed.counter("reconnects") >= 1 and feed.counter("recorded") > 300, "a connection was lost")
    until(lambda: all(feed.state(pair) == 1 for pair in PAIRS), "every book is live again")
    until(lambda: feed.counter("recorded") > 500, "enough was recorded")
    assert feed.end() == 0
    last = {pair: feed.reader(pair).copy() for pair in PAIRS}
    live = {name: feed.counter(name) for name in ("messages", "trades", "malformed")}
    feed.close()
    assert Recording(out).summary().complete
    fast, slow = played(out, 0.0), played(out, 3.0)
    assert fast["digest"] == slow["digest"]
    assert {name: fast[name] for name in live} == {name: slow[name] for name in live} == live
    books = [
        (pair, one.update_id, *(list(map(float, side)) for side in (one.bid_px, one.ask_px)))
        for pair, one in last.items()
    ]
    assert fast["digest"] == hashlib.sha256(repr(books).encode()).hexdigest()
    assert slow["seconds"] >= Recording(out).summary().last_ns / 1e9 / 3.0 - 0.5
    assert fast["seconds"] < slow["seconds"]


def test_messages_for_a_benchmark_are_those_that_came(sim, home, tmp_path):
    out = tmp_path / "market.rec"
    options = ["--pairs", "BTC-USDT", "--duration", "2", "--out", str(out)]
    assert home.run("record", *options, *addresses(sim)).returncode == OK
    messages = [json.loads(data) for _, data in replay_messages(out)]
    diffs = [one for one in messages if one.get("e") == "depthUpdate"]
    assert len(diffs) > 5
    assert all(later["U"] == earlier["u"] + 1 for earlier, later in itertools.pairwise(diffs))


def root(folder):
    """Make a folder with the watching script and its configuration."""
    for name in ("scripts", "conf/scripts", "seen"):
        (folder / name).mkdir(parents=True)
    (folder / "scripts/watcher.py").write_text(WATCHER)
    config = {"script_file_name": "watcher.py", "trading_pair": "BTC-USDT", "folder": str(folder / "seen")}
    (folder / "conf/scripts/watcher.yml").write_text(json.dumps(config))
    return folder


def seen(folder, pair):
    """Return the prices that the watching script of a pair has written down."""
    file = folder / "seen" / pair
    return file.read_text().split() if file.exists() else []


def fleet(command, venue):
    command.file.write_text(FLEET.replace("VENUE", venue).format(name=command.name))


def test_a_fleet_is_recorded_and_strategies_run_over_the_recording(home, tmp_path):
    folder = root(tmp_path / "root")
    fleet(home, "mode: sim, seed: 5, record: market.rec")
    home.up("--root", str(folder), "--report", str(home.report))
    home.wait_for(lambda: all(len(seen(folder, pair)) > 50 for pair in TWO), "fifty ticks each")
    assert home.stop() == OK, (home.folder / "output.txt").read_text()
    recording = tmp_path / "market.rec"
    summary = Recording(recording).summary()
    assert summary.complete
    assert len(summary.streams) == 4
    assert json.loads(home.report.read_text())["totals"]["orders"]["submitted"] == 2
    for one in (folder / "seen").iterdir():
        one.unlink()

    fleet(home, "mode: replay, file: market.rec, speed: 1.0")
    home.up("--root", str(folder), "--report", str(home.report))
    home.wait_for(lambda: any("the replay is over" in str(one) for one in home.lines()), "the replay is over")
    time.sleep(0.3)
    assert home.stop() == OK
    report = json.loads(home.report.read_text())
    assert report["venues"][0]["mode"] == "replay"
    assert report["totals"]["errors"] == 0
    assert report["totals"]["orders"]["submitted"] == report["totals"]["orders"]["rejected"] == 2
    logs = "".join(one.read_text() for one in (tmp_path / "state").rglob("*.log"))
    assert "venue binance is a replay" in logs
    for pair in TWO:
        prices = seen(folder, pair)
        assert len(prices) > 10
        assert len(set(prices)) > 3, "the market moved"


def test_a_fleet_over_a_missing_recording_is_refused_with_the_place(home, tmp_path):
    fleet(home, "mode: replay, file: none.rec")
    done = home.run("check", str(home.file), "--root", str(root(tmp_path / "root")))
    assert done.returncode == CONFIG
    assert "fleet.yml: venues.binance.file: there is no" in done.stderr
