"""The whole path with real processes: exchange, feed, shared books, workers, gate, exchange, and back to who asked."""

import json
import os
import signal
import subprocess

import pytest
import yaml

from fleet_run import EXAMPLES, HIVE, FleetRun, ends_of, fills_of, has_traded, tags, wait_until
from hive import pure
from hive.config import load_fleet
from process_memory import holds, read
from terminal import Terminal

EXCHANGE = ("--rate", "200", "--symbols", "30")
PAIRS = [
    "BTC-USDT",
    "ETH-USDT",
    "SOL-USDT",
    "BNB-USDT",
    "XRP-USDT",
    "ADA-USDT",
    "DOGE-USDT",
    "AVAX-USDT",
    "LINK-USDT",
    "DOT-USDT",
]
TRADE_WITHIN_S = 90.0


def touch(name, pair):
    return {
        "id": name,
        "script": "touch_maker",
        "config": "touch_maker.yml",
        "set": {"trading_pair": pair, "refresh_seconds": 3},
    }


@pytest.fixture
def launch(tmp_path, exchange):
    runs = []

    def make(strategies, **sections):
        run = FleetRun(tmp_path, exchange, strategies, **sections)
        runs.append(run)
        return run

    yield make
    for run in runs:
        run.close()


def trade_and_compare(run, names, workers=2):
    """Run a fleet until each strategy was filled and placed again; then compare both sides, order by order."""
    owners = tags(names)
    run.up(workers=workers)
    assert run.wait_running()["implementation"] == pure.implementation()
    assert f"Hive's modules: {pure.implementation()}" in run.text()

    def all_traded():
        assert run.process.poll() is None, run.text()
        recorded = run.recorded_orders()
        return all(has_traded(recorded.get(tag, [])) for tag in owners.values())

    wait_until(all_traded, f"every strategy filled and placing again: {run.recorded_orders().keys()}", TRADE_WITHIN_S)
    assert run.stop() == 0, run.text()
    assert run.exchange.open_orders() == []
    recorded = run.recorded_orders()
    assert set(recorded) == set(owners.values())
    report = run.report()
    by_id = {strategy["id"]: strategy for strategy in report["strategies"]}
    for name, tag in owners.items():
        assert run.seen_fills(name) == fills_of(recorded[tag]), name
        assert run.seen_orders(name) == ends_of(recorded[tag]), name
        orders = by_id[name]["orders"]
        unsent = orders["cancelled"] - sum(end == "cancelled" for _, _, end in ends_of(recorded[tag]))
        assert orders["submitted"] == len(recorded[tag]) + unsent + orders["rejected"], by_id[name]
        assert by_id[name]["errors"] == 0, (name, by_id[name])
        assert by_id[name]["ticks"] > 0
    assert report["implementation"] == pure.implementation()
    assert (report["totals"]["mixed_books"], report["totals"]["restarts"]) == (0, 0)
    assert report["totals"]["context_unresolved"] == 0
    assert report["totals"]["orders"]["unknown"] == 0
    return report


def test_two_strategies_on_the_same_market_keep_their_orders_apart(launch):
    names = ["left", "right"]
    report = trade_and_compare(launch([touch(name, "BTC-USDT") for name in names]), names)
    assert [venue["market_connections"] for venue in report["venues"]] == [1]


def test_ten_strategies_on_ten_markets_share_one_market_connection(launch):
    names = [f"s{k}" for k in range(10)]
    pairs = dict(zip(names, PAIRS, strict=True))
    report = trade_and_compare(launch([touch(name, pair) for name, pair in pairs.items()]), names)
    assert [venue["market_connections"] for venue in report["venues"]] == [1]
    assert {strategy["worker"] for strategy in report["strategies"]} == {0, 1}


def test_the_example_fleet_trades_and_every_fill_reaches_its_own_strategy(launch):
    example = yaml.safe_load((EXAMPLES / "fleet.yml").read_text())
    run = launch(example["strategies"], rate_limiting=example["rate_limiting"], risk=example["risk"])
    check = run.hive("check", str(run.file), "--root", str(EXAMPLES))
    assert check.returncode == 0, check.stdout + check.stderr
    names = [strategy.id for strategy in load_fleet(run.file, root=EXAMPLES).strategies]
    assert len(names) >= 10
    trade_and_compare(run, names)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def has_open_orders(run):
    return len(run.exchange.open_orders()) >= 2


def test_a_killed_process_is_replaced_and_the_fleet_trades_on(launch):
    names = ["left", "right"]
    run = launch([touch(name, "BTC-USDT") for name in names])
    run.up()
    run.wait_running()
    for role in ("feed", "gate", "worker"):
        wait_until(lambda: has_open_orders(run), "open orders")
        kill_and_see_it_replaced(run, role)
    ids = [order["clientOrderId"] for order in run.exchange.orders()]
    assert len(ids) == len(set(ids))
    assert run.stop() == 0, run.text()
    assert run.exchange.open_orders() == []
    for name, tag in tags(names).items():
        assert run.seen_fills(name) == fills_of(run.recorded_orders().get(tag, [])), name
    run.up()
    run.wait_running()
    assert run.stop() == 0, run.text()


def kill_and_see_it_replaced(run, role):
    victim = run.pids(role)[0]
    before = {tag: len(orders) for tag, orders in run.recorded_orders().items()}
    os.kill(victim, signal.SIGKILL)

    def replaced():
        status = run.status()
        members = [process for process in status["processes"] if process["role"] == role]
        return all(alive(process["pid"]) for process in members) and any(process["restarts"] for process in members)

    wait_until(replaced, f"{role} replaced\n{run.text()}")
    wait_until(
        lambda: all(len(orders) > before.get(tag, 0) for tag, orders in run.recorded_orders().items()),
        f"new orders after the {role} was killed\n{run.text()}",
    )


def test_when_the_supervisor_alone_is_killed_the_gate_cancels_and_everything_ends(launch):
    run = launch([touch("left", "BTC-USDT"), touch("right", "BTC-USDT")])
    run.up()
    status = run.wait_running()
    wait_until(lambda: has_open_orders(run), "open orders")
    pids = [process["pid"] for process in status["processes"]]
    run.process.kill()
    run.process.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids), "every process of the fleet gone")
    assert run.exchange.open_orders() == []
    run.up()
    run.wait_running()
    assert run.stop() == 0, run.text()


def test_after_kill_9_of_everything_the_next_start_cleans_up_and_cancels(launch):
    run = launch([touch("left", "BTC-USDT"), touch("right", "BTC-USDT")])
    run.up()
    status = run.wait_running()
    wait_until(lambda: has_open_orders(run), "open orders")
    for pid in [process["pid"] for process in status["processes"] if process["role"] != "supervisor"]:
        os.kill(pid, signal.SIGSTOP)  # so that none of them reacts to the death of another
    run.process.kill()
    for pid in [process["pid"] for process in status["processes"] if process["role"] != "supervisor"]:
        os.kill(pid, signal.SIGKILL)
    run.process.wait()
    left_open = {order["clientOrderId"] for order in run.exchange.open_orders()}
    assert left_open
    run.up()
    run.wait_running()
    assert not left_open & {order["clientOrderId"] for order in run.exchange.open_orders()}
    assert run.stop() == 0, run.text()
    assert run.exchange.open_orders() == []


def test_a_second_fleet_of_the_same_name_or_on_the_same_key_is_refused(launch, exchange):
    run = launch([touch("left", "BTC-USDT")])
    run.up()
    run.wait_running()
    again = run.hive("up", "--strategies", str(run.file), "--root", str(EXAMPLES), "--workers", "1")
    assert again.returncode == 1
    assert "fleet trial is running already" in again.stdout + again.stderr
    other = run.hive("up", "--strategies", str(run.file), "--root", str(EXAMPLES), "--workers", "1", "--name", "other")
    assert other.returncode == 1
    assert "another fleet is using this API key" in other.stdout + other.stderr
    assert run.stop() == 0, run.text()


def test_no_process_but_the_gate_holds_the_secret(launch, exchange):
    run = launch([touch("left", "BTC-USDT")])
    run.up()
    status = run.wait_running()
    secret = exchange.told["api_secret"].encode()
    roles = {"supervisor", "feed", "gate", "recorder", "server", "worker"}
    assert {process["role"] for process in status["processes"]} == roles
    for process in status["processes"]:
        place = f"/proc/{process['pid']}"
        assert secret not in read(f"{place}/environ"), process
        assert secret not in read(f"{place}/cmdline"), process
        if os.geteuid() == 0 or process["role"] not in ("supervisor", "gate"):  # these two cannot be read but by root
            assert holds(process["pid"], secret) == (process["role"] == "gate"), process
    assert run.stop() == 0, run.text()


def test_eight_workers_run_on_any_number_of_cpus_and_top_shows_them_in_a_terminal(launch):
    names = [f"s{k}" for k in range(8)]
    run = launch([touch(name, pair) for name, pair in zip(names, PAIRS, strict=False)])
    run.up(workers=8)
    status = run.wait_running(120)
    assert {strategy["worker"] for strategy in status["strategies"]} == set(range(8))
    with Terminal([*HIVE, "top", run.name], run.env) as terminal:
        terminal.wait_for("worker 7")
        terminal.resize(rows=12, columns=44)
        terminal.type("h")
        terminal.wait_for("leave; the")
        terminal.type("h")
        assert run.stop() == 0, run.text()
        terminal.wait_for("gone")
        terminal.type("q")
        assert terminal.ended() == 0


def test_the_fleet_of_the_readme_trades_until_ctrl_c(tmp_path):
    report, output = tmp_path / "report.json", tmp_path / "output.txt"
    command = [*HIVE, "up", "--workers", "2", "--strategies", str(EXAMPLES / "fleet.yml"), "--report", str(report)]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    with output.open("w") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)

    def all_trade():
        assert process.poll() is None, output.read_text()
        asked = subprocess.run([*HIVE, "status", "example", "--json"], env=environment, capture_output=True, text=True)
        status = json.loads(asked.stdout) if asked.returncode == 0 else {"strategies": []}
        at_work = [bool(one["ticks"] and one["orders"]["acked"]) for one in status["strategies"]]
        return at_work and all(at_work) and status["totals"]["fills"] > 0

    try:
        wait_until(all_trade, "every strategy trading", TRADE_WITHIN_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, output.read_text()
    finally:
        process.kill()
        process.wait()
    figures = json.loads(report.read_text())
    assert all(one["ticks"] and one["orders"]["acked"] for one in figures["strategies"]), output.read_text()
    assert figures["totals"]["fills"] > 0
    assert figures["totals"]["errors"] == 0, output.read_text()
    assert not list(EXAMPLES.rglob("*.sqlite"))
