"""A worker server that is asleep ends without waking up: here it could not, it knows of no boot message."""

import socket
import subprocess
import sys

import pytest

from hive.shm.channel import Channel
from hive.workers import dormant


@pytest.fixture
def asleep():
    """(our end of the channel, the process)"""
    ours, theirs = Channel.pair()
    command = [sys.executable, "-P", "-S", dormant.__file__, "--channel-fd", str(theirs.fileno()), "--boot-fd", "none"]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)
    theirs.close()
    yield ours, process
    ours.close()
    process.wait()


def test_it_ends_well_when_it_is_told_to_stop(asleep):
    channel, process = asleep
    channel.send({"type": "stop", "deadline_s": 5.0})
    assert process.wait(60) == 0


def test_it_ends_well_when_its_supervisor_is_gone(asleep):
    channel, process = asleep
    channel.close()
    assert process.wait(60) == 0


def test_it_wakes_up_for_any_other_message(asleep):
    channel, process = asleep
    _, fd = socket.socketpair()
    channel.send({"type": "spawn", "index": 0, "epoch": 1}, fds=[fd.fileno()])
    fd.close()
    assert process.wait(60) != 0
