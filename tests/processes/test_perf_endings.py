"""A measuring script that is ended before its time: the fleet that it has started ends with it, and well."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from gate.bench import until
from hive.shm.segment import list_segments, process_start_ticks

SCRIPT = Path(__file__).parents[2] / "perf" / "end_to_end.py"
PATIENCE_S = 90.0


def test_a_script_that_gets_sigterm_ends_its_fleet_and_leaves_nothing(tmp_path):
    scratch = Path(os.environ["XDG_RUNTIME_DIR"]) / "s"  # a socket's path has 107 bytes at most
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with (tmp_path / "output.txt").open("w") as output:
        script = subprocess.Popen([sys.executable, SCRIPT, "--quick"], env=environment, stdout=output, stderr=output)
    try:

        def fleet() -> dict | None:
            assert script.poll() is None, (tmp_path / "output.txt").read_text()
            found = [json.loads(path.read_text()) for path in scratch.glob("hive-perf-*/hive/*/fleet.json")]
            return next((one for one in found if {"gate", "worker"} <= {p["role"] for p in one["processes"]}), None)

        running = until(fleet, "the script's fleet has a gate and workers", PATIENCE_S)
        members = {one["pid"]: one["start_ticks"] for one in running["processes"]}
        script.send_signal(signal.SIGTERM)
        assert script.wait(PATIENCE_S) == 128 + signal.SIGTERM
    finally:
        script.kill()
        script.wait()
    said = (tmp_path / "output.txt").read_text()
    assert "ended by SIGTERM: nothing is measured" in said
    assert "Traceback" not in said
    assert "goal" not in said
    assert list(scratch.iterdir()) == []
    assert [pid for pid, ticks in members.items() if process_start_ticks(pid) == ticks] == []
    assert [info.name for info in list_segments(running["run"])] == []
    scratch.rmdir()
