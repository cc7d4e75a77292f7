"""What is asked of the scheduler for a process, as the kernel shows it afterwards."""

import os
import subprocess

import pytest

from hive.priority import PREFERRED, prefer


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_a_process_is_given_what_is_said_to_be_granted(sleeper):
    said = prefer(sleeper.pid)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    nice = os.getpriority(os.PRIO_PROCESS, sleeper.pid)
    assert nice == (own if "no niceness" in said else own + PREFERRED)
    assert os.sched_getscheduler(sleeper.pid) == os.SCHED_OTHER
    assert "slices of 0.1 ms" in said or "no short slice (" in said


def test_asking_twice_asks_for_no_more(sleeper):
    assert prefer(sleeper.pid) == prefer(sleeper.pid)


def test_a_process_that_is_gone_gets_nothing(sleeper):
    sleeper.kill()
    sleeper.wait()
    assert prefer(sleeper.pid) == "gone"
