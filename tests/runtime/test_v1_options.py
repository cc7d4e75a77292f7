"""Options of V1 strategies that their real starters read: each must be seen in what is placed, and nowhere else."""

from decimal import Decimal

import pytest

from hive.shm.messages import Side
from hummingbot.runtime.errors import StrategyConfigError
from hummingbot.runtime.price_sources import price_markets
from runtime.pmm import PMM

AMM_ARB = {
    "strategy": "amm_arb",
    "connector_1": "binance",
    "market_1": "BTC-USDT",
    "connector_2": "binance",
    "market_2": "BTC-USDT",
    "order_amount": 1,
    "min_profitability": 1,
}


@pytest.mark.parametrize(
    ("options", "bids", "asks"),
    [
        ({}, {99}, {101}),
        ({"order_levels": 3, "order_level_spread": 1}, {99, 98, 97}, {101, 102, 103}),
        ({"order_override": {"a": ["buy", 2, 0.1], "b": ["sell", 3, 0.1]}}, {98}, {103}),
        (
            {
                "split_order_levels_enabled": True,
                "bid_order_level_spreads": "1,4",
                "bid_order_level_amounts": "0.1,0.1",
                "ask_order_level_spreads": "2",
                "ask_order_level_amounts": "0.1",
            },
            {99, 96},
            {102},
        ),
        ({"price_ceiling": 90}, set(), {101}),
        ({"price_floor": 110}, {99}, set()),
        ({"price_type": "best_bid"}, {98.99}, {100.98}),
        ({"order_optimization_enabled": True, "bid_spread": 0.001, "ask_spread": 0.001}, {99.99}, {100}),
    ],
)
async def test_options_of_pure_market_making_show_in_its_orders(stage, options, bids, asks):
    await stage.start("a", "v1", "pure_market_making", {**PMM, **options})
    await stage.tick(3)
    placed = {side: {one.price for one in stage.venue.placed if one.side is side} for side in Side}
    assert placed == {Side.BUY: {Decimal(str(price)) for price in bids}, Side.SELL: {Decimal(str(p)) for p in asks}}


async def test_inventory_skew_puts_everything_on_the_side_that_is_wanting(stage):
    skew = {"inventory_skew_enabled": True, "inventory_target_base_pct": 50, "inventory_range_multiplier": 1}
    await stage.start("skewed", "v1", "pure_market_making", {**PMM, **skew})
    await stage.tick(3)
    placed = [(one.side, one.price, one.amount) for one in stage.venue.placed]
    assert placed == [(Side.BUY, 99, Decimal("0.2"))]  # the account holds far more of the quote


@pytest.mark.parametrize("ping_pong", [True, False])
async def test_with_ping_pong_the_side_that_was_filled_waits_for_the_other(stage, ping_pong):
    await stage.start("pong", "v1", "pure_market_making", {**PMM, "ping_pong_enabled": ping_pong})
    await stage.tick(3)
    stage.venue.fill(next(one for one in stage.venue.placed if one.side is Side.BUY))
    before = len(stage.venue.placed)
    await stage.tick(100)  # ten seconds: past the delay after a fill, and the next refresh
    assert any(one.side is Side.BUY for one in stage.venue.placed[before:]) is not ping_pong


async def test_a_hanging_order_outlives_the_refresh_of_the_others(stage):
    await stage.start("hanging", "v1", "pure_market_making", {**PMM, "hanging_orders_enabled": True})
    await stage.tick(3)
    bid, ask = sorted(stage.venue.placed, key=lambda one: one.price)
    stage.venue.fill(bid)
    await stage.tick(150)
    assert len(stage.venue.placed) >= 4
    assert ask.client_order_id not in stage.venue.cancelled


async def test_defaults_that_are_functions_are_called_for_the_strategy_that_is_loaded(stage):
    await stage.start("arb", "v1", "amm_arb", AMM_ARB)
    strategy = stage.cores["arb"].host_data.strategy
    assert strategy.min_profitability == Decimal("0.01")
    config = stage.cores["arb"].host_data.strategy_config_map
    assert (config["market_1_slippage_buffer"].value, config["concurrent_orders_submission"].value) == (0, False)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"price_source": "custom_api", "price_source_custom_api": "http://127.0.0.1:9"}, []),
    ],
)
async def test_a_strategy_without_another_market_for_its_prices_names_none(stage, options, expected):
    await stage.start("a", "v1", "pure_market_making", {**PMM, **options})
    assert price_markets(stage.cores["a"].host_data.strategy_config_map) == expected


async def test_the_market_for_prices_must_be_another_exchange_as_in_a_stock_instance(stage):
    external = {"price_source": "external_market", "price_source_exchange": "binance"}
    with pytest.raises(StrategyConfigError, match="Price source exchange cannot be the same as maker exchange"):
        await stage.start("a", "v1", "pure_market_making", {**PMM, **external})
