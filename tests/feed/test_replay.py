"""Replays: the books of a recording, version by version, at any speed; against a market that keeps its own books."""

import asyncio
import hashlib
import json
from types import SimpleNamespace

import pytest

from feed.conftest import DEPTH, Memory
from feed.made_recording import PAIRS, VENUE, Script
from hive.feed.candle_desk import CandleDesk
from hive.feed.errors import BootError
from hive.feed.recording import Recording
from hive.feed.replay import ReplayFeed
from hive.feed.settings import VenueConfig
from hive.shm.book import EMPTY, HALTED, LIVE, RESYNCING, STALE


class Run:
    """One replay and what readers saw of it, looked at after every record."""

    def __init__(self, path, speed, **config):
        self.memory = Memory()
        self.told = []
        self.versions = []  # (pair, update id, bids, asks) of each version
        self.states = {pair: [EMPTY] for pair in PAIRS.values()}
        self._seen = {}
        self.over = asyncio.Event()
        self.feed = ReplayFeed(
            VenueConfig(0, "test", "binance", "", "", mode="replay", file=str(path), speed=speed, **config),
            self.memory.table,
            self.memory.trades,
            self.memory.metrics,
            DEPTH,
            self._tell,
            tops=self.memory.tops,
            begin_after_s=0.0,
            observer=self._look,
        )

    def _tell(self, message):
        self.told.append(message)
        if message["type"] == "event" and ("is over" in message["text"] or "ends here" in message["text"]):
            self.over.set()

    def _look(self, kind, ns):
        for pair in PAIRS.values():
            if self.memory.directory.find(pair) < 0:
                continue
            reader = self.memory.reader(pair)
            if self.states[pair][-1] != reader.state:
                self.states[pair].append(reader.state)
            if reader.version != self._seen.get(pair, -1):
                self._seen[pair] = reader.version
                book = reader.copy()
                bids = list(zip(book.bid_px.tolist(), book.bid_qty.tolist(), strict=True))
                asks = list(zip(book.ask_px.tolist(), book.ask_qty.tolist(), strict=True))
                self.versions.append((pair, book.update_id, bids, asks))

    async def play(self):
        task = asyncio.create_task(self.feed.run())
        self.feed.want("test", [(pair, "book") for pair in PAIRS.values()])
        try:
            over = asyncio.create_task(self.over.wait())
            done, _ = await asyncio.wait([task, over], timeout=60, return_when=asyncio.FIRST_COMPLETED)
            assert done, f"not over: {self.told}"
            if task in done:
                task.result()
            self._look(0, 0)
        finally:
            over.cancel()
            task.cancel()
            await asyncio.wait([task, over])
        return self

    @property
    def digest(self):
        return hashlib.sha256(repr(self.versions).encode()).hexdigest()

    def count(self, name):
        return getattr(self.memory.metrics, name).value

    def close(self):
        self.memory.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "market.rec"


@pytest.fixture
def script(path):
    return Script(path)


async def played(path, speed=0.0, **config):
    run = Run(path, speed, **config)
    try:
        return await run.play()
    finally:
        run.result = SimpleNamespace(
            **{name: run.count(name) for name in ("gaps", "resyncs", "malformed", "duplicates", "trades", "snapshots")}
        )
        run.close()


def eventful(script):
    """A life with everything in it."""
    script.begin()
    script.diffs(1, 40)
    script.trade(1)
    script.market.diff("BTCUSDT")  # lost
    script.diffs(1, 5)
    script.snapshots()
    script.diffs(1, 20)
    script.message(1, b"no json")
    script.diffs(1, 5)
    script.on(1).on_down("lost")
    script.diffs(2, 0)
    script.on(1).on_up()
    script.market.diff("ETHUSDT")
    script.subscribed(1)
    script.diffs(1, 4)
    script.snapshots(500)
    script.diffs(1, 30)
    script.on(2).on_up()  # a replacement: both deliver the same for a while
    both = [script.market.diff(symbol) for _ in range(6) for symbol in PAIRS]
    for one in both[:4]:
        script.message(1, one)
    script.subscribed(2)
    for one in both[2:]:
        script.message(2, one)  # ahead of the old one
    for one in both[4:]:
        script.message(1, one)
    script.on(1).on_down("given up")
    script.trade(2)
    script.diffs(2, 30)
    script.snapshots()  # an audit
    script.diffs(2, 30)
    script.rules(trading=False)
    script.diffs(2, 2)
    script.rules()
    script.diffs(2, 200)
    script.close()
    return script.market


async def test_every_version_is_a_book_that_the_market_had(script, path):
    market = eventful(script)
    run = await played(path)
    assert len(run.versions) > 600
    for pair, update_id, bids, asks in run.versions:
        assert [bids, asks] == market.tops[pair, update_id]
    for pair in PAIRS.values():
        ids = [update_id for one, update_id, _, _ in run.versions if one == pair]
        assert ids == sorted(ids)
        assert ids[-1] == market.ids[pair.replace("-", "")]


async def test_states_follow_what_happened_and_end_stale(script, path):
    eventful(script)
    run = await played(path)
    assert run.states["BTC-USDT"] == [EMPTY, LIVE, RESYNCING, LIVE, STALE, LIVE, STALE, RESYNCING, LIVE,
                                      HALTED, LIVE, STALE]  # fmt: skip
    assert run.states["ETH-USDT"] == [EMPTY, LIVE, STALE, LIVE, STALE, RESYNCING, LIVE, HALTED, LIVE, STALE]
    assert (run.result.gaps, run.result.malformed, run.result.trades) == (1, 1, 2)
    assert run.result.duplicates >= 4, "what both connections brought"
    assert run.told[-1]["level"] == "info"
    assert "the replay is over" in run.told[-1]["text"]


async def test_a_replay_is_the_same_at_every_speed(script, path):
    eventful(script)
    length_s = Recording(path).summary().last_ns / 1e9
    runs = [await played(path, speed) for speed in (0.0, 10.0, 0.0, 4.0)]
    assert len({run.digest for run in runs}) == 1
    assert len({json.dumps(run.states) for run in runs}) == 1
    times = [float(run.told[-1]["text"].split(" in ")[1].split()[0]) for run in runs]
    assert times[1] >= length_s / 10 - 0.1
    assert times[3] >= length_s / 4 - 0.1


async def test_a_different_market_has_another_digest(script, path, tmp_path):
    eventful(script)
    other = Script(tmp_path / "other.rec")
    other.begin()
    other.diffs(1, 50)
    other.close()
    assert (await played(path)).digest != (await played(tmp_path / "other.rec")).digest


async def test_a_torn_recording_plays_up_to_where_it_is_torn_and_says_so(script, path):
    market = eventful(script)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 40])
    run = await played(path)
    assert "it was torn" in run.told[-1]["text"]
    assert run.told[-1]["level"] == "warning"
    for pair, update_id, bids, asks in run.versions:
        assert [bids, asks] == market.tops[pair, update_id]


async def test_after_a_hole_books_are_not_live_until_a_snapshot_joined(path):
    script = Script(path)
    script.begin()
    script.diffs(1, 5)
    recorder = script.recorder
    recorder.flush()
    recorder._room_bytes = 0
    script.diffs(1, 5)
    recorder.flush()  # dropped
    recorder._room_bytes = 1 << 20
    script.diffs(1, 3)
    script.rules()
    script.snapshots()
    script.diffs(1, 5)
    script.close()
    run = await played(path)
    assert Recording(path).summary().dropped == 10
    assert run.states["BTC-USDT"] == [EMPTY, LIVE, RESYNCING, LIVE, STALE]
    assert any("misses records here" in one.get("text", "") for one in run.told)
    for pair, update_id, bids, asks in run.versions:
        assert [bids, asks] == script.market.tops[pair, update_id]


async def test_pairs_that_the_recording_does_not_have_are_refused(script, path):
    script.begin()
    script.close()
    run = Run(path, 0.0)
    run.feed.want("other", [("DOGE-USDT", "book"), ("BTC-USDT", "trades")])
    await run.play()
    run.feed.want("late", [("XRP-USDT", "book")])
    run.close()
    unknown = [one["pair"] for one in run.told if one["type"] == "unknown"]
    assert unknown == ["DOGE-USDT", "XRP-USDT"]


async def test_nothing_plays_before_somebody_wants_something(script, path):
    script.begin()
    script.close()
    run = Run(path, 0.0)
    task = asyncio.create_task(run.feed.run())
    await asyncio.to_thread(lambda: None)
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert run.memory.metrics.messages.value == 0
    run.feed.want("somebody", [("BTC-USDT", "book")])
    async with asyncio.timeout(30):
        await run.over.wait()
    assert run.memory.metrics.messages.value == 7
    task.cancel()
    await asyncio.wait([task])
    run.close()


async def test_damage_in_the_middle_ends_the_replay_with_stale_books(script, path):
    script.begin()
    for _ in range(40):
        script.diffs(1, 10)
        script.recorder.flush()
    script.close()
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(whole)
    run = await played(path)
    assert "damaged at byte" in run.told[-1]["text"]
    assert run.told[-1]["level"] == "error"
    assert run.states["BTC-USDT"][-1] == STALE


def test_a_file_that_cannot_be_played_ends_the_boot(tmp_path, script, path, memory):
    script.close()

    def feed(file, **config):
        config = VenueConfig(0, "test", "binance", "", "", mode="replay", file=str(file), **config)
        ReplayFeed(config, memory.table, memory.trades, memory.metrics, DEPTH, lambda message: None)

    with pytest.raises(BootError, match=r"none\.rec: No such file"):
        feed(tmp_path / "none.rec")
    (tmp_path / "text").write_text("no recording, though it is long enough")
    with pytest.raises(BootError, match="is no recording"):
        feed(tmp_path / "text")
    with pytest.raises(BootError, match="speed must be >= 0, was -1"):
        feed(path, speed=-1)


async def test_candles_are_served_from_the_recorded_history_and_stream(path):
    script = Script(path)
    minute = 60_000
    script.begin()
    script.on(1).on_subscribed(["btcusdt@kline_1m"])
    rows = [[n * minute, "1", "3", "1", "2", "5", (n + 1) * minute - 1, "9", 4, "1", "1", "0"] for n in range(5)]
    script.answer(VENUE.klines_request("BTCUSDT", "1m", 777), json.dumps(rows).encode())
    for n in (4, 5, 6):
        k = {"t": n * minute, "T": (n + 1) * minute - 1, "i": "1m", "o": "1", "c": "2", "h": "4", "l": "1", "v": "6"}
        k |= {"n": 5, "x": True, "q": "9", "V": "1", "Q": "1", "s": "BTCUSDT"}
        script.message(1, json.dumps({"e": "kline", "E": 1, "s": "BTCUSDT", "k": k}).encode())
        script.diffs(1, 40)
    script.close()
    run = Run(path, 0.0)
    made = []

    def create(name, size, kind):
        made.append(run.memory._create(name, size, kind))
        return made[-1]

    run.feed.candles = CandleDesk(
        "test", run.feed.venue, 100, create, lambda segment: None, run._tell, run.memory.metrics,
        wall_ns=run.feed.wall_ns,
    )  # fmt: skip
    run.feed.want("candles", [("BTC-USDT", "candles:1m")])
    await run.play()
    told = [one for one in run.told if one["type"] == "series"]
    assert [(one["pair"], one["interval"], one["segment"]) for one in told] == [("BTC-USDT", "1m", made[0].name)]
    assert run.count("candles") >= 7
    assert run.count("candle_gaps") == 0
    run.close()
