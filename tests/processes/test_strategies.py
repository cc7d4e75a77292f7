"""Hummingbot's own strategies and executors, unmodified, on two exchanges: judged by the exchanges' own records.

The second exchange speaks the same protocol under another connector's name and has a market of its own, so that prices
differ and what crosses both finds something to do.
"""

import os
import re
import signal
from decimal import Decimal

import pytest
from hummingbot.strategy_v2.models.executors import CloseType

from fleet_run import fills_of, has_traded, tags, wait_until
from gate.bench import Exchange
from venues_run import VenuesRun

TRADE_WITHIN_S = 120.0
SIM = ["--rate", "300", "--symbols", "21", "--maker-ppm", "100", "--taker-ppm", "100"]
SIM += ["--orders-10s", "5000", "--weight-limit", "60000"]
BALANCES = {
    # What these two strategies trade follows from what they find: the one keeps a total, the other hedges it away.
    "LTC": "2",
    "DOT": "100",
    # It wants to hold as much of the one as of the other.
    "BTC": "0.8",
    # It prices its whole balance against the taker's book.
    "SOL": "100",
    "USDT": "50000",
    **dict.fromkeys(("ETH", "BNB", "AVAX", "LINK", "UNI", "ATOM", "NEAR", "APT", "ARB", "OP", "FIL", "INJ"), "2000"),
    **dict.fromkeys(("XRP", "DOGE", "ADA", "TRX"), "100000"),
}

V1 = {
    "pmm_options": "pure_market_making",
    "avellaneda": "avellaneda_market_making",
    "liquidity": "liquidity_mining",
    "xemm": "cross_exchange_market_making",
    "mining": "cross_exchange_mining",
    "arb": "amm_arb",
    "hedge": "hedge",
}
ON_BOTH = {"xemm", "mining", "arb"}  # fills on both exchanges

# The executor of each, and the ends of which one is enough; xemm_executor names none when it has done both its orders.
EXECUTORS = {
    "position_stop_loss": ("position_executor", {"STOP_LOSS"}),
    "position_take_profit": ("position_executor", {"TAKE_PROFIT"}),
    "position_trailing_stop": ("position_executor", {"TRAILING_STOP"}),
    "position_time_limit": ("position_executor", {"TIME_LIMIT"}),
    "dca": ("dca_executor", {"TAKE_PROFIT", "TIME_LIMIT"}),
    "grid": ("grid_executor", {"TAKE_PROFIT", "TIME_LIMIT"}),
    "twap": ("twap_executor", {"COMPLETED"}),
    "order": ("order_executor", {"POSITION_HOLD"}),
    "arbitrage": ("arbitrage_executor", {"COMPLETED"}),
    "xemm_executor": ("xemm_executor", {"None"}),
}
HELD = "position_held"  # its executor has no reason to end but the end of the fleet
CANDLES = {
    "id": "bands",
    "script": "controllers_runner",
    "set": {"controllers_config": ["bands_eth.yml"]},
    "tick_interval_ms": 1000,
}
ENDED = re.compile(r"(\w+): an executor ended as (\w+)")


def v1(name):
    return {"id": name, "strategy": V1[name], "config": f"{name}.yml", "tick_interval_ms": 1000}


def controlled(name):
    config = {"controllers_config": [f"{name}.yml"]}
    return {"id": name, "script": "controllers_runner", "set": config, "tick_interval_ms": 1000}


@pytest.fixture
def exchanges():
    options = [*SIM, *(text for asset, amount in BALANCES.items() for text in ("--balance", f"{asset}={amount}"))]
    made = {}
    for seed, name in enumerate(("binance", "kucoin"), 11):
        made[name] = Exchange(*options, "--seed", str(seed))
    yield made
    for exchange in made.values():
        exchange.close()


@pytest.fixture
def launch(tmp_path, exchanges):
    runs = []

    def make(strategies, **sections):
        run = VenuesRun(tmp_path, exchanges, strategies, **sections)
        runs.append(run)
        return run

    yield make
    for run in runs:
        run.close()


def filled(orders):
    return [order for order in orders if order["fills"]]


def ends_told(run):
    """Return the ends that the controllers have logged, by controller."""
    told = {}
    for file in run.logs.rglob("*.log"):
        for name, end in ENDED.findall(file.read_text(errors="replace")):
            told.setdefault(name, set()).add(end)
    return told


def missing(run):
    """Return what has not been seen yet, each with what there is of it."""
    nothing = {venue: [] for venue in run.exchanges}
    orders, told = run.orders_by_venue(), ends_told(run)
    waiting = {}
    for name, tag in tags([*V1, HELD, "bands"]).items():
        of_each = orders.get(tag, nothing)
        everywhere = [order for venue in of_each.values() for order in venue]
        if name in ON_BOTH:
            done = all(filled(venue) for venue in of_each.values())
        elif name in ("hedge", HELD):
            done = filled(everywhere)
        else:
            done = has_traded(everywhere)
        if not done:
            waiting[name] = {venue: [order["status"] for order in placed] for venue, placed in of_each.items()}
    for name, (_, ends) in EXECUTORS.items():
        if not told.get(name, set()) & ends:
            waiting[name] = told.get(name)
    return waiting


def test_every_spot_strategy_and_executor_trades_and_ends_as_hummingbot_means_it_to(launch):
    names = [*V1, *EXECUTORS, HELD, "bands"]
    strategies = [*map(v1, V1), *map(controlled, [*EXECUTORS, HELD]), CANDLES]
    run = launch(strategies, feed={"depths": {"SOL-USDT": 500}}, risk={"self_trade": "allow"})
    run.up()
    run.wait_running(120)
    seen = {}

    def all_done():
        assert run.process.poll() is None, run.text()
        seen["missing"] = missing(run)
        return not seen["missing"]

    try:
        wait_until(all_done, "every strategy trading on its exchanges", TRADE_WITHIN_S)
    except AssertionError as error:
        raise AssertionError(f"{error}: {seen['missing']}\n{run.text()}") from None
    assert {one["state"] for one in run.status()["strategies"]} == {"running"}
    assert run.stop() == 0, run.text()
    assert run.open_orders() == []
    recorded = run.orders_by_venue()
    assert set(recorded) <= set(tags(names).values())
    for name, tag in tags(names).items():
        there = [order for venue in recorded[tag].values() for order in venue]
        assert run.seen_fills(name) == fills_of(there), name
    for name, (kind, ends) in {**EXECUTORS, HELD: ("position_executor", {"EARLY_STOP"})}.items():
        stored = run.executor_ends(name)
        assert {one[0] for one in stored} == {kind}, stored
        assert {CloseType(end).name if end else "None" for _, end, _ in stored} & ends, (name, stored)
    unknown = {one["id"]: one["orders"]["unknown"] for one in run.report()["strategies"]}
    assert not any(unknown.values()), unknown


def test_barriers_close_their_positions_though_the_strategy_is_paused_or_the_feed_was_stopped(tmp_path):
    exchange = Exchange()  # quiet: a price falls when the test lets it fall
    names = ["position_paused", "position_falls", "position_expires"]
    run = VenuesRun(tmp_path, {"binance": exchange}, [*map(controlled, names)], runtime={"hang_after_ms": 600_000})
    owners = tags(names)

    def of(name, side):
        return [one for one in run.recorded_orders().get(owners[name], []) if one["side"] == side]

    def let_fall(symbol):
        bid = Decimal(exchange.get(f"/api/v3/depth?symbol={symbol}&limit=5")["bids"][0][0])
        floor = (bid * Decimal("0.99")).quantize(Decimal("0.01"))
        exchange.post("/sim/trade", {"symbol": symbol, "side": "SELL", "quantity": "10000", "price": str(floor)})

    def state(name):
        return next(one["state"] for one in run.status()["strategies"] if one["id"] == name)

    def waits(name):
        logs = "".join(file.read_text(errors="replace") for file in run.logs.rglob("*.log"))
        return re.search(rf"{owners[name]}-\w+ closes a position and waits to be sent", logs)

    try:
        run.up(workers=1)
        run.wait_running(120)
        wait_until(lambda: all(filled(of(name, "BUY")) for name in names), "all positions open")
        (feed,) = run.pids("feed")
        os.kill(feed, signal.SIGSTOP)
        let_fall("BTCUSDT")
        wait_until(lambda: waits("position_expires"), "the time limit due, and its order waiting")
        assert not any(of(name, "SELL") for name in names)
        os.kill(feed, signal.SIGCONT)
        wait_until(lambda: all(filled(of(name, "SELL")) for name in names[1:]), "both positions closed")
        assert run.pids("feed") == [feed]
        paused = run.hive("pause", "position_paused")
        assert paused.returncode == 0, paused.stdout + paused.stderr
        wait_until(lambda: state("position_paused") == "paused", "the strategy paused")
        let_fall("SOLUSDT")
        wait_until(lambda: filled(of("position_paused", "SELL")), "the paused one's position closed")
        assert state("position_paused") == "paused"
        assert run.stop() == 0, run.text()
        ends = {name: [CloseType(end).name for _, end, _ in run.executor_ends(name)] for name in names}
        assert ends == dict(zip(names, (["STOP_LOSS"], ["STOP_LOSS"], ["TIME_LIMIT"]), strict=True))
        for name in names:
            (bought,), (sold,) = filled(of(name, "BUY")), filled(of(name, "SELL"))
            assert float(sold["executedQty"]) >= float(bought["executedQty"]) * 0.98, (bought, sold)
    finally:
        run.close()
        exchange.close()
