"""halt, resume and flat with real processes: what the exchange sees of a fleet that may not trade."""

import json
import os
import signal

import pytest

from fleet_run import HIVE, FleetRun, tags, wait_until
from gate.bench import Exchange
from hive.cli_errors import ERROR, NOT_FOUND, OK, TIMEOUT
from terminal import Terminal

STRATEGIES = {"left": "BTC-USDT", "right": "ETH-USDT"}


@pytest.fixture(scope="module")
def exchange():
    exchange = Exchange("--rate", "100")
    yield exchange
    exchange.clear()
    exchange.close()


def fleet(folder, exchange) -> FleetRun:
    strategies = [
        {
            "id": name,
            "script": "touch_maker",
            "config": "touch_maker.yml",
            "set": {"trading_pair": pair, "refresh_seconds": 1, "spread": 0.003},
        }
        for name, pair in STRATEGIES.items()
    ]
    return FleetRun(folder, exchange, strategies)


@pytest.fixture(scope="module")
def run(tmp_path_factory, exchange):
    """The fleet of all tests but one; each leaves it without a halt, and it is stopped well after them."""
    made = fleet(tmp_path_factory.mktemp("shared"), exchange)
    made.up()
    try:
        made.wait_running()
        yield made
        assert made.stop() == 0, made.text()
    finally:
        made.close()
    assert exchange.open_orders() == []


class Orders:
    """What the exchange has of each strategy."""

    def __init__(self, run: FleetRun) -> None:
        self._run = run
        self._tags = tags(list(STRATEGIES))

    def count(self, strategy: str) -> int:
        return len(self._run.recorded_orders().get(self._tags[strategy], []))

    def wait_for_more(self, strategy: str, by: int = 2) -> None:
        before = self.count(strategy)
        wait_until(lambda: self.count(strategy) >= before + by, f"{by} more orders of {strategy}\n{self._run.text()}")


@pytest.fixture
def orders(run):
    return Orders(run)


def told(run: FleetRun, *words: str) -> str:
    """Run a command that must succeed; return what it printed."""
    result = run.hive(*words)
    assert result.returncode == OK, (words, result.stdout, result.stderr)
    return result.stdout


def gate_of(run: FleetRun) -> dict:
    return json.loads(told(run, "gate", "--json", "--interval", "0.2"))


def halted(run: FleetRun) -> dict[str, bool]:
    """Return who is halted, as the gate itself counts it."""
    return {one["id"]: one["halted"] == 1 for one in gate_of(run)["strategies"] if one["venue"]}


def test_a_halt_outlives_the_gate_and_the_fleet(tmp_path, exchange):
    run = fleet(tmp_path, exchange)
    try:
        halt_and_start_again(run)
    finally:
        run.close()


def halt_and_start_again(run: FleetRun) -> None:
    orders = Orders(run)
    run.up()
    run.wait_running()
    orders.wait_for_more("right")
    told(run, "halt")
    wait_until(lambda: all(halted(run).values()), "the gate has halted all")
    before = {name: orders.count(name) for name in STRATEGIES}
    (gate,) = run.pids("gate")
    os.kill(gate, signal.SIGKILL)
    wait_until(lambda: run.pids("gate") not in ([], [gate]), "a new gate")
    wait_until(lambda: list(halted(run).values()) == [True, True], "the new gate has halted all")
    assert run.stop() == 0, run.text()
    run.up()
    run.wait_running()
    assert "halted since before this start: the whole fleet (hive halt); lifted by `hive resume`" in run.text()
    refused = wait_until(lambda: gate_of(run)["refusals"].get("halted"), "orders that were refused")
    assert refused > 0
    assert {name: orders.count(name) for name in STRATEGIES} == before
    told(run, "resume")
    orders.wait_for_more("left")
    orders.wait_for_more("right")
    assert run.stop() == 0, run.text()


def test_a_halted_strategy_places_nothing_while_others_trade_and_goes_on_when_resumed(run, orders):
    orders.wait_for_more("left")
    assert told(run, "halt", "--strategy", "left", "--reason", "test") == "fleet trial: halted: strategy left (test)\n"
    wait_until(lambda: halted(run) == {"left": True, "right": False}, "the gate has halted left")
    before = orders.count("left")
    orders.wait_for_more("right", 4)
    assert orders.count("left") == before
    wait_until(lambda: not open_of(run, "left"), "left's cancels have passed")
    refusals = run.status()["totals"]["refusals"]
    assert refusals["halted"] > 0
    assert set(refusals) == {"halted"}
    assert "HALTED strategy left: test" in told(run, "status")
    assert told(run, "resume", "--strategy", "left").endswith("fleet trial: nothing is halted\n")
    orders.wait_for_more("left")


def open_of(run: FleetRun, strategy: str) -> list[dict]:
    mine = run.recorded_orders().get(tags([strategy])[strategy], [])
    return [order for order in mine if order["status"] in ("NEW", "PARTIALLY_FILLED")]


def test_flat_leaves_nothing_open_and_the_fleet_halted(run, orders, exchange):
    for name in STRATEGIES:
        orders.wait_for_more(name)
    wait_until(exchange.open_orders, "open orders")
    foreign = exchange.place_around("someone-else", exchange.best("bid") / 2 // 1)
    said = told(run, "flat", "--cancel-all", "--timeout", "20")
    assert said == "fleet trial: nothing of it is open, says the venue; it stays halted until `hive resume`\n"
    assert [order["orderId"] for order in exchange.open_orders()] == [foreign["orderId"]]
    before = {name: orders.count(name) for name in STRATEGIES}
    refused = gate_of(run)["refusals"].get("halted", 0)
    wait_until(lambda: gate_of(run)["refusals"].get("halted", 0) > refused, "orders that were refused")
    assert {name: orders.count(name) for name in STRATEGIES} == before
    told(run, "resume")
    orders.wait_for_more("left")
    exchange.signed("DELETE", "/api/v3/order", symbol="BTCUSDT", orderId=foreign["orderId"])


def test_flat_at_a_venue_that_answers_nothing_never_says_that_all_is_well(run, orders, exchange):
    orders.wait_for_more("left")
    wait_until(exchange.open_orders, "open orders")
    exchange.fault("stall", seconds=20)
    result = run.hive("flat", "--cancel-all", "--timeout", "3")
    assert result.returncode in (ERROR, TIMEOUT), (result.stdout, result.stderr)
    assert "it stays halted" in result.stderr
    exchange.clear()
    told(run, "flat", "--cancel-all", "--timeout", "30")
    assert exchange.open_orders() == []
    told(run, "resume")


def test_several_commands_at_once_and_wrong_names(run):
    wrong = run.hive("halt", "--strategy", "middle")
    assert (wrong.returncode, wrong.stderr) == (
        NOT_FOUND,
        "error: there is no strategy middle; there are left, right\n",
    )
    told(run, "halt", "--venue", "binance", "--reason", "one")
    told(run, "flat", "--cancel-all")
    lines = told(run, "resume").splitlines()
    assert lines == [
        "fleet trial: the whole fleet may trade, as far as nothing else is halted",
        "fleet trial: halted: venue binance (one)",
    ]
    wait_until(lambda: gate_of(run)["venues"][0]["halted"] == 1, "the venue is halted still")
    told(run, "resume", "--venue", "binance")
    wait_until(lambda: gate_of(run)["venues"][0]["halted"] == 0, "nothing is halted")


def test_the_gate_is_watched_in_a_terminal_and_on_a_page_of_hive_top(run):
    told(run, "halt", "--venue", "binance", "--reason", "look")
    with Terminal([*HIVE, "gate", "--watch", "--interval", "0.2"], run.env) as terminal:
        terminal.wait_for("hive gate  fleet trial")
        terminal.wait_for("HALTED venue binance: look")
        terminal.resize(10, 60)
        terminal.wait_for("more: the window is too low")
        terminal.type("q")
        assert terminal.ended() == OK
    with Terminal([*HIVE, "top", "--interval", "0.3"], run.env) as terminal:
        terminal.wait_for("hive top  fleet trial")
        terminal.wait_for("HALTED: venue binance")
        terminal.type("g")
        terminal.wait_for("gate  fleet trial")  # curses writes only what has changed
        terminal.wait_for("binance new")
        terminal.type("g")
        terminal.wait_for("PROCESS")
        terminal.type("q")
        assert terminal.ended() == OK
    told(run, "resume", "--venue", "binance")
