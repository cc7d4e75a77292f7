"""Hummingbot's own candle factory, data provider and controllers on the series of shared memory."""

import asyncio
import math
import secrets
import time

import numpy as np
import pandas as pd
import pytest
from hummingbot.core.network_iterator import NetworkStatus
from hummingbot.data_feed.candles_feed.candles_base import CandlesBase
from hummingbot.data_feed.candles_feed.candles_factory import CandlesFactory, UnsupportedConnectorException
from hummingbot.data_feed.candles_feed.data_types import CandlesConfig, HistoricalCandlesConfig
from hummingbot.data_feed.market_data_provider import MarketDataProvider

from hive.shm.book import LIVE, RESYNCING, STALE
from hive.shm.candles import CandleWriter, candles_size
from hive.shm.messages import Side
from hive.shm.segment import Segment, segment_name
from hummingbot.runtime import candles as runtime_candles
from hummingbot.runtime.errors import UnknownVenue

TOUCH = {"exchange": "binance", "trading_pair": "BTC-USDT", "order_amount_quote": 60, "spread": "0.01"}
BTC = {"connector": "binance", "trading_pair": "BTC-USDT", "interval": "1m"}
FIRST_S = 1_700_000_040
CAPACITY = 120


class Series:
    """A series as the feed would publish it for a stage's market data."""

    def __init__(self, stage, pair="BTC-USDT", interval="1m", step_s=60):
        name = segment_name(secrets.token_hex(4), "candles.binance.0", 1)
        self.segment = Segment.create(name, candles_size(CAPACITY), kind="candles", epoch=1)
        self.writer = CandleWriter(self.segment, pair, interval, step_s * 1000, CAPACITY)
        self.step_s = step_s
        self.segment.beat(time.monotonic_ns())
        self.tell = lambda: stage.market.mark_series(0, pair, interval, name)

    def put(self, number, close, closed=True):
        """Publish candle `number`; each value is told by its number and its close."""
        open_ms = (FIRST_S + number * self.step_s) * 1000
        self.writer.update(
            open_ms, open_ms + self.step_s * 1000 - 1, close - 1, close + 2, close - 3, close, 4.0 + number,
            5.0 * close, 60 + number, 2.0, 2.5 * close, closed, time.monotonic_ns(),
        )  # fmt: skip
        self.segment.beat(time.monotonic_ns())

    def fill(self, count, close=100.0):
        for number in range(count):
            self.put(number, close, closed=number < count - 1)
        self.state(LIVE)

    def state(self, state, now_ns=None):
        self.writer.set_state(state, time.monotonic_ns() if now_ns is None else now_ns)
        self.segment.beat(time.monotonic_ns())


@pytest.fixture
def series(stage):
    made = []

    def make(**kwargs):
        made.append(Series(stage, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.segment.unlink()


@pytest.fixture
async def inside(stage):
    """inside(fn): what fn() returns in the context of a running strategy."""
    await stage.start("a", "script", "touch_maker", TOUCH)
    return stage.cores["a"].run


def wants(stage):
    return [wish for wish in stage.market.wanted().get(0, []) if wish[1].startswith("candles")]


async def test_a_stock_data_provider_reads_the_shared_series(stage, series, inside):
    one = series()
    provider = MarketDataProvider({})
    feed = inside(lambda: provider.get_candles_feed(CandlesConfig(**BTC, max_records=50)))
    assert wants(stage) == [("BTC-USDT", "candles:1m")]
    assert (feed.ready, provider.ready, len(feed.candles_df)) == (False, False, 0)
    one.fill(70)
    one.tell()
    assert (feed.ready, provider.ready) == (True, True)
    frame = inside(lambda: provider.get_candles_df("binance", "BTC-USDT", "1m", 30))
    assert list(frame.columns) == CandlesBase.columns
    assert {str(kind) for kind in frame.dtypes} == {"float64"}
    np.testing.assert_array_equal(frame["timestamp"], FIRST_S + 60.0 * np.arange(40, 70))
    np.testing.assert_array_equal(
        frame.iloc[-1].to_numpy(), [FIRST_S + 69 * 60, 99, 102, 97, 100, 73, 500, 129, 2, 250]
    )
    one.put(69, 101.5)
    one.put(70, 103.0, closed=False)
    frame = inside(lambda: provider.get_candles_df("binance", "BTC-USDT", "1m", 30))
    assert list(frame["close"].iloc[-3:]) == [100, 101.5, 103]
    provider.stop()
    assert wants(stage) == []


async def test_a_frame_is_the_callers_own(stage, series, inside):
    one = series()
    one.fill(40)
    one.tell()
    feed = inside(lambda: CandlesFactory.get_candle(CandlesConfig(**BTC, max_records=30)))
    feed.start()
    first = feed.candles_df
    expected = pd.DataFrame(feed.candles_df.to_numpy(), columns=CandlesBase.columns)
    first["close"] = 0.0
    first["signal"] = 1
    first.columns.name = "mine"
    feed.candles_df.columns.name = "mine too"
    pd.testing.assert_frame_equal(feed.candles_df, expected)
    assert expected["close"].iloc[-1] == 100
    feed.stop()


async def test_strategies_share_one_series_and_it_is_wanted_until_the_last_has_left(stage, series, inside):
    await stage.start("b", "script", "touch_maker", {**TOUCH, "trading_pair": "ETH-USDT"})
    one = series()
    one.fill(40)
    one.tell()
    config = CandlesConfig(**BTC, max_records=30)
    first = inside(lambda: CandlesFactory.get_candle(config))
    second, third = (stage.cores["b"].run(lambda: CandlesFactory.get_candle(config)) for _ in range(2))
    for feed in (first, second, third):
        feed.start()
        feed.start()
        assert feed.ready
    assert wants(stage) == [("BTC-USDT", "candles:1m")]
    assert first._reader() is second._reader() is third._reader()
    for feed, left in ((first, 1), (second, 1), (third, 0)):
        feed.stop()
        feed.stop()
        assert (len(wants(stage)), feed.ready, len(feed.candles_df)) == (left, False, 0)


async def test_a_strategy_that_ends_wants_its_candles_no_more(stage, inside):
    inside(lambda: CandlesFactory.get_candle(CandlesConfig(**BTC))).start()
    assert len(wants(stage)) == 1
    stage.market.release("a")
    assert wants(stage) == []


async def test_candles_are_ready_only_while_the_series_is_live(stage, series, inside):
    one = series()
    one.fill(40)
    one.tell()
    feed = inside(lambda: CandlesFactory.get_candle(CandlesConfig(**BTC, max_records=30)))
    feed.start()
    assert feed.network_status is NetworkStatus.CONNECTED
    assert await feed.check_network() is NetworkStatus.CONNECTED
    for state in (STALE, RESYNCING):
        one.state(state)
        assert (feed.ready, len(feed.candles_df)) == (False, 30)
        one.state(state, time.monotonic_ns() - runtime_candles.SERVED_ON_NS)
        assert (feed.ready, len(feed.candles_df)) == (False, 0)
    one.state(LIVE)
    assert (feed.ready, len(feed.candles_df)) == (True, 30)
    one.segment.beat(0, 0)  # a feed that does not beat is dead
    assert (feed.ready, len(feed.candles_df)) == (False, 0)
    feed.stop()


async def test_the_series_of_the_feeds_next_epoch_takes_over(stage, series, inside):
    old, new = series(), series()
    old.fill(40, close=100.0)
    new.fill(40, close=200.0)
    old.tell()
    feed = inside(lambda: CandlesFactory.get_candle(CandlesConfig(**BTC, max_records=30)))
    feed.start()
    assert feed.candles_df["close"].iloc[-1] == 100
    new.tell()
    assert feed.candles_df["close"].iloc[-1] == 200
    gone = "/hive.00000000.candles.binance.7.1"
    stage.market.mark_series(0, "BTC-USDT", "1m", gone)
    assert (feed.ready, len(feed.candles_df)) == (False, 0)
    feed.stop()


async def test_history_within_what_is_kept_is_served_and_older_falls_back(stage, series, inside, caplog):
    one = series()
    one.fill(CAPACITY + 30)
    one.tell()
    provider = MarketDataProvider({})
    config = CandlesConfig(**BTC, max_records=CAPACITY)
    inside(lambda: provider.get_candles_feed(config))
    oldest = FIRST_S + 30 * 60

    async def history(**kwargs):
        return await provider.get_historical_candles_df("binance", "BTC-USDT", "1m", **kwargs)

    frame = await stage.cores["a"].create_task(history(start_time=oldest + 600, end_time=oldest + 1200))
    np.testing.assert_array_equal(frame["timestamp"], oldest + 600 + 60 * np.arange(11))
    frame = await stage.cores["a"].create_task(history(start_time=oldest - 6000, end_time=oldest + 600))
    assert f"the fleet keeps from {oldest} on: see feed.candles" in caplog.text
    assert len(frame) == CAPACITY
    feed = provider.candles_feeds["binance_BTC-USDT_1m"]
    rows = await feed.fetch_candles(end_time=oldest + 600, limit=4)
    np.testing.assert_array_equal(rows[:, 0], oldest + 600 - 60 * np.arange(3, -1, -1))
    rows = await feed.fetch_candles(start_time=oldest + 600, limit=4)
    np.testing.assert_array_equal(rows[:, 0], oldest + 600 + 60 * np.arange(4))
    with pytest.raises(ValueError, match="Either the start time or end time"):
        await feed.fetch_candles()
    provider.stop()


@pytest.mark.parametrize("ask", ["history", "fetch"])
async def test_a_question_for_history_wants_a_series_that_is_new_and_waits_until_it_is_complete(
    stage, series, inside, ask
):
    feed = inside(lambda: CandlesFactory.get_candle(CandlesConfig(**BTC, max_records=30)))
    times = {"start_time": FIRST_S + 600, "end_time": FIRST_S + 900}
    if ask == "history":
        question = feed.get_historical_candles(
            HistoricalCandlesConfig(connector_name="binance", trading_pair="BTC-USDT", interval="1m", **times)
        )
    else:
        question = feed.fetch_candles(**times)
    asked = asyncio.create_task(question)
    await stage.settle()
    assert wants(stage) == [("BTC-USDT", "candles:1m")]
    assert not asked.done()
    one = series()
    one.fill(CAPACITY)
    one.tell()
    found = np.asarray(await asked)
    np.testing.assert_array_equal(found[:, 0], FIRST_S + 600 + 60 * np.arange(6))
    assert wants(stage) == []
    assert (feed.ready, len(feed.candles_df)) == (False, 0)  # it was never started


async def test_a_question_for_history_that_is_refused_or_never_answered_ends(stage, inside, monkeypatch):
    feed = inside(lambda: CandlesFactory.get_candle(CandlesConfig(**BTC, max_records=30)))
    asked = asyncio.create_task(feed.fetch_candles(start_time=FIRST_S))
    await stage.settle()
    stage.market.mark_series(0, "BTC-USDT", "1m", "", "no candles of 1m")
    with pytest.raises(ValueError, match="the fleet keeps none now"):
        await asked
    monkeypatch.setattr(runtime_candles, "COMPLETE_WITHIN_NS", 0)
    with pytest.raises(ValueError, match="the fleet keeps none now"):
        await feed.fetch_candles(start_time=FIRST_S)
    assert wants(stage) == []


async def test_more_than_the_fleet_keeps_is_an_error_that_is_logged_once(stage, series, inside, caplog):
    one = series()
    one.fill(CAPACITY)
    one.tell()
    feed = inside(lambda: CandlesFactory.get_candle(CandlesConfig(**BTC, max_records=5000)))
    feed.start()
    assert feed.ready
    assert feed.ready
    text = f"Candles of binance_BTC-USDT 1m: 5000 are wanted, the fleet keeps {CAPACITY}: see feed.candles"
    assert caplog.text.count(text) == 1
    assert len(feed.candles_df) == CAPACITY
    feed.stop()


async def test_what_cannot_be_served_says_why(stage, inside, caplog):
    def get(**kwargs):
        return inside(lambda: CandlesFactory.get_candle(CandlesConfig(**{**BTC, **kwargs})))

    with pytest.raises(ValueError, match=r"candles of BTC-USDT: interval must be one of 1s, 1m, .*, was '7m'"):
        get(interval="7m")
    with pytest.raises(ValueError, match="max_records must be >= 1, was 0"):
        get(max_records=0)
    with pytest.raises(UnknownVenue, match="exchange kraken: the fleet has no such venue, it has binance"):
        get(connector="kraken")
    with pytest.raises(UnsupportedConnectorException, match="The connector nowhere is not available"):
        get(connector="nowhere")
    feed = get(interval="3d")
    feed.start()
    stage.market.mark_series(0, "BTC-USDT", "3d", "", "a kind must be candles: with 1m, was 'candles:3d'")
    assert (feed.ready, feed.ready, len(feed.candles_df)) == (False, False, 0)
    assert caplog.text.count("Candles of binance_BTC-USDT 3d: a kind must be candles: with 1m, was") == 1
    unlisted = get()
    unlisted.start()
    stage.market.mark_unknown(0, "BTC-USDT", "binance does not list BTC-USDT")
    assert not unlisted.ready
    assert "Candles of binance_BTC-USDT 1m: binance does not list BTC-USDT" in caplog.text
    unlisted.stop()
    with pytest.raises(NotImplementedError, match="binance_BTC-USDT 3d: shared candles cannot be loaded from /tmp"):
        feed.load_candles_from_csv("/tmp")
    feed.stop()


async def test_no_candles_exist_outside_of_a_strategy(host_config):
    with pytest.raises(Exception, match="no strategy's context is entered here"):
        CandlesFactory.get_candle(CandlesConfig(**BTC))


@pytest.mark.parametrize(("last", "side"), [(90.0, Side.BUY), (110.0, Side.SELL)])
async def test_an_unmodified_directional_controller_trades_on_them(stage, series, last, side):
    await stage.start("bands", "script", "controllers_runner", {"controllers_config": ["bands_eth.yml"]})
    one = series(pair="ETH-USDT", interval="1s", step_s=1)
    for number in range(CAPACITY):
        one.put(number, 100.0 + math.sin(number))
    one.state(LIVE)
    one.tell()
    for attempt in range(60):
        one.segment.beat(time.monotonic_ns())
        stage.quote("ETH-USDT", 100.0)
        await stage.tick()
        if attempt == 15:
            assert stage.venue.placed == [], "the price is between the bands"
            one.put(CAPACITY, last, closed=False)
        if stage.venue.placed:
            break
        await asyncio.sleep(0.1)  # controllers act in loops of their own, once a second
    controller = stage.cores["bands"].host_data.strategy.controllers["bands_eth"]
    assert controller.processed_data["signal"] == (1 if side is Side.BUY else -1)
    assert [(order.pair, order.side) for order in stage.venue.placed] == [("ETH-USDT", side)]
    assert len(controller.to_format_status()) == 1
    assert wants(stage) == [("ETH-USDT", "candles:1s")]
