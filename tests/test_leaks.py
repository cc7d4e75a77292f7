"""The check that tests leave nothing behind finds what is left behind."""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import forks
import leaks
from forks import Forked
from hive.shm.segment import list_segments, segment_name

pytestmark = pytest.mark.alone  # what others start and leave would be in the exact lists
SLEEPER = "import sys; sys.stdin.read()"


def test_a_segment_without_a_living_creator_is_found_and_cleared():
    before = leaks.look()
    path = Path("/dev/shm/hive.0badcafe.leak.1")
    path.write_bytes(b"not a segment")
    assert leaks.new_since(before, patience_s=0) == [f"segment {path}"]
    leaks.clear(before)
    assert not path.exists()
    assert leaks.look() == before


def test_a_child_is_found_and_killed():
    before = leaks.look()
    child = subprocess.Popen([sys.executable, "-c", SLEEPER], stdin=subprocess.PIPE)
    with child:
        (line,) = leaks.new_since(before, patience_s=0)
        assert line.startswith(f"process {child.pid}: ")
        leaks.clear(before)
        assert child.wait(10) == -9


def test_a_child_that_was_only_forked_is_found():
    before = leaks.look()
    with Forked(signal.pause) as child:
        (line,) = leaks.new_since(before, patience_s=0)
        assert line.startswith(f"process {child.pid}: ")


def test_a_grandchild_that_lost_its_parent_is_found():
    before = leaks.look()
    read, write = os.pipe()
    orphan = f"import os, sys; os.fork() and os._exit(0); os.setsid(); os.read({read}, 1)"
    subprocess.run([sys.executable, "-c", orphan], pass_fds=(read,), check=True)
    os.close(read)
    assert len(leaks.new_since(before, patience_s=0)) == 1
    os.close(write)
    assert leaks.new_since(before) == []


def test_a_fifo_in_the_run_directory_is_found_and_cleared():
    before = leaks.look()
    path = Path(os.environ["XDG_RUNTIME_DIR"]) / "wake"
    os.mkfifo(path)
    assert leaks.new_since(before, patience_s=0) == [f"socket or FIFO {path}"]
    leaks.clear(before)
    assert not path.exists()


def test_the_run_directory_of_a_killed_session_is_removed_by_the_next():
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    folders = {pid: Path(tempfile.mkdtemp(prefix=f"{leaks.RUN_DIR}{pid}_")) for pid in (dead.pid, os.getpid())}
    leaks.sweep_run_dirs()
    assert {pid: folder.exists() for pid, folder in folders.items()} == {dead.pid: False, os.getpid(): True}
    folders[os.getpid()].rmdir()


def test_one_that_comes_after_a_look_that_found_nobody_is_found():
    before = leaks.look()
    assert leaks.look() == before
    with Forked(signal.pause) as child:
        assert len(leaks.new_since(before, patience_s=0)) == 1
        os.kill(child.pid, signal.SIGKILL)
    assert leaks.new_since(before) == []
    with Forked(signal.pause):
        assert len(leaks.new_since(before, patience_s=0)) == 1


OWNER = """
import os, sys
from hive.shm.segment import Segment, segment_name
if os.fork():
    os._exit(0)
os.setsid()
Segment.create(segment_name(sys.argv[1], "living", 1), 4096, kind="test", epoch=1)
if os.fork() == 0:
    Segment.create(segment_name(sys.argv[1], "dead", 1), 4096, kind="test", epoch=1)
    os._exit(0)
os.wait()
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_dead_processes_left_is_theirs_whose_run_it_is_while_they_live():
    before = leaks.look()
    run = secrets.token_hex(4)
    env = {name: value for name, value in os.environ.items() if name != leaks.MARK}
    theirs = subprocess.Popen(
        [sys.executable, "-c", OWNER, run], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with theirs:
        assert theirs.stdout.readline() == "ready\n"
        theirs.wait(10)  # its child lives on, as nobody's of this session
        assert leaks.new_since(before, patience_s=0) == []
    names = [segment_name(run, name, 1).lstrip("/") for name in ("dead", "living")]
    forks.until(lambda: not any(info.alive for info in list_segments(run)), "its end")
    assert leaks.new_since(before, patience_s=0) == [f"segment /dev/shm/{name}" for name in names]
    leaks.clear(before)
    assert leaks.look() == before


@pytest.fixture
def session(tmp_path):
    """Run one test's source in a session of its own, with this session's conftest; returns (status, output)."""
    here = Path(__file__).parent

    def run(source, *replaced):
        conftest = (here / "conftest.py").read_text()
        for old, new in [("new_since(before)", "new_since(before, patience_s=0)"), *replaced]:
            assert old in conftest
            conftest = conftest.replace(old, new)
        (tmp_path / "conftest.py").write_text(conftest)
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        (tmp_path / "test_it.py").write_text(source)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
        env = os.environ | {"PYTHONPATH": str(here)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    return run


def test_a_test_that_leaves_a_segment_fails(session):
    name = "/dev/shm/hive.0badcafe.leak.2"
    status, output = session(f"def test_leaky():\n    open({name!r}, 'w').close()\n")
    assert status == 1
    assert f"left behind:\n  segment {name}" in output
    assert not Path(name).exists()


def test_a_test_that_hangs_fails_and_the_next_one_runs(session):
    source = "import time\n\ndef test_hanging():\n    time.sleep(600)\n\ndef test_next():\n    pass\n"
    status, output = session(source, ("DEADLINE_S = 300", "DEADLINE_S = 1"))
    assert status == 1
    assert "the test did not end within 1 s" in output
    assert "1 failed, 1 passed" in output
