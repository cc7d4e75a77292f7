"""Why a fleet ends: the first reason counts, signals hurry, time runs out, and the exit code tells how it was."""

import io
import signal
import time

import pytest

from changes_bench import Bench
from hive.console import Console
from hive.ending import Ending
from hive.launch import Launcher
from hive.shutdown import Shutdown
from hive.state import FleetDir
from hive.top_sample import Sampler


class Trial:
    """The end of a fleet whose processes are the ends of channels."""

    def __init__(self, folder, duration_s: float | None = None) -> None:
        self.bench = Bench(folder)
        self.bench.roster.state = "running"
        self.bench.roster.save()
        self.output = io.StringIO()
        self.ended_work: list[str] = []
        console = Console(time.monotonic_ns(), stream=self.output)
        launcher = Launcher(self.bench.run, self.bench.placement, -1, {}, {})
        self.shutdown = Shutdown(self.bench.roster, launcher, console, 60.0, start_gate=lambda: None)
        self.ending = Ending(
            self.bench.roster,
            console,
            Sampler(FleetDir(folder)),
            self.shutdown,
            duration_s,
            say=lambda level, text: console.say(level, f"{level}: {text}"),
            end_work=self.ended_work.append,
            traded=lambda: True,
        )

    def told(self, worker: int) -> list[dict]:
        return self.bench.told("worker", worker)


@pytest.fixture
def make(tmp_path):
    made = []

    def trial(**wanted) -> Trial:
        made.append(Trial(tmp_path, **wanted))
        return made[-1]

    yield trial
    for one in made:
        one.bench.close()


def test_a_stop_measures_the_fleet_before_it_and_tells_whoever_has_work_under_way_and_the_workers(make):
    trial = make()
    assert not trial.ending.begun
    trial.ending.stop("hive down", timeout_s=7.0)
    assert trial.ending.begun
    assert trial.ended_work == ["the fleet is stopping: hive down"]
    assert trial.ending.before_stop.fleet["state"] == trial.bench.roster.state == "stopping"
    assert [trial.told(worker) for worker in (0, 1)] == [[{"type": "stop", "deadline_s": 7.0}]] * 2
    assert trial.ending.exit_code == 0


def test_the_first_reason_counts_and_an_error_while_it_stops_changes_nothing_but_the_facts(make):
    trial = make()
    trial.ending.stop("hive down")
    trial.ending.fail("the feed cannot boot")
    trial.ending.stop("again", 1)
    assert trial.ended_work == ["the fleet is stopping: hive down"]
    assert trial.ending.exit_code == 0
    assert trial.bench.roster.facts["error"] == "the feed cannot boot"
    assert "cannot boot" not in trial.output.getvalue()


def test_an_error_ends_the_fleet_with_its_exit_code_and_is_said(make):
    trial = make()
    trial.ending.fail("the feed cannot boot")
    assert "error: the feed cannot boot" in trial.output.getvalue()
    assert trial.ending.exit_code == 1


def test_orders_that_stay_open_make_an_error_of_an_end_that_was_asked_for(make):
    trial = make()
    trial.ending.stop("hive down")
    trial.shutdown.stopped(trial.bench.gate, {"type": "stopped", "open_orders": 1})
    assert trial.ending.exit_code == 1


def test_the_first_signal_stops_the_second_hurries_and_the_third_ends_at_once_and_says_what_that_leaves(make):
    trial = make()
    trial.ending.signalled(signal.SIGINT)
    assert "stopping: SIGINT; orders are cancelled" in trial.output.getvalue()
    trial.ending.signalled(signal.SIGINT)
    assert "2 s left for what is still stopping" in trial.output.getvalue()
    assert not trial.ending.over
    trial.ending.signalled(signal.SIGTERM)
    assert trial.ending.over
    assert "orders may still be open at the venue" in trial.output.getvalue()
    assert trial.ending.exit_code == 1


def test_the_time_of_a_fleet_counts_from_when_it_first_ran_and_stops_it_without_an_error(make):
    trial = make(duration_s=0.0)
    trial.ending.beat()
    assert not trial.ending.begun
    trial.ending.running()
    trial.ending.beat()
    assert trial.ended_work == ["the fleet is stopping: 0 s are over"]
    assert trial.ending.exit_code == 0


def test_a_fleet_without_a_time_runs_on(make):
    trial = make()
    trial.ending.running()
    trial.ending.beat()
    assert not trial.ending.begun


def test_a_supervisor_that_broke_is_ending_and_stops_nothing_by_itself(make):
    trial = make()
    trial.ending.broken = True
    assert trial.ending.begun
    trial.ending.stop("hive down")
    assert trial.ended_work == []
