"""perf/profile.sh at a real fleet: it finds every part, and what it writes names functions that run there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from command import EXAMPLES, FLEET, Command
from hive.config import load_fleet
from hive.up import hang_after_ms

PROFILE = Path(__file__).parents[2] / "perf" / "profile.sh"
STRATEGY = "touch-BTC-USDT"
PATIENCE_S = 120
LOOP = "run_until_done (hive/workers/loop.py"
PARTS = {
    "feed": "main (hive/feed/process.py:",
    "server": "main (hive/workers/process.py:",
    "recorder": "main (hive/gate/recorder.py:",
    "worker1": LOOP,
    STRATEGY: "worker_main (hive/workers/worker.py:",
}
WITH_KEYS = {"gate": "main (hive/gate/process.py:", "supervisor": "up (hive/up.py:"}


class Profiler:
    """`perf/profile.sh` in a folder of its own, at the fleets of an environment."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.env = {**env, "HIVE_BIN": str(Path(sys.executable).parent), "TMPDIR": str(folder)}

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess:
        result = subprocess.run(
            [PROFILE, *arguments], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert result.returncode == code, result.stdout + result.stderr
        return result


@pytest.fixture
def fleet(tmp_path):
    """A fleet that trades and may be profiled."""
    command = Command(tmp_path, text=FLEET + "monitoring: {{enable_profiling: true}}\n")
    command.up()
    command.wait_for_event("first_fill")
    yield command
    command.close()


@pytest.fixture
def profile(tmp_path, request):
    folder = tmp_path / "profiles"
    folder.mkdir()
    command = request.getfixturevalue("fleet") if "fleet" in request.fixturenames else None
    return Profiler(folder, command.env if command is not None else {**os.environ, "HOME": str(tmp_path)})


def check_unharmed(fleet: Command) -> None:
    status = fleet.status()
    assert {one["state"] for one in status["strategies"]} == {"running"}
    assert {one["restarts"] for one in status["processes"]} == {0}


def stacks(profile: Profiler, name: str) -> list[str]:
    """Record the stacks of four seconds."""
    profile("record", STRATEGY, "-d", "4", "-o", name)
    lines = (profile.folder / name).read_text().splitlines()
    assert all(re.fullmatch(r".* \d+", line) for line in lines)
    return lines


def test_dump_and_record_show_the_functions_that_run_in_each_part(fleet, profile):
    readable = PARTS | WITH_KEYS if os.geteuid() == 0 else PARTS
    for part, frame in readable.items():
        assert frame in profile("dump", part).stdout
    for part in WITH_KEYS.keys() - readable.keys():
        assert "only root may look into it" in profile("dump", part, code=4).stderr
    recorded = [stacks(profile, f"stacks{attempt}.txt") for attempt in range(2)]  # one may find the worker asleep
    assert any(LOOP in line for lines in recorded for line in lines), recorded
    profile("record", "worker0", "-d", "2", "--", "--idle")
    assert "run_until_done" in (profile.folder / "worker0.svg").read_text()
    told = profile("dump", "worker7", code=1).stderr
    assert "PART must be one of " in told
    assert "worker0, worker1" in told
    check_unharmed(fleet)


def test_memory_is_told_by_allocation_site(fleet, profile):
    table = profile("memory", STRATEGY, "-d", "4", "-o", "memory.html").stdout
    sites = [line for line in table.splitlines() if re.search(r"\d(kB|MB|B) ", line)]
    assert len(sites) >= 10, table
    assert "run_until_done" in (profile.folder / "memory.html").read_text()
    assert [one.name for one in profile.folder.iterdir()] == ["memory.html"]  # the trace is removed
    check_unharmed(fleet)


@pytest.mark.parametrize(("more", "limit_ms"), [("", 1000), ("monitoring: {enable_profiling: true}\n", 60_000)])
def test_a_process_that_may_be_profiled_counts_as_hung_after_a_minute(tmp_path, more, limit_ms):
    file = tmp_path / "fleet.yml"
    file.write_text(FLEET.format(name="bench") + more)
    assert hang_after_ms(load_fleet(file, root=EXAMPLES)) == limit_ms


@pytest.mark.parametrize("arguments", [(), ("draw", "feed"), ("dump",), ("record", "feed", "-d", "0"), ("top", "-x")])
def test_what_cannot_be_meant_ends_with_2(profile, arguments):
    profile(*arguments, code=2)
