"""`hive plan`: what it prints, what it exits with, and that it starts and leaves nothing."""

import json
import os
import time
from pathlib import Path

import pytest

from command import EXAMPLES, HIVE, Command
from hive.cli_errors import CONFIG, ERROR, OK
from hive.config import load_fleet
from hive.costs import Measured, write_costs
from hive.installation import spot_connectors
from hive.plan import shm_bytes
from hive.shm.counters import Counters, counters_size
from hive.shm.segment import Segment, free_bytes, process_start_ticks, segment_name
from terminal import Terminal

ROOT = ("--root", str(EXAMPLES))
SECOND = 1_000_000_000
CPUS = sorted(os.sched_getaffinity(0))


@pytest.fixture
def command(tmp_path):
    made = Command(tmp_path)
    made.env["XDG_RUNTIME_DIR"] = str(tmp_path / "run")
    return made


def left(command: Command) -> list[Path]:
    """Return all files in the command's home but the fleet's own."""
    return [path for path in command.folder.rglob("*") if path.is_file() and path != command.file]


def keep_costs(command: Command, **shares: float) -> None:
    """Write the costs that an earlier run of the fleet would have left."""
    folder = command.folder / "state" / "hive" / command.name
    folder.mkdir(parents=True)
    fleet = load_fleet(command.file, root=EXAMPLES)
    ids = {one.id.split("-")[1].lower(): one.id for one in fleet.strategies}
    found = {ids[key]: Measured(share, 600.0, "script", "touch_maker", 100) for key, share in shares.items()}
    write_costs(folder / "costs.json", found, fleet)


def test_everything_is_shown_and_nothing_is_started(command):
    before = set(os.listdir("/dev/shm"))
    result = command.run("plan", str(command.file), *ROOT, "--workers", "2")
    assert result.returncode == OK, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "fleet bench: 2 strategies on binance (sim); nothing is started"
    for head in ("PROCESS ", "MEMORY ", "/dev/shm ", "CONNECTIONS ", "orders at binance: ", "STRATEGY "):
        assert any(line.startswith(head) for line in lines), head
    assert any(line.startswith("worker 0 ") and line.endswith("touch-BTC-USDT") for line in lines)
    assert "figures of perf/results/end_to_end.json" in result.stdout
    assert lines[-1] == "it fits, as far as is known: no cost was measured yet"
    assert max(map(len, lines)) <= 80
    assert left(command) == []
    assert {name for name in os.listdir("/dev/shm") if name not in before and "bench" in name} == set()


def test_measured_costs_are_shown_with_where_they_are_from(command):
    keep_costs(command, btc=0.25)
    result = command.run("plan", str(command.file), *ROOT, "--workers", "2", "--json")
    plan = json.loads(result.stdout)
    assert plan["costs"] == {
        "unit": "cpus",
        "strategies": {
            "touch-BTC-USDT": {"cost": 0.25, "from": "measured"},
            "touch-ETH-USDT": {"cost": 0.25, "from": "estimated"},
        },
    }
    assert plan["cpus"] == 0.5
    assert plan["fits"]
    text = command.run("plan", str(command.file), *ROOT, "--workers", "1").stdout
    assert "touch-BTC-USDT 0.2500, touch-ETH-USDT 0.2500~" in text
    assert text.splitlines()[-1] == "it fits"


def test_what_will_not_fit_is_said_and_the_exit_code_is_an_error(command):
    keep_costs(command, btc=0.75, eth=0.5)
    result = command.run("plan", str(command.file), *ROOT, "--workers", "1")
    assert result.returncode == ERROR
    problem = "worker 0 needs 1.25 of a CPU and can have one: more --workers, or a longer tick_interval_ms"
    assert f"will not fit: {problem}" in " ".join(result.stdout.split())
    plan = json.loads(command.run("plan", str(command.file), *ROOT, "--workers", "1", "--json").stdout)
    assert not plan["fits"]
    assert problem in plan["problems"]


def test_a_fleet_too_large_for_shared_memory_will_not_fit(command):
    command.file.write_text(command.file.read_text() + "feed: {instruments: 4096, depth: 1000, versions: 64}\n")
    one = shm_bytes(load_fleet(command.file, root=EXAMPLES).feed, 1, 1, 1)
    names = sorted(spot_connectors())[: free_bytes() // one + 2]
    venues = ", ".join(f"{name}: {{mode: sim, kind: binance}}" for name in names)
    text = command.file.read_text().replace("venues: {binance: {mode: sim, seed: 5}}", f"venues: {{{venues}}}")
    command.file.write_text(text)
    result = command.run("plan", str(command.file), *ROOT)
    assert result.returncode == ERROR
    assert "will not fit: /dev/shm has" in result.stdout


def test_a_dedicated_strategy_has_its_own_worker_in_the_plan(command):
    text = command.file.read_text().replace("script: touch_maker", "worker: dedicated, script: touch_maker")
    command.file.write_text(text)
    plan = json.loads(command.run("plan", str(command.file), *ROOT, "--json").stdout)
    assert [worker["strategies"] for worker in plan["placement"]["workers"]] == [["touch-BTC-USDT"], ["touch-ETH-USDT"]]
    assert all(worker["dedicated"] for worker in plan["placement"]["workers"])
    command.file.write_text(text.replace("dedicated", "shared"))
    refused = command.run("plan", str(command.file), *ROOT)
    assert refused.returncode == CONFIG
    assert refused.stderr == "error: fleet.yml: strategies.0.worker: Input should be 'dedicated', was 'shared'\n"


def test_workers_that_cannot_hold_the_strategies_are_a_config_error(command):
    command.file.write_text(command.file.read_text().replace("ETH-USDT]}", "ETH-USDT]}, count: 30"))
    result = command.run("plan", str(command.file), *ROOT, "--workers", "1")
    assert result.returncode == CONFIG
    assert "60 strategies need at least 2 workers" in result.stderr


def test_more_workers_than_strategies_or_cpus_are_said(command):
    plan = json.loads(command.run("plan", str(command.file), *ROOT, "--workers", "8", "--json").stdout)
    assert plan["placement"]["remarks"][0] == "2 workers instead of 8: there are no more strategies than that"
    assert {worker["cpu"] for worker in plan["placement"]["workers"]} <= set(CPUS)
    unpinned = json.loads(command.run("plan", str(command.file), *ROOT, "--no-pin", "--json").stdout)
    assert {worker["cpu"] for worker in unpinned["placement"]["workers"]} == {None}


def test_there_is_nothing_to_measure_where_nothing_runs(command):
    result = command.run("plan", str(command.file), *ROOT, "--measure")
    assert (result.returncode, result.stderr) == (ERROR, "error: --measure: fleet bench does not run\n")
    assert left(command) == []


def test_costs_can_be_taken_from_a_running_fleet(command):
    name = segment_name(f"{os.getpid():08x}", "counters.worker0", 1)
    segment = Segment.create(name, counters_size(8, 2), kind="counters", epoch=1)
    try:
        counters = Counters.create(segment, 8)
        counters.counter("strategy_cpu_ns", strategy="touch-BTC-USDT").inc(40 * SECOND)
        counters.histogram("tick_duration_ns", strategy="touch-ETH-USDT").record(20 * SECOND)
        runs(command, segment.name, seconds=200)
        assert command.run("plan", str(command.file), *ROOT, "--measure").returncode == OK
        runs(command, segment.name, seconds=10)
        early = command.run("plan", str(command.file), *ROOT, "--measure")
        assert "has not run for a minute yet" in early.stderr
    finally:
        segment.close()
        segment.unlink()
    plan = json.loads(command.run("plan", str(command.file), *ROOT, "--json").stdout)
    costs = plan["costs"]["strategies"]
    assert {key: one["from"] for key, one in costs.items()} == dict.fromkeys(costs, "measured")
    assert costs["touch-BTC-USDT"]["cost"] == pytest.approx(0.2, rel=0.05)
    assert costs["touch-ETH-USDT"]["cost"] == pytest.approx(0.1, rel=0.05)


def runs(command: Command, counters: str, seconds: float) -> None:
    """Write the fleet.json of a fleet that has run for so long: this process is its supervisor."""
    folder = Path(command.env["XDG_RUNTIME_DIR"]) / "hive" / command.name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "lock").touch()
    own = {"pid": os.getpid(), "start_ticks": process_start_ticks(os.getpid())}
    state = command.folder / "state" / "hive" / command.name
    state.mkdir(parents=True, exist_ok=True)
    document = {
        "schema": 1,
        "state_dir": str(state),
        "fleet": command.name,
        **own,
        "started_wall_ns": time.time_ns() - round(seconds * SECOND),
        "strategies": [{"id": f"touch-{pair}", "state": "running", "worker": 0} for pair in ("BTC-USDT", "ETH-USDT")],
        "processes": [{"role": "worker", "index": 0, "pid": None, "counters": counters}],
        "venues": [],
    }
    (folder / "fleet.json").write_text(json.dumps(document))


def test_in_a_terminal_it_is_as_wide_as_that_is(command):
    with Terminal([HIVE, "plan", str(command.file), *ROOT], command.env) as terminal:
        terminal.wait_for("may plan with the same money of the account: touch-BTC-USDT, touch-ETH-USDT")
        assert terminal.ended() == OK
