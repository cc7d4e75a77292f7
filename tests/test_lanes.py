"""Turns: who is alone really is, nobody waits for ever, and every test runs once on one of the lanes."""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import forks
from lanes import FREE, Lanes, Turns

HERE = Path(__file__).parent
SOURCE = """
import os, time, pytest

def note(word):
    with open({log!r}, "a") as file:
        file.write(f"{{word}} {{os.getpid()}}\\n")

{mark}
@pytest.mark.parametrize("n", range(5))
def test_it(n):
    note("{name} begins in")
    time.sleep(0.02)
    note("{name} ends in")
"""


@pytest.fixture
def made(tmp_path):
    """made() -> the turns of one more session."""
    return lambda: Turns(str(tmp_path))


class Waiting:
    """A thread that takes a turn and holds it until it is told to end."""

    def __init__(self, turns, alone):
        self.has_it = threading.Event()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(turns, alone))
        self._thread.start()

    def _run(self, turns, alone):
        with turns.turn(alone):
            self.has_it.set()
            self._end.wait()

    def end(self):
        self._end.set()
        self._thread.join()


@pytest.fixture
def wait_until_blocked(tmp_path):
    """wait_until_blocked(n) comes back when n turns are waited for."""

    def blocked():
        inodes = {str((tmp_path / name).stat().st_ino) for name in ("door", "room")}
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines() if " -> " in line]
        return sum(word.rpartition(":")[2] in inodes for line in lines for word in line if word.count(":") == 2)

    return lambda number: forks.until(lambda: blocked() == number, f"{number} wait")


def test_turns_with_others_are_held_at_the_same_time(made):
    with made().turn(alone=False), made().turn(alone=False):
        pass


def test_who_is_alone_waits_for_the_others_and_nobody_overtakes_it(made, wait_until_blocked):
    first = Waiting(made(), alone=False)
    assert first.has_it.wait(10)
    second = Waiting(made(), alone=True)
    wait_until_blocked(1)
    third = Waiting(made(), alone=False)
    wait_until_blocked(2)
    assert (second.has_it.is_set(), third.has_it.is_set()) == (False, False)
    first.end()
    assert second.has_it.wait(10)
    assert not third.has_it.is_set()
    second.end()
    assert third.has_it.wait(10)
    third.end()


def test_a_turn_that_is_given_up_for_a_while_lets_others_be_alone_and_comes_back(made, wait_until_blocked):
    mine = made()
    with mine.turn(alone=False):
        with mine.given_up(), made().turn(alone=True):
            pass
        other = Waiting(made(), alone=True)
        wait_until_blocked(1)
        assert not other.has_it.is_set()
    assert other.has_it.wait(10)
    other.end()


def test_two_that_want_to_be_alone_within_their_turns_are_so_one_after_the_other(made):
    words = []

    def within(turns):
        with turns.turn(alone=False):
            together.wait()
            with turns.alone():
                words.append("begins")
                time.sleep(0.01)
                words.append("ends")

    together = threading.Barrier(2)
    threads = [threading.Thread(target=within, args=(made(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert words == ["begins", "ends"] * 2


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("tests/processes/test_fleet.py::test_a", "fleets"),
        ("tests/processes/test_gate_life.py::TestB::test_b[1]", "fleets"),
        ("tests/processes/test_gate.py::TestB::test_b[1]", "tests/processes/test_gate.py"),
        ("tests/test_pure.py::test_c", "the rest"),
        ("tests/feed/test_feed.py::test_d", "the rest"),
    ],
)
def test_fleets_have_a_lane_of_their_own(name, part):
    assert Lanes._split_scope(None, name) == part


def test_no_fleet_starts_in_the_files_that_either_lane_takes():
    for name in FREE:
        source = (HERE / "processes" / name).read_text()
        assert not {"fleet_run", "venues_run", "command"} & set(re.findall(r"from (\w+) import", source))
        assert '"up"' not in source


def run_lanes(folder):
    """Run the tests in a folder as a session with lanes; returns the ended process."""
    (folder / "conftest.py").write_text((HERE / "conftest.py").read_text())
    options = 'testpaths = ["tests"]\naddopts = "--numprocesses=auto --strict-markers"\nmarkers = ["alone"]\n'
    (folder / "pyproject.toml").write_text(f'[tool.pytest.ini_options]\npythonpath = ["{HERE}"]\n{options}')
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_session_with_lanes_names_a_failed_test_before_its_end(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_it.py").write_text("def test_bad():\n    assert False\n\ndef test_good():\n    pass\n")
    done = run_lanes(tmp_path)
    assert done.returncode == 1
    said = done.stdout.split("FAILURES")
    assert len(said) == 2
    assert "call of tests/test_it.py::test_bad failed" in said[0].splitlines()


def test_a_session_with_lanes_runs_every_test_once_and_those_that_are_alone_beside_no_other(tmp_path):
    log = tmp_path / "log"
    for folder, name, mark in (("tests/processes", "fleet", "@pytest.mark.alone"), ("tests", "unit", "")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / f"test_{name}.py").write_text(SOURCE.format(log=str(log), mark=mark, name=name))
    done = run_lanes(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 passed" in done.stdout
    lines = log.read_text().splitlines()
    assert len(lines) == 20
    words = [line.rpartition(" ")[0] for line in lines]
    assert all(words[at + 1] == "fleet ends in" for at, word in enumerate(words) if word == "fleet begins in")
    lanes = {(line.split()[0], line.split()[-1]) for line in lines}
    assert len(lanes) == len({pid for _, pid in lanes}) == 2
