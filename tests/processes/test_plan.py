"""A fleet that runs is what `hive plan` said before, and its logs are found by strategy, process and fleet."""

import json
import os
from pathlib import Path

import pytest

from command import EXAMPLES, Command
from hive.cli_errors import ERROR, OK

FLEET = """
name: {name}
venues: {{binance: {{mode: sim, seed: 5}}}}
strategies:
- {{id: touch, script: touch_maker, config: touch_maker.yml, for_each: {{trading_pair: [BTC-USDT, ETH-USDT]}}}}
- {{id: alone, script: touch_maker, config: touch_maker.yml, set: {{trading_pair: SOL-USDT}}, worker: dedicated}}
"""


@pytest.fixture
def fleet(tmp_path):
    made = Command(tmp_path, "planned", FLEET)
    yield made
    made.close()


def test_a_fleet_is_what_was_planned_and_its_logs_are_found_while_it_runs_and_after_its_end(fleet):
    planned = fleet.run("plan", str(fleet.file), "--root", str(EXAMPLES), "--workers", "2", "--json")
    assert planned.returncode == OK, planned.stderr
    plan = json.loads(planned.stdout)
    fleet.up()
    fleet.wait_for_event("running")
    status = fleet.status()
    as_placed(plan["placement"], status)
    shared_memory_is_enough(plan, status["run"])
    connected(plan, fleet)
    too_early = fleet.run("plan", str(fleet.file), "--root", str(EXAMPLES), "--measure")
    assert too_early.returncode == ERROR or fleet.status()["duration_s"] > 60
    logs_are_found(fleet)
    assert fleet.stop() == OK
    lines = fleet.run("logs", "supervisor", "--fleet", fleet.name, "-n", "1000").stdout
    assert "worker 2 (pid " in lines


def as_placed(placement: dict, status: dict) -> None:
    """Each strategy is on the worker, and each process on the CPUs, that were planned."""
    workers = {one["index"]: one for one in placement["workers"]}
    assert [one["dedicated"] for one in workers.values()] == [False, False, True]
    assert {one["id"]: one["worker"] for one in status["strategies"]} == {
        strategy: index for index, one in workers.items() for strategy in one["strategies"]
    }
    processes = {(one["role"], one["index"]): one for one in status["processes"]}
    for index, one in workers.items():
        assert processes["worker", index]["cpu"] == one["cpu"]
        assert os.sched_getaffinity(processes["worker", index]["pid"]) == {one["cpu"]}
    for role in ("feed", "gate"):
        wanted = set(placement[f"{role}_cpus"]) or os.sched_getaffinity(0)
        assert os.sched_getaffinity(processes[role, 0]["pid"]) == wanted


def shared_memory_is_enough(plan: dict, run: str) -> None:
    """No more of /dev/shm is used than was planned."""
    used = sum(path.stat().st_blocks * 512 for path in Path("/dev/shm").glob(f"hive.{run}.*"))
    assert 0 < used <= sum(plan["shm_bytes"].values())


def connected(plan: dict, fleet: Command) -> None:
    """The venue sees as many connections as were planned."""
    (venue,) = plan["venues"]

    def all_there() -> bool:
        now = fleet.status()["venues"][0]
        return (now["market_connections"], now["user_connections"]) == (venue["market"], venue["user"])

    fleet.wait_for(all_there, f"{venue['market']} market and {venue['user']} user connections")


def logs_are_found(fleet: Command) -> None:
    """A strategy's log has its lines and nobody else's; the fleet's has those of all processes."""
    fleet.wait_for(lambda: fleet.run("logs", "alone").stdout, "a log of alone")
    lines = fleet.run("logs", "alone", "-n", "1000").stdout.splitlines()
    assert any(" alone " in line for line in lines)
    assert not any(" touch-BTC-USDT " in line or " touch-ETH-USDT " in line for line in lines)
    everything = fleet.run("logs", "-n", "100000")
    assert everything.returncode == OK
    names = {line.partition(" | ")[0].strip() for line in everything.stdout.splitlines()}
    assert {"supervisor", "worker0", "worker1", "worker2"} <= names
