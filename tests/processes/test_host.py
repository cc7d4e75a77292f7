"""What a host does to a running fleet: nothing left to open, folders that go, ctrl-Z. It trades on by itself."""

import os
import resource
import shutil
import signal
import stat
from pathlib import Path

import pytest

from command import HIVE, Command
from hive.cli_errors import ERROR, OK
from hive.shm.segment import list_segments
from hive.state import FleetDir
from terminal import Terminal


@pytest.fixture
def command(tmp_path):
    made = Command(tmp_path)
    yield made
    made.close()


def running(command: Command) -> str:
    """Start a fleet that may let everybody write to its files, and return its run once it trades."""
    mask = os.umask(0)
    command.up()
    os.umask(mask)
    command.wait_for_event("first_fill")
    return command.wait_for_event("fleet")["run"]


def texts(command: Command, event: str) -> list[str]:
    return [line["text"] for line in command.lines() if line["event"] == event]


def restarted(command: Command, *roles: str) -> bool:
    """Return whether each of these processes was started again."""
    found = {one["role"] for one in command.status()["processes"] if one["restarts"]}
    return set(roles) <= found


def last_to_first(command: Command, *roles: str) -> bool:
    """Return whether the kernel, when memory ends, spares these processes in this order, and all of them are there."""
    pids = [command.process_of(role).get("pid") for role in roles]
    try:
        scores = [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in pids]
    except FileNotFoundError:  # one is being replaced
        return False
    return scores == sorted(set(scores))


def kill(command: Command, role: str) -> None:
    """Kill the process of that role, as soon as there is one."""
    os.kill(command.wait_for(lambda: command.process_of(role).get("pid"), role), signal.SIGKILL)


def orders(command: Command) -> int:
    return command.status()["totals"]["orders"]["acked"]


def test_what_cannot_be_started_for_want_of_descriptors_is_tried_again_and_the_rest_trades_on(command):
    run = running(command)
    os.kill(command.process.pid, signal.SIGTSTP)
    command.wait_for(lambda: any("ctrl-Z has no effect" in one for one in texts(command, "warning")), "the notice")
    limit = resource.prlimit(command.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(command.process.pid, resource.RLIMIT_NOFILE, (3, limit[1]))
    for role in ("feed", "gate", "worker"):
        os.kill(command.process_of(role)["pid"], signal.SIGKILL)
    for who in ("feed", "gate", "worker 0"):
        said = f"{who} cannot be started: [Errno 24] Too many open files; it is tried again in 0.4 s"
        command.wait_for(lambda said=said: f"error: {said}" in texts(command, "error"), said)
    assert command.process_of("worker", 1)["restarts"] == 0
    resource.prlimit(command.process.pid, resource.RLIMIT_NOFILE, limit)
    command.wait_for(lambda: restarted(command, "feed", "gate", "worker"), "all of them again")
    acked = orders(command)
    command.wait_for(lambda: orders(command) > acked + 1, "orders")
    assert command.stop() == OK
    assert texts(command, "stopped") == ["fleet stopped; no order of it is open"]
    assert list_segments(run) == []


def test_a_fleet_that_cannot_log_starts_what_dies_all_the_same_and_logs_again_when_it_can(command):
    running(command)
    state = command.folder / "state" / "hive"
    made = [path for folder in (state, FleetDir.of(command.name).path) for path in (folder, *folder.rglob("*"))]
    assert [path for path in made if stat.S_IMODE(path.lstat().st_mode) & 0o022] == []
    roles = ("supervisor", "gate", "feed", "recorder", "worker")
    command.wait_for(lambda: last_to_first(command, *roles), "an order in which they die")
    logs = state / command.name / "logs"
    logs.rename(logs.with_name("away"))
    logs.touch()
    kill(command, "gate")
    said = f"error: what is started now does not log: {logs}: File exists"
    command.wait_for(lambda: said in texts(command, "error"), said)
    command.wait_for(lambda: restarted(command, "gate"), "the gate")
    acked = orders(command)
    command.wait_for(lambda: orders(command) > acked + 1, "orders through a gate without a log")
    logs.unlink()
    kill(command, "worker")
    command.wait_for((logs / "worker0.log").exists, "the log of the next worker")
    with Terminal(["sh", "-c", f"trap '' HUP; exec {HIVE} top {command.name}"], command.env) as terminal:
        terminal.wait_for("touch-BTC-USDT")
        assert terminal.hang_up() == ERROR  # there is nobody to say goodbye to
    assert command.stop() == OK


def test_a_removed_run_folder_is_made_again_with_its_lock_its_socket_and_the_ways_to_wake(command):
    run = running(command)
    folder = FleetDir.of(command.name)
    shutil.rmtree(folder.path)
    command.wait_for(lambda: any("made again" in one for one in texts(command, "warning")), "the folder")
    command.wait_for(lambda: folder.read() and restarted(command, "gate"), "a gate that holds its key's lock")
    second = command.run("up", "--strategies", str(command.file), "--root", str(command.folder))
    assert second.returncode != OK
    assert command.process.poll() is None
    os.kill(command.process_of("worker")["pid"], signal.SIGKILL)
    command.wait_for(lambda: restarted(command, "gate", "worker"), "the worker")
    acked = orders(command)
    command.wait_for(lambda: orders(command) > acked + 1, "orders through gate and FIFOs that are new")
    down = command.run("down", "--timeout", "40")
    assert (down.returncode, down.stdout) == (OK, f"fleet {command.name} stopped\n")
    assert command.process.wait(30) == OK
    assert list_segments(run) == []


def test_a_fleet_whose_folder_another_one_has_taken_ends_well_and_leaves_that_folder_alone(command):
    running(command)
    folder = FleetDir.of(command.name)
    folder.path.rename(folder.path.with_name("away"))
    lock = folder.lock()  # as another supervisor would hold it
    kept = folder.path / "fleet.json"
    kept.write_text("{}")
    assert command.process.wait(60) == ERROR
    assert "was removed and belongs to another `hive up` now" in texts(command, "error")[0]
    assert kept.read_text() == "{}"
    os.close(lock)
    folder.remove()
    shutil.rmtree(folder.path.with_name("away"))
