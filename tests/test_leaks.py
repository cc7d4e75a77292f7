"""The check that tests leave nothing behind finds what is left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import leaks
from forks import Forked

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


def test_a_test_that_leaves_a_segment_fails(tmp_path):
    here = Path(__file__).parent
    impatient = (here / "conftest.py").read_text().replace("new_since(before)", "new_since(before, patience_s=0)")
    (tmp_path / "conftest.py").write_text(impatient)
    name = "/dev/shm/hive.0badcafe.leak.2"
    (tmp_path / "test_leaky.py").write_text(f"def test_leaky():\n    open({name!r}, 'w').close()\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    env = os.environ | {"PYTHONPATH": str(here)}
    done = subprocess.run([*command, str(tmp_path)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"left behind:\n  segment {name}" in done.stdout
    assert not Path(name).exists()
