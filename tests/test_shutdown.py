"""What the gate's last words make of a fleet's end: `hive up` exits with 0 only when no order is known to be open."""

import io
import time

import pytest

from changes_bench import Bench
from hive.console import Console
from hive.launch import Launcher
from hive.shutdown import Shutdown


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
