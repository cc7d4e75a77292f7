"""What `fleet.py` compares, each at the simulated exchange of the script: a fleet of `hive up`, and stock engines.

    FleetUnderTest   perf/hundred.yml, two workers; looked at from outside through its counters and /proc
    StockEngines     one process per strategy (stock_engine.py), one or more of every kind of the same mix
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from harness import check, wait_until
from hive.processes import process_facts
from hive.shm.snapshots import CountersSnapshot
from hive.state import FleetDir
from hive.top_sample import Member, Sample, Sampler
from hundred import MIX, NAME, write, write_single
from sim_rig import SimExchange

HERE = Path(__file__).parent
HIVE = Path(sys.executable).with_name("hive")
START_S = 180.0
STOP_S = 90.0
MB = 1e6
KEYS = ("PERF_KEY", "PERF_SECRET")


class FleetUnderTest:
    """A running fleet; a context manager that ends it well.

    Args:
        folder: for all its files; must not exist yet.
        exchange: where it trades.
        size: how many strategies.
        tick_ms: one tick interval for all, None for the fleet file's.
    """

    def __init__(self, folder: Path, exchange: SimExchange, *, size: int, tick_ms: int | None = None) -> None:
        urls = {key: exchange.told[key] for key in ("rest_url", "ws_url", "ws_api_url")}
        venue = {"mode": "live", **urls, "api_key_env": KEYS[0], "api_secret_env": KEYS[1]}
        file = write(folder / "root", size=size, venue=venue, tick_ms=tick_ms)
        self.size = size
        self.start_s = 0.0
        self._output = folder / "output.txt"
        os.environ |= {"XDG_STATE_HOME": str(folder / "state"), "XDG_RUNTIME_DIR": str(folder)}  # the sampler's too
        keys = {KEYS[0]: exchange.told["api_key"], KEYS[1]: exchange.told["api_secret"]}
        command = [HIVE, "up", "--workers", "2", "--strategies", file]
        self._began = time.monotonic()
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command, env={**os.environ, **keys}, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self._sampler = Sampler(FleetDir.of(NAME))

    def __enter__(self) -> "FleetUnderTest":
        return self

    def __exit__(self, *_: object) -> None:
        self._sampler.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()  # its children see that it is gone, and end
                self._process.wait()

    def wait_running(self) -> None:
        """Wait until every strategy runs and has ticked; `start_s` is how long that took from the command's start."""
        wait_until(self._ticks, self._why_not, START_S)
        self.start_s = time.monotonic() - self._began

    def sample(self) -> Sample:
        """Return the fleet as it is now, with memory; WrongAnswer when it has ended or a strategy does not run."""
        sample = self._sampler.sample(pss=True)
        check(sample is not None and sample.alive, f"the fleet has ended:\n{self._text()}")
        lame = [f"{one['id']} {one['state']}" for one in sample.fleet["strategies"] if one["state"] != "running"]
        check(not lame, f"every strategy must run, these do not: {', '.join(lame)}")
        restarted = [one["role"] for one in sample.fleet["processes"] if one["restarts"]]
        check(not restarted, f"no process must have died, these have: {', '.join(restarted)}")
        return sample

    def pids(self) -> list[int]:
        """Return all its processes."""
        return [one["pid"] for one in self.sample().fleet["processes"]]

    def _ticks(self) -> bool:
        check(self._process.poll() is None, f"hive up has ended:\n{self._text()}")
        sample = self._sampler.sample()
        if sample is None:
            return False
        strategies = sample.fleet["strategies"]
        failed = [f"{one['id']}: {one['message']}" for one in strategies if one["state"] == "failed"]
        check(not failed, f"strategies did not start: {', '.join(failed)}")
        running = [one for one in strategies if one["state"] == "running"]
        ticked = [value for (name, _), value in sample.counters["worker"].values.items() if name == "ticks" and value]
        return len(running) == len(ticked) == self.size

    def _why_not(self) -> str:
        sample = self._sampler.sample()
        states = [one["state"] for one in sample.fleet["strategies"]] if sample is not None else []
        counted = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
        return f"{self.size} strategies running; {counted or 'no fleet'}\n{self._text()}"

    def _text(self) -> str:
        return self._output.read_text()


def pss_mb(sample: Sample) -> dict[str, float]:
    """Return the memory of each process of a fleet in MB: proportional where it may be read, else resident."""
    return {
        name(member): (facts.rss if facts.pss is None else facts.pss) / MB for member, facts in sample.facts.items()
    }


def name(member: Member) -> str:
    """Return what a process is called."""
    role, index = member
    return f"{role} {index}" if role == "worker" else role


def cpu_s(sample: Sample) -> dict[str, float]:
    """Return the CPU seconds of each process in a sample."""
    return {name(member): facts.cpu_ns / 1e9 for member, facts in sample.facts.items()}


def ticks_cpu_s(worker: CountersSnapshot) -> float:
    """Return the seconds inside the strategies' ticks: durations, so what preempted them counts as theirs."""
    return worker.merged("tick_duration_ns").sum / 1e9


class StockEngines:
    """Stock engines, `each` of every kind, all on the account of the exchange; a context manager that kills them."""

    def __init__(self, folder: Path, exchange: SimExchange, *, each: int) -> None:
        self._processes: dict[str, list[subprocess.Popen]] = {kind: [] for kind in MIX}
        self._outputs: dict[int, Path] = {}
        for kind in MIX:
            for number in range(each):
                self._start(folder / f"stock-{kind}-{number}", exchange, kind)

    def __enter__(self) -> "StockEngines":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._all():
            process.kill()
            process.wait()
            process.stdin.close()

    def __len__(self) -> int:
        return len(self._outputs)

    def wait_ready(self) -> None:
        """Wait until all have started their strategies."""
        for process in self._all():
            output = self._outputs[process.pid]
            wait_until(lambda: "READY\n" in output.read_text(), output.read_text, START_S)  # noqa: B023  called here

    def pids(self, kind: str) -> list[int]:
        """Return the processes of a kind; WrongAnswer when one has ended."""
        ended = [one.pid for one in self._processes[kind] if one.poll() is not None]
        check(not ended, "".join(f"a stock engine ended:\n{self._outputs[pid].read_text()[-3000:]}" for pid in ended))
        return [one.pid for one in self._processes[kind]]

    def cpu_s(self, kind: str) -> float:
        """Return the CPU seconds of an engine of a kind so far, on average."""
        pids = self.pids(kind)
        return sum(process_facts(pid).cpu_ns for pid in pids) / len(pids) / 1e9

    def memory_mb(self, kind: str) -> tuple[float, float]:
        """Return (private, shared with other processes) memory of an engine of a kind in MB, on average."""
        pids = self.pids(kind)
        figures = [private_and_shared_mb(pid) for pid in pids]
        return sum(own for own, _ in figures) / len(pids), sum(shared for _, shared in figures) / len(pids)

    def _all(self) -> list[subprocess.Popen]:
        return [process for processes in self._processes.values() for process in processes]

    def _start(self, folder: Path, exchange: SimExchange, kind: str) -> None:
        v1, config = write_single(folder, kind)
        for name in ("data", "logs", "conf/connectors"):
            (folder / name).mkdir()
        told = {"folder": str(folder), "kind": "v1" if v1 else "script", "config": config}
        output = folder / "output.txt"  # the client prints its log as well, so no pipe that somebody has to read
        with output.open("wb") as writable:
            process = subprocess.Popen(
                [sys.executable, HERE / "stock_engine.py"], cwd=folder,
                stdin=subprocess.PIPE, stdout=writable, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        process.stdin.write(json.dumps({**exchange.told, **told}) + "\n")
        process.stdin.flush()
        self._processes[kind].append(process)
        self._outputs[process.pid] = output


def private_and_shared_mb(pid: int) -> tuple[float, float]:
    """Return a process's (private, shared) memory in MB; the shared one counts whole."""
    kilobytes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        kilobytes[name] = int(value)
    private = kilobytes["Private_Clean:"] + kilobytes["Private_Dirty:"]
    shared = kilobytes["Shared_Clean:"] + kilobytes["Shared_Dirty:"]
    return private * 1024 / MB, shared * 1024 / MB
