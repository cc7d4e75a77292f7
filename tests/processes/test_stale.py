"""What a feed that stops, hangs or dies does to strategies that are ready: judged by the exchange's own records.

The exchange outlives the fleet and is told of nothing. Its clock is this host's, so an order's `time` says whether it
came after the feed was stopped.
"""

import os
import signal
import time

import pytest

from fleet_run import tags, wait_until
from venues_run import VenuesRun

EXCHANGE = ("--rate", "200", "--symbols", "30")
KNOWN_WITHIN_MS = 100
CANCEL_AFTER_MS = 1000
SLACK_MS = 1500  # for the look at the books every 250 ms, the cancels themselves, and a busy machine
TRADE_WITHIN_S = 90.0
LONG_ENOUGH_S = 3.5

PMM = {
    "id": "pmm",
    "strategy": "pure_market_making",
    "config": "conf/strategies/pmm_btc.yml",
    "set": {"order_refresh_time": 3.0, "filled_order_delay": 1.0},
}
AVELLANEDA = {
    "id": "avellaneda",
    "strategy": "avellaneda_market_making",
    "config": "conf/strategies/avellaneda_btc.yml",
    "set": {"market": "ETH-USDT", "order_amount": 0.05, "order_refresh_time": 3.0, "filled_order_delay": 1.0},
    "tick_interval_ms": 1000,
}
LADDER = {
    "id": "ladder",
    "script": "controllers_runner",
    "set": {"controllers_config": ["ladder_quick.yml"]},
    "tick_interval_ms": 1000,
}
pytestmark = pytest.mark.alone  # how long something may take is what they are about
NAMES = ["pmm", "avellaneda", "ladder"]


@pytest.fixture
def launch(tmp_path, exchange):
    runs = []

    def make(strategies, *, hang_after_ms=600_000, **sections):
        venues = {"binance": exchange}
        run = VenuesRun(tmp_path, venues, strategies, runtime={"hang_after_ms": hang_after_ms}, **sections)
        runs.append(run)
        run.up()
        run.wait_running()
        return run

    yield make
    for run in runs:
        run.close()


def wall_ms():
    return time.time_ns() / 1e6


def wait_until_trading(run, names, since_ms=0.0):
    """Wait until each strategy has placed twice after `since_ms` and has an order open."""
    owners = tags(names)

    def all_trade():
        assert run.process.poll() is None, run.text()
        recorded = run.recorded_orders()
        of_each = [[one for one in recorded.get(tag, []) if one["time"] > since_ms] for tag in owners.values()]
        open_tags = {tag for tag, orders in recorded.items() if any(is_open(one) for one in orders)}
        return all(len(orders) >= 2 for orders in of_each) and open_tags >= set(owners.values())

    counts = lambda: {tag: len(orders) for tag, orders in run.recorded_orders().items()}  # noqa: E731
    wait_until(all_trade, f"every strategy trading: {owners}, {counts()}", TRADE_WITHIN_S)


def is_open(order):
    return order["status"] in ("NEW", "PARTIALLY_FILLED")


def placed_between(run, first_ms, last_ms):
    return [one for one in run.exchange.orders() if first_ms < one["time"] < last_ms]


def pids(run):
    return {process["pid"] for process in run.status()["processes"] if process["role"] != "feed"}


def assert_cancelled_in_time(run, resting, stopped_ms):
    """Each order that rested when the feed stopped was cancelled by the fleet, after its time and not before."""
    ended = {one["clientOrderId"]: one for one in run.exchange.orders()}
    for order in resting:
        now = ended[order["clientOrderId"]]
        assert not is_open(now), now
    late = [
        one["updateTime"] - stopped_ms
        for order in resting
        if (one := ended[order["clientOrderId"]])["status"] == "CANCELED"
    ]
    assert late, "no order was cancelled"
    assert max(late) <= CANCEL_AFTER_MS + SLACK_MS


def test_while_the_feed_is_stopped_or_dead_no_order_is_placed_and_what_rests_is_cancelled(launch, exchange):
    run = launch([PMM, AVELLANEDA, LADDER])
    wait_until_trading(run, NAMES)
    stop_the_feed_for_a_while(run, exchange)
    kill_the_feed(run, exchange)
    assert run.stop() == 0, run.text()
    assert exchange.open_orders() == []
    report = run.report()
    refused = {one["id"]: one["orders"]["refused"] for one in report["strategies"]}
    # The ladder's executors may all hold a position; then it only tries to close them, and such an order waits.
    assert min(refused["pmm"], refused["avellaneda"]) > 0, f"a strategy did not even try to place: {refused}"
    (venue,) = report["venues"]
    assert venue["stale"]["worker"]["intervals"] >= len(NAMES)
    assert venue["stale"]["gate"]["ms"] >= LONG_ENOUGH_S * 1000


def stop_the_feed_for_a_while(run, exchange):
    """Stop and continue the feed of a fleet that trades; see the exchange's records; return when all trade again."""
    (feed,) = run.pids("feed")
    others = pids(run)
    resting = exchange.open_orders()
    os.kill(feed, signal.SIGSTOP)
    stopped_ms = wall_ms()
    time.sleep(LONG_ENOUGH_S)
    assert exchange.open_orders() == []
    assert_cancelled_in_time(run, resting, stopped_ms)
    # It goes on, but what it reads is old, and the exchange's next word is 2 s away.
    exchange.fault("stall", channel="market", seconds=2)
    os.kill(feed, signal.SIGCONT)
    goes_on_ms = wall_ms()
    wait_until_trading(run, NAMES, goes_on_ms)
    assert placed_between(run, stopped_ms + KNOWN_WITHIN_MS, goes_on_ms + 1_900) == []
    assert run.pids("feed") == [feed]
    assert pids(run) == others


def kill_the_feed(run, exchange):
    """Kill the feed of a fleet that trades: no order before the next one has live books; return when all trade again.
    """
    (feed,) = run.pids("feed")
    others = pids(run)
    resting = exchange.open_orders()
    exchange.fault("http_5xx", operation="snapshot", executed=0, seconds=LONG_ENOUGH_S, count=1_000_000)
    os.kill(feed, signal.SIGKILL)
    killed_ms = wall_ms()
    time.sleep(LONG_ENOUGH_S - 0.5)
    assert exchange.open_orders() == []
    blind_until_ms = wall_ms()
    assert_cancelled_in_time(run, resting, killed_ms)
    wait_until_trading(run, NAMES, blind_until_ms)
    assert placed_between(run, killed_ms + KNOWN_WITHIN_MS, blind_until_ms) == []
    assert run.pids("feed") != [feed]
    assert pids(run) == others


def test_with_hold_resting_orders_stay_and_cancels_pass(launch, exchange):
    patient = {**PMM, "id": "patient", "set": {"order_refresh_time": 600.0, "filled_order_delay": 600.0}}
    busy = {**PMM, "id": "busy", "set": {"order_refresh_time": 2.0, "filled_order_delay": 0.5, "market": "ETH-USDT"}}
    far = {"bid_spread": 3.0, "ask_spread": 3.0}  # so that nothing is filled
    for one in (patient, busy):
        one["set"] = {**one["set"], **far}
    run = launch([patient, busy], on_stale={"mode": "hold"})
    owners = tags(["patient", "busy"])

    def resting(name):
        return [one["clientOrderId"] for one in run.recorded_orders().get(owners[name], []) if is_open(one)]

    wait_until(lambda: len(resting("patient")) == 2, "the patient one's orders")
    wait_until(lambda: len(run.recorded_orders().get(owners["busy"], [])) > 4, "the busy one's second orders")
    wait_until(lambda: len(resting("busy")) == 2, "the busy one's orders")
    (feed,) = run.pids("feed")
    held = resting("patient")
    os.kill(feed, signal.SIGSTOP)
    stopped_ms = wall_ms()
    wait_until(lambda: resting("busy") == [], "the busy one's own cancels")
    time.sleep(max(0.0, LONG_ENOUGH_S - (wall_ms() - stopped_ms) / 1e3))
    assert resting("patient") == held
    os.kill(feed, signal.SIGCONT)
    goes_on_ms = wall_ms()
    wait_until(lambda: len(resting("busy")) == 2, "the busy one goes on")
    assert placed_between(run, stopped_ms + KNOWN_WITHIN_MS, goes_on_ms) == []
    assert resting("patient") == held
    assert run.stop() == 0, run.text()
    assert exchange.open_orders() == []


def test_a_feed_that_hangs_is_replaced_and_the_same_workers_trade_on(launch, exchange):
    run = launch([PMM], hang_after_ms=1000)
    wait_until_trading(run, ["pmm"])
    (feed,) = run.pids("feed")
    others = pids(run)
    os.kill(feed, signal.SIGSTOP)
    stopped_ms = wall_ms()
    wait_until(lambda: run.pids("feed") not in ([], [feed]), "another feed")
    wait_until_trading(run, ["pmm"], stopped_ms + KNOWN_WITHIN_MS)
    assert pids(run) == others
    first_ms = min(one["time"] for one in run.exchange.orders() if one["time"] > stopped_ms + KNOWN_WITHIN_MS)
    assert first_ms > stopped_ms + 1000  # not before it was noticed and replaced
    assert run.stop() == 0, run.text()
