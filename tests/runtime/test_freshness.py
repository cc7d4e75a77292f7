"""What books that are not live, halts and changed rules do to an unmodified strategy."""

import logging
from dataclasses import replace
from decimal import Decimal

from hummingbot.core.event.events import MarketOrderFailureEvent

from hive.shm.book import EMPTY, HALTED, LIVE, REMOVED, STALE, STATE_NAMES
from hive.shm.messages import IntentKind
from tests.runtime.conftest import PAIRS
from tests.runtime.test_strategies import PMM, events

BTC, ETH = PAIRS


def connector_of(stage, name):
    return stage.cores[name].host_data.connectors["binance"]


def reasons(context):
    return [event.error_message for event in events(context, MarketOrderFailureEvent)]


async def buy(stage, name, pair, price):
    """Buy as a strategy does: from inside its context."""
    connector = connector_of(stage, name)
    stage.callbacks.bump()
    order_type = connector.supported_order_types()[0]
    stage.cores[name].run(connector.buy, pair, Decimal("0.9"), order_type, Decimal(price))
    await stage.settle()


async def start(stage, name="a"):
    """Start a strategy that is ready, and too poor to place anything: orders are the test's."""
    await stage.start(name, "v1", "pure_market_making", {**PMM, "order_amount": 1e-9})
    await stage.tick(2)
    return connector_of(stage, name)


async def test_a_strategy_is_ready_only_while_its_books_are_live(stage):
    connector = await start(stage)
    assert connector.ready
    for state in (EMPTY, STALE, HALTED):
        stage.set_state(BTC, state)
        assert not connector.ready
    stage.set_state(BTC, LIVE)
    assert connector.ready
    stage.table.remove(stage.slots[BTC])
    assert not connector.ready


async def test_an_order_is_refused_while_any_book_that_the_strategy_uses_is_not_live(stage):
    connector = await start(stage)
    await stage.cores["a"].create_task(connector.add_trading_pair(ETH))
    for state in (STALE, HALTED):
        stage.set_state(ETH, state)
        await buy(stage, "a", BTC, 99)
        await buy(stage, "a", ETH, 9)
        stage.set_state(ETH, LIVE)
    stage.table.remove(stage.slots[ETH])
    await buy(stage, "a", BTC, 99)
    assert stage.venue.placed == []
    told = [f"book of {ETH} is {STATE_NAMES[state]}" for state in (STALE, STALE, HALTED, HALTED, REMOVED)]
    assert reasons(stage.cores["a"]) == told
    assert stage.cores["a"].counters.orders_refused.value == len(told)


async def test_a_pair_that_a_strategy_gives_up_is_not_wanted_and_does_not_hold_it_back(stage):
    connector = await start(stage)
    await stage.cores["a"].create_task(connector.add_trading_pair(ETH))
    assert {pair for pair, _ in stage.market.wanted()[0]} == {BTC, ETH}
    assert await stage.cores["a"].create_task(connector.remove_trading_pair(ETH))
    assert {pair for pair, _ in stage.market.wanted()[0]} == {BTC}
    stage.set_state(ETH, STALE)
    await buy(stage, "a", BTC, 99)
    assert len(stage.venue.placed) == 1


async def test_an_order_names_the_version_and_epoch_that_its_strategy_saw(stage):
    await start(stage)
    stage.quote(BTC, 105.0)
    await buy(stage, "a", BTC, 99)
    (intent,) = stage.venue.placed
    book = connector_of(stage, "a").order_book_tracker.order_books[BTC]
    assert (intent.kind, intent.book_epoch) == (IntentKind.PLACE, 1)
    assert intent.book_version == book.version == 2
    assert (book.epoch, book.state) == (1, LIVE)


async def test_rules_that_the_venue_changes_reach_the_strategy(stage, caplog):
    connector = await start(stage)
    caplog.set_level(logging.INFO)
    stage.table.add(replace(stage.rules(BTC), tick=Decimal("0.5"), min_notional=Decimal(50)))
    await stage.tick()
    assert connector.trading_rules[BTC].min_price_increment == Decimal("0.5")
    assert connector.quantize_order_price(BTC, Decimal("99.30")) == Decimal("99.0")
    assert "binance changed the trading rules of BTC-USDT" in caplog.text
    assert stage.cores["a"].counters.halts.value == 0


async def test_a_halt_is_logged_counted_and_ends(stage, caplog):
    connector = await start(stage)
    caplog.set_level(logging.INFO)
    for trading, state in ((False, HALTED), (True, LIVE)):
        stage.table.add(replace(stage.rules(BTC), trading=trading))
        stage.set_state(BTC, state)
        await stage.tick()
        assert connector.ready is trading
    assert "binance halted BTC-USDT: no orders until it trades again" in caplog.text
    assert "binance trades BTC-USDT again" in caplog.text
    assert stage.cores["a"].counters.halts.value == 1
    await buy(stage, "a", BTC, 99)
    assert len(stage.venue.placed) == 1


async def test_a_book_that_was_removed_is_read_again_when_it_is_back(stage):
    connector = await start(stage)
    book = connector.get_order_book(BTC)
    assert book.get_price(True) == 100.01
    stage.table.remove(stage.slots[BTC])
    stage.callbacks.bump()
    assert book.get_price(True) == 100.01  # the last good version stays, and no order may be based on it
    stage.slots[BTC] = stage.table.add(stage.rules(BTC))
    stage.quote(BTC, 200.0)
    stage.callbacks.bump()
    assert connector.ready
    assert book.get_price(True) == 200.01
