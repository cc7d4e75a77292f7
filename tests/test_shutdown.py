"""What the gate's last words make of a fleet's end: `hive up` exits with 0 only when no order is known to be open."""

import io
import signal
import subprocess
import sys
import time

import pytest

from changes_bench import Bench
from hive.child import Child
from hive.console import Console
from hive.launch import Launcher
from hive.shm.channel import Channel
from hive.shutdown import Shutdown, leave_to_gate


@pytest.mark.parametrize(
    ("open_orders", "said"),
    [
        (0, ""),
        (2, "error: 2 orders are still open at the venue"),
        (None, "error: a venue has not told in time: orders may still be open there"),
    ],
)
def test_a_fleet_has_ended_well_only_when_the_venue_has_said_that_nothing_is_open(tmp_path, open_orders, said):
    bench = Bench(tmp_path)
    launcher = Launcher(bench.run, bench.placement, -1, {}, {})
    output = io.StringIO()
    console = Console(time.monotonic_ns(), stream=output)
    shutdown = Shutdown(bench.roster, launcher, console, 1.0, start_gate=lambda: None)
    shutdown.stopped(bench.gate, {"type": "stopped", "open_orders": open_orders})
    assert shutdown.clean == (not said)
    assert said in output.getvalue()
    assert bool(output.getvalue()) == bool(said)
    assert bench.roster.facts["stop"] == {"open_orders": open_orders}
    bench.close()


def test_when_the_supervisor_breaks_the_gate_gets_time_to_cancel_and_nobody_else_does(tmp_path):
    bench = Bench(tmp_path)
    ours, theirs = Channel.pair()
    ends = "import socket, sys; socket.socket(fileno=int(sys.argv[1])).recv(1); sys.exit(7)"
    with theirs:
        command = [sys.executable, "-c", ends, str(theirs.fileno())]
        cancels = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    works = subprocess.Popen(["sleep", "60"])
    gate, worker = Child("gate", 0, 1, ours, 0), Child("worker", 0, 1, None, 0)
    gate.adopt(cancels.pid)
    worker.adopt(works.pid)
    before = dict(bench.roster.children)
    bench.roster.children = {("gate", 0): gate, ("worker", 0): worker}
    leave_to_gate(bench.roster)
    assert cancels.wait(30) == 7
    assert works.wait(30) == -signal.SIGKILL
    bench.roster.children = before
    bench.close()
