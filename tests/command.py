"""Run `hive` as an operator does: real commands, a private home, a simulated exchange that comes with the fleet."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "examples"
HIVE = str(Path(sys.executable).with_name("hive"))
PATIENCE_S = 60.0
FLEET = """
name: {name}
venues: {{binance: {{mode: sim, seed: 5}}}}
runtime: {{hang_after_ms: 1000}}
strategies:
- {{id: touch, script: touch_maker, config: touch_maker.yml, for_each: {{trading_pair: [BTC-USDT, ETH-USDT]}}}}
"""


class Command:
    """`hive` in a private home, and at most one `hive up` at a time."""

    def __init__(self, folder: Path, name: str = "bench", text: str = FLEET) -> None:
        self.name = name
        self.folder = folder
        self.env = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "HOME": str(folder)}
        self.file = folder / "fleet.yml"
        self.file.write_text(text.format(name=name))
        self.report = folder / "report.json"
        self.process: subprocess.Popen | None = None

    def run(self, *arguments: str, patience_s: float = PATIENCE_S) -> subprocess.CompletedProcess:
        """Run a command to its end."""
        command = [HIVE, *arguments]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=patience_s, check=False)

    def up(self, *options: str) -> None:
        """Start `hive up --json`; its lines go to a file."""
        command = [HIVE, "up", "--json", "--strategies", str(self.file), "--root", str(EXAMPLES), "--workers", "2"]
        with (self.folder / "output.txt").open("ab") as output:
            self.process = subprocess.Popen(
                [*command, *options], env=self.env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def lines(self) -> list[dict[str, Any]]:
        """Return what `hive up` has printed."""
        text = (self.folder / "output.txt").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def wait_for(self, condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
        """Return the first true value; AssertionError with the output when it does not come or `hive up` ends."""
        deadline = time.monotonic() + patience_s
        while not (value := condition()):
            text = (self.folder / "output.txt").read_text()
            assert self.process.poll() is None, f"hive up ended while waiting for: {what}\n{text}"
            assert time.monotonic() < deadline, f"not in {patience_s:g} s: {what}\n{text}"
            time.sleep(0.05)
        return value

    def wait_for_event(self, event: str, count: int = 1) -> dict[str, Any]:
        """Return the `count`-th line of that event."""

        def found() -> dict[str, Any] | None:
            events = [line for line in self.lines() if line["event"] == event]
            return events[count - 1] if len(events) >= count else None

        return self.wait_for(found, f"event {event}")

    def status(self) -> dict[str, Any]:
        """Return `hive status --json`."""
        result = self.run("status", self.name, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def process_of(self, role: str, index: int = 0) -> dict[str, Any]:
        """Return what the status says of one process; {} while it is being replaced."""
        processes = self.status()["processes"]
        return next((one for one in processes if (one["role"], one["index"]) == (role, index)), {})

    def stop(self, number: int = signal.SIGTERM, patience_s: float = PATIENCE_S) -> int:
        """Signal `hive up` and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(patience_s)

    def close(self) -> None:
        """End what a failed test left."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
