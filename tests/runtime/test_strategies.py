"""Unmodified Hummingbot strategies side by side: each has its own configuration, orders, fills and singletons."""

import asyncio
import shutil
from decimal import Decimal

import pytest
from hummingbot.client.hummingbot_application import HummingbotApplication
from hummingbot.connector.markets_recorder import MarketsRecorder
from hummingbot.core.data_type.common import OrderType, TradeType
from hummingbot.core.data_type.in_flight_order import InFlightOrder
from hummingbot.core.event.event_forwarder import SourceInfoEventForwarder
from hummingbot.core.event.events import MarketEvent, OrderFilledEvent
from hummingbot.core.rate_oracle.rate_oracle import RateOracle
from hummingbot.model.market_data import MarketData

from hive.shm.ids import parse_order_id, strategy_tag
from hive.shm.messages import OrderType as IntentOrderType
from hive.shm.messages import ReplyKind, Side
from hummingbot.runtime.errors import StrategyConfigError, UnknownVenue
from hummingbot.runtime.trades import TRADE_EVENT
from runtime.conftest import EXAMPLES
from runtime.pmm import PMM

MARKET_DATA = {"timestamp": 1, "exchange": "binance", "mid_price": 1, "best_bid": 1, "best_ask": 1, "order_book": {}}
TOUCH = {"exchange": "binance", "trading_pair": "BTC-USDT", "order_amount_quote": 60, "spread": "0.01"}


def events(context, kind):
    connector = context.host_data.connectors["binance"]
    return [event for event in connector.event_logs if isinstance(event, kind)]


async def test_a_v1_strategy_places_through_its_real_starter_and_sees_its_fill(stage):
    await stage.start("a", "v1", "pure_market_making", PMM)
    await stage.tick(3)
    assert {(order.side, order.price) for order in stage.venue.placed} == {(Side.BUY, 99), (Side.SELL, 101)}
    bid = next(order for order in stage.venue.placed if order.side is Side.BUY)
    assert bid.order_type is IntentOrderType.LIMIT_MAKER
    assert bid.book_version >= 0
    stage.venue.fill(bid)
    await stage.settle()
    (fill,) = events(stage.cores["a"], OrderFilledEvent)
    assert (fill.order_id, fill.price, fill.amount) == (bid.client_order_id, bid.price, bid.amount)
    assert fill.trade_fee.flat_fees[0].token == "BTC"


async def test_strategies_of_one_kind_do_not_share_their_configuration(stage):
    for name, spread in (("a", 1), ("b", 2), ("c", 3)):
        await stage.start(name, "v1", "pure_market_making", {**PMM, "bid_spread": spread})
    await stage.tick(3)
    bids = {parse_order_id(o.client_order_id)[1]: o.price for o in stage.venue.placed if o.side is Side.BUY}
    assert bids == {strategy_tag("a"): 99, strategy_tag("b"): 98, strategy_tag("c"): 97}


async def test_scripts_of_one_file_do_not_share_their_markets(stage):
    await stage.start("btc", "script", "touch_maker", TOUCH)
    await stage.start("eth", "script", "touch_maker", {**TOUCH, "trading_pair": "ETH-USDT"})
    await stage.tick(3)
    traded = {(parse_order_id(order.client_order_id)[1], order.pair) for order in stage.venue.placed}
    assert traded == {(strategy_tag("btc"), "BTC-USDT"), (strategy_tag("eth"), "ETH-USDT")}


async def test_controllers_open_their_executors_orders(stage):
    config = {"controllers_config": ["ladder_btc.yml"]}
    await stage.start("ladder", "script", "controllers_runner", config)
    core = stage.cores["ladder"].host_data
    for _ in range(40):
        await stage.tick()
        if stage.venue.placed:
            break
        await asyncio.sleep(0.1)  # controllers act in loops of their own, once a second
    assert {order.pair for order in stage.venue.placed} == {"BTC-USDT"}
    assert set(core.strategy.controllers) == {"ladder_btc"}


async def test_a_fill_reaches_only_the_strategy_whose_order_it_was(stage):
    await stage.start("a", "v1", "pure_market_making", PMM)
    await stage.start("b", "v1", "pure_market_making", PMM)
    await stage.tick(3)
    mine = [order for order in stage.venue.placed if parse_order_id(order.client_order_id)[1] == strategy_tag("b")]
    stage.venue.fill(mine[0])
    await stage.settle()
    assert events(stage.cores["a"], OrderFilledEvent) == []
    assert [event.order_id for event in events(stage.cores["b"], OrderFilledEvent)] == [mine[0].client_order_id]


async def test_each_strategy_records_into_a_database_of_its_own(stage):
    await stage.start("rec-a", "v1", "pure_market_making", PMM)
    await stage.start("rec-b", "v1", "pure_market_making", PMM)
    for name in ("rec-a", "rec-b"):
        recorder = stage.cores[name].host_data.markets_recorder
        stage.cores[name].run(recorder._insert, MarketData, {**MARKET_DATA, "trading_pair": name}, "keep")
        assert await recorder._line.written(30)
    for name in ("rec-a", "rec-b"):
        core = stage.cores[name].host_data
        with core.trade_fill_db.get_new_session() as session:
            assert [row.trading_pair for row in session.query(MarketData).all()] == [name]
        assert core.trade_fill_db.db_path.endswith(f"{name}.sqlite")


async def test_singletons_answer_for_the_strategy_that_asks(stage):
    await stage.start("a", "v1", "pure_market_making", PMM)
    await stage.start("b", "v1", "pure_market_making", PMM)
    for name in ("a", "b"):
        context = stage.cores[name]
        core = context.host_data
        assert context.run(lambda: HummingbotApplication.main_application().trading_core) is core
        assert context.run(lambda: MarketsRecorder.get_instance().sql_manager) is core.trade_fill_db
        rate = Decimal(5 if name == "a" else 7)
        context.run(lambda rate=rate: RateOracle.get_instance().set_price("XYZ-USDT", rate))
    rates = [stage.cores[name].run(lambda: RateOracle.get_instance().get_pair_rate("XYZ-USDT")) for name in ("a", "b")]
    assert rates == [5, 7]
    asking = stage.cores["a"].run(lambda: RateOracle.get_instance().get_rate("BTC"))
    assert await stage.cores["a"].create_task(asking) == 100  # USDT: the client configuration's global token


async def test_an_unknown_fate_leaves_the_order_open_until_the_venue_ends_it(stage):
    stage.venue.hold = True
    await stage.start("a", "v1", "pure_market_making", PMM)
    await stage.tick(3)
    connector = stage.cores["a"].host_data.connectors["binance"]
    for order in stage.venue.placed:
        stage.venue.say(order, ReplyKind.UNKNOWN, exchange_order_id="")
    await stage.tick(100)  # ten seconds of a strategy that wants to refresh its orders
    assert {order.exchange_order_id for order in connector.in_flight_orders.values()} == {"UNKNOWN"}
    assert len(connector.in_flight_orders) == len(stage.venue.placed) == 2
    late = stage.venue.placed[0]
    stage.venue.fill(late)
    await stage.settle()
    assert [event.order_id for event in events(stage.cores["a"], OrderFilledEvent)] == [late.client_order_id]
    assert set(connector.in_flight_orders) == {stage.venue.placed[1].client_order_id}
    stage.venue.hold = False  # it answers the cancel with which the strategy ends


@pytest.mark.parametrize("known", [True, False])
async def test_orders_of_an_earlier_run_are_ended_before_the_strategy_trades(stage, known):
    stage.venue.forgets = not known
    await stage.start("again", "v1", "pure_market_making", PMM)
    connector = stage.cores["again"].host_data.connectors["binance"]
    name = f"{connector.client_order_id_prefix}left-open"
    order = InFlightOrder(name, "BTC-USDT", OrderType.LIMIT, TradeType.BUY, Decimal(1), 1.0, Decimal(90))
    stage.cores["again"].run(lambda: connector.restore_tracking_states({name: order.to_json()}))
    assert name in connector.in_flight_orders
    await stage.settle()
    assert stage.venue.cancelled == [name]
    assert name not in connector.in_flight_orders


async def test_an_order_of_an_earlier_run_whose_cancel_is_refused_is_not_given_up(stage):
    stage.venue.closed = True
    await stage.start("again", "v1", "pure_market_making", PMM)
    connector = stage.cores["again"].host_data.connectors["binance"]
    connector.end_again_s = 0.01
    name = f"{connector.client_order_id_prefix}left-open"
    order = InFlightOrder(name, "BTC-USDT", OrderType.LIMIT, TradeType.BUY, Decimal(1), 1.0, Decimal(90))
    stage.cores["again"].run(lambda: connector.restore_tracking_states({name: order.to_json()}))
    await stage.settle()
    assert stage.venue.cancelled
    assert name in connector.in_flight_orders  # the venue has it, and it may be filled
    stage.venue.closed = False
    async with asyncio.timeout(60):
        while name in connector.in_flight_orders:
            await asyncio.sleep(0.01)
            await stage.settle()
    assert set(stage.venue.cancelled) == {name}


async def test_a_strategy_that_asks_to_be_stopped_leaves_no_order_behind(stage):
    await stage.start("quitter", "v1", "pure_market_making", PMM)
    await stage.tick(3)
    context = stage.cores["quitter"]
    assert len(context.host_data.connectors["binance"].in_flight_orders) == 2
    context.run(lambda: HummingbotApplication.main_application().stop())
    await stage.settle()
    assert set(stage.venue.cancelled) == {order.client_order_id for order in stage.venue.placed}
    assert stage.states[-1] == ("quitter", "paused", "the strategy asked to be stopped")


async def test_a_rejected_order_is_an_ordinary_order_failure(stage):
    stage.venue.refuse = "Account has insufficient balance for requested action."
    await stage.start("a", "v1", "pure_market_making", PMM)
    await stage.tick(3)
    connector = stage.cores["a"].host_data.connectors["binance"]
    failures = [event for event in connector.event_logs if type(event).__name__ == "MarketOrderFailureEvent"]
    assert len(failures) == len(stage.venue.placed) >= 2
    assert "insufficient balance" in failures[0].error_message
    assert not connector.in_flight_orders


async def test_a_partial_fill_then_a_cancel_arrive_in_the_venues_order(stage):
    await stage.start("a", "v1", "pure_market_making", PMM)
    await stage.tick(3)
    order = stage.venue.placed[0]
    connector = stage.cores["a"].host_data.connectors["binance"]
    seen = []
    listener = SourceInfoEventForwarder(lambda tag, source, event: seen.append((tag, event.order_id)))
    for kind in (MarketEvent.OrderFilled, MarketEvent.OrderCancelled):
        connector.add_listener(kind, listener)
    stage.venue.fill(order, amount=order.amount / 2, final=False)
    stage.venue.say(order, ReplyKind.CANCELLED)
    await stage.settle()
    mine = order.client_order_id
    assert seen == [(MarketEvent.OrderFilled.value, mine), (MarketEvent.OrderCancelled.value, mine)]


async def test_an_error_that_upstream_code_logs_counts_for_its_own_strategy(stage):
    for name in ("a", "b"):
        await stage.start(name, "v1", "pure_market_making", PMM)
    await stage.tick(2)
    stage.cores["b"].run(lambda: stage.cores["b"].host_data.strategy.logger().error("an order level is missing"))
    assert [stage.cores[name].counters.errors.value for name in ("a", "b")] == [0, 1]


async def test_balances_are_the_accounts_and_live(stage):
    await stage.start("a", "v1", "pure_market_making", PMM)
    connector = stage.cores["a"].host_data.connectors["binance"]
    assert connector.get_available_balance("USDT") == Decimal("1000000")
    stage.venue.open_account(USDT="5")
    await stage.settle()
    assert connector.get_available_balance("USDT") == connector.get_balance("USDT") == 5


async def test_a_listening_strategy_hears_every_trade_once(stage):
    config = {
        "strategy": "avellaneda_market_making",
        "exchange": "binance",
        "market": "BTC-USDT",
        "execution_timeframe_mode": {},
        "order_amount": 0.1,
        "order_refresh_time": 5.0,
        "trading_intensity_buffer_size": 5,
        "volatility_buffer_size": 5,
    }
    await stage.start("avellaneda", "v1", "avellaneda_market_making", config)
    core = stage.cores["avellaneda"].host_data
    await stage.tick(2)
    book = core.connectors["binance"].get_order_book("BTC-USDT")
    assert book.get_listeners(TRADE_EVENT)
    heard = []
    listener = SourceInfoEventForwarder(
        lambda tag, source, trade: heard.append((trade.price, trade.amount, trade.type))
    )
    book.add_listener(TRADE_EVENT, listener)
    stage.trade("BTC-USDT", 100.5, 0.5)
    stage.trade("ETH-USDT", 10.0, 1.0)
    stage.trade("BTC-USDT", 99.5, 0.25, buyer_is_maker=True)
    await stage.tick(2)
    assert heard == [(100.5, 0.5, TradeType.BUY), (99.5, 0.25, TradeType.SELL)]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**PMM, "bid_spred": 1}, "conf/a.yml: bid_spred: strategy pure_market_making has no such key"),
        ({**PMM, "bid_spread": "wide"}, "conf/a.yml: bid_spread: "),
        ({**PMM, "order_amount": None}, "conf/a.yml: order_amount: Field required"),
    ],
)
async def test_a_bad_v1_configuration_names_file_key_and_rule(stage, config, message):
    with pytest.raises(StrategyConfigError) as caught:
        await stage.start("a", "v1", "pure_market_making", config, "conf/a.yml")
    assert str(caught.value).startswith(message)


async def test_a_bad_script_configuration_names_file_key_and_rule(stage):
    with pytest.raises(StrategyConfigError, match=r"conf/a.yml: order_amount_quote: Input should be greater than 0"):
        await stage.start("a", "script", "touch_maker", {**TOUCH, "order_amount_quote": 0}, "conf/a.yml")


async def test_an_exchange_without_a_venue_is_refused_by_name(stage):
    with pytest.raises(UnknownVenue, match="exchange kucoin: the fleet has no such venue, it has binance"):
        await stage.start("a", "script", "touch_maker", {**TOUCH, "exchange": "kucoin"})


async def test_a_value_of_a_script_that_does_not_do_is_shown(stage):
    with pytest.raises(StrategyConfigError, match=r"conf/a.yml: spread: Input should be a valid decimal, was 'lots'"):
        await stage.start("a", "script", "touch_maker", {**TOUCH, "spread": "lots"}, "conf/a.yml")


@pytest.fixture
def root(tmp_path):
    """A copy of the examples, to make mistakes in."""
    for folder in ("scripts", "controllers", "conf/controllers"):
        shutil.copytree(EXAMPLES / folder, tmp_path / "root" / folder)
    return tmp_path / "root"


async def start_ladder(stage, root):
    config = {"controllers_config": ["ladder_btc.yml"]}
    with pytest.raises(StrategyConfigError) as caught:
        await stage.start("a", "script", "controllers_runner", config, "conf/scripts/a.yml", root=str(root))
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cooldown_time", "cooldown_tme", "cooldown_tme: Extra inputs are not permitted"),
        ("leverage: 1", "leverage: many", "leverage: Input should be a valid integer"),
    ],
)
async def test_a_wrong_key_or_value_of_a_controller_is_named_with_its_file(stage, root, old, new, message):
    path = root / "conf" / "controllers" / "ladder_btc.yml"
    path.write_text(path.read_text().replace(old, new))
    assert (await start_ladder(stage, root)).startswith(f"conf/controllers/ladder_btc.yml: {message}")


async def test_an_error_of_a_scripts_own_code_is_told_with_file_and_line(stage, root):
    script = root / "scripts" / "controllers_runner.py"
    script.write_text(script.read_text() + "\n\nnever_defined()\n")
    line = len(script.read_text().splitlines())
    assert await start_ladder(stage, root) == (
        f"conf/scripts/a.yml: script controllers_runner: scripts/controllers_runner.py, line {line}: "
        "NameError: name 'never_defined' is not defined"
    )
