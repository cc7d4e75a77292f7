"""A fleet's folder: its lock, its fleet.json, and what may be done to it by whom."""

import os

import pytest

from hive.gate.key_lock import KeyLock
from hive.shm.segment import process_start_ticks
from hive.state import (
    SCHEMA,
    FleetDir,
    FleetLocked,
    StateError,
    drop_key_locks,
    fleet_names,
    is_alive,
    rotate_logs,
    runs_dir,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return FleetDir.of("demo")


def alive() -> dict:
    return {"schema": SCHEMA, "pid": os.getpid(), "start_ticks": process_start_ticks(os.getpid())}


def test_a_fleet_is_locked_once_and_by_name(folder):
    fd = folder.lock()
    folder.write(alive())
    with pytest.raises(FleetLocked, match=r"fleet demo is running already \(pid \d+\)"):
        folder.lock()
    assert folder.is_locked()
    other = FleetDir.of("other").lock()
    assert fleet_names() == ["demo", "other"]
    os.close(other)
    os.close(fd)
    assert not folder.is_locked()


def test_a_folder_whose_path_is_too_long_for_a_socket_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 100)))
    with pytest.raises(StateError, match=r"control.sock: must have at most 107 bytes: set XDG_RUNTIME_DIR"):
        FleetDir.of("demo").lock()


def test_a_lock_without_a_supervisor_is_said_to_be_ending(folder):
    fd = folder.lock()
    folder.write(alive() | {"start_ticks": 1})
    with pytest.raises(FleetLocked, match="is still ending"):
        folder.lock()
    os.close(fd)
    os.close(folder.lock())


def test_a_fleet_of_another_version_is_said_to_run_under_it_and_is_left_alone(folder):
    assert not folder.is_of_another_version()
    fd = folder.lock()
    folder.write(alive() | {"schema": SCHEMA + 1})
    assert folder.is_of_another_version()
    with pytest.raises(FleetLocked, match="runs under another version of Hive: its `hive down` ends it"):
        folder.lock(patience_s=60.0)
    folder.write(alive())
    assert not folder.is_of_another_version()
    os.close(fd)


def test_readers_see_what_was_written_and_nothing_after_the_end(folder):
    os.close(folder.lock())
    assert folder.read() is None
    folder.write(alive() | {"fleet": "demo"})
    assert folder.read()["fleet"] == "demo"
    assert is_alive(folder.read())
    folder.clear()
    assert folder.read() is None
    assert not is_alive(None)
    assert [path.name for path in folder.path.iterdir()] == ["lock"]


def test_another_schema_is_not_read(folder):
    os.close(folder.lock())
    folder.write(alive() | {"schema": SCHEMA + 1})
    assert folder.read() is None


def test_a_pid_of_another_process_is_not_the_supervisor(folder):
    assert not is_alive(alive() | {"start_ticks": 1})


def test_a_folder_that_others_may_write_to_is_refused(folder, tmp_path):
    runs_dir().chmod(0o777)
    with pytest.raises(StateError, match="nobody else may write to"):
        runs_dir()


def test_logs_of_the_run_before_are_kept_once(tmp_path):
    log = tmp_path / "feed.log"
    for text in ("first", "second", "third"):
        rotate_logs(tmp_path)
        log.write_text(text)
    assert log.read_text() == "third"
    assert (tmp_path / "feed.log.1").read_text() == "second"


def test_the_fifos_of_a_process_that_was_killed_are_removed_and_no_others(folder):
    folder.path.mkdir(exist_ok=True)
    for name in ("wake.worker1.3", "wake.worker1.4", "wake.worker10.1", "wake.gate.2"):
        os.mkfifo(folder.path / name)
    folder.drop_wake("worker1")
    assert sorted(path.name for path in folder.path.glob("wake.*")) == ["wake.gate.2", "wake.worker10.1"]
    folder.clear()


def test_only_key_locks_that_no_gate_holds_are_dropped(folder):
    held = KeyLock(runs_dir(), "held-key", "demo")
    left = runs_dir() / "key-0123456789abcdef.lock"
    left.write_text("pid 1, fleet killed\n")
    (runs_dir() / "key-link.lock").symlink_to(left)
    assert drop_key_locks() == [left.name]
    assert held.path.exists()
    held.close()
    assert drop_key_locks() == []


def test_a_lock_whose_file_was_removed_is_taken_anew_under_the_same_number(folder):
    fd = folder.lock()
    assert folder.holds(fd)
    folder.remove()
    assert not folder.holds(fd)
    folder.lock_anew(fd)
    assert folder.holds(fd)
    assert folder.is_locked()
    assert not os.get_inheritable(fd)
    os.close(fd)
    folder.remove()


def test_a_lock_that_another_has_taken_meanwhile_stays_his(folder):
    fd = folder.lock()
    folder.remove()
    other = folder.lock()
    with pytest.raises(FleetLocked):
        folder.lock_anew(fd)
    assert folder.holds(other)
    assert not folder.holds(fd)
    os.close(fd)
    os.close(other)
    folder.remove()
