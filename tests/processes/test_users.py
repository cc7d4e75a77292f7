"""A fleet of two users, started by root: what runs as the fleet's user cannot get at the gate or its keys."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from fleet_run import HIVE, FleetRun, wait_until
from hive.cli_errors import CONFIG

EXCHANGE = ("--rate", "100")
USER, GATE_USER = "daemon", "nobody"
TOUCH = {
    "id": "left",
    "script": "touch_maker",
    "config": "touch_maker.yml",
    "set": {"trading_pair": "BTC-USDT", "refresh_seconds": 3},
}
# What hostile code of the fleet's user would try; prints for each attempt whether it got through.
ATTACK = """
import ctypes, json, os, sys

def tried(attempt):
    try:
        return bool(attempt())
    except OSError:
        return False

def read(path):
    with open(path, "rb") as file:
        return file.read(1)

def attach(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, pid, None, None) != 0:  # PTRACE_ATTACH
        return False
    os.waitpid(pid, 0x40000000)  # __WALL
    libc.ptrace(17, pid, None, None)
    return True

def take(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    return any(libc.syscall(438, os.pidfd_open(pid), fd, 0) >= 0 for fd in range(40))  # pidfd_getfd

def of(pid):
    place = f"/proc/{pid}"
    return {
        "environ": tried(lambda: read(f"{place}/environ")),
        "memory": tried(lambda: open(f"{place}/mem", "rb")),
        "descriptors": tried(lambda: os.listdir(f"{place}/fd")),
        "pidfd": tried(lambda: take(pid)),
        "trace": tried(lambda: attach(pid)),
        "signal": tried(lambda: os.kill(pid, 0) is None),
    }

print(json.dumps({"files": [tried(lambda: read(path)) for path in sys.argv[1].split(":")],
                  **{pid: of(int(pid)) for pid in sys.argv[2:]}}))
"""


def runs_as_others() -> bool:
    """Return whether this process may start the interpreter as another user, and that user may run it."""
    if os.geteuid() != 0:
        return False
    try:
        return subprocess.run([sys.executable, "-c", ""], user=USER, group=1, extra_groups=[]).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not runs_as_others(), reason="needs root, and an interpreter that other users may run")


@pytest.fixture
def folder():
    """A folder that the fleet's user can reach, which pytest's own is not."""
    made = Path(tempfile.mkdtemp(prefix="hive-users-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def fleet(folder, exchange):
    owner = pwd.getpwnam(USER)
    (folder / "keys.yml").touch(0o600)
    pair = {name: exchange.told[name] for name in ("api_key", "api_secret")}
    (folder / "keys.yml").write_text(yaml.safe_dump(pair))
    urls = {name: exchange.told[name] for name in ("rest_url", "ws_url", "ws_api_url")}
    venues = {"binance": {"mode": "live", **urls, "keys_file": "keys.yml"}}
    run = FleetRun(folder, exchange, [TOUCH], venues=venues, user=USER, gate_user=GATE_USER)
    for name in ("state", "run"):
        (folder / name).mkdir()
        os.chown(folder / name, owner.pw_uid, owner.pw_gid)
    run.report_file = folder / "run" / "report.json"
    run.env |= {"XDG_RUNTIME_DIR": str(folder / "run")}
    yield run
    run.close()


def ids(pid: int) -> tuple[list[str], set[int]]:
    """Return a process's real, effective and saved user and the one of its files, and its capabilities."""
    lines = [line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    (uids,) = [words[1:] for words in lines if words[0] == "Uid:"]
    capabilities = {int(words[1], 16) for words in lines if words[0] in ("CapPrm:", "CapEff:", "CapAmb:")}
    return [pwd.getpwuid(int(uid)).pw_name for uid in uids], capabilities


def traced_by_its_own() -> bool:
    """Return whether the kernel lets a user trace its own processes at all (admin-guide/LSM/Yama.rst)."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return not scope.exists() or scope.read_text().strip() == "0"


def as_user(run: FleetRun, *command: str) -> subprocess.CompletedProcess:
    owner = pwd.getpwnam(USER)
    return subprocess.run(
        command, env=run.env, user=owner.pw_uid, group=owner.pw_gid, extra_groups=[], capture_output=True, text=True
    )


def running(run: FleetRun) -> dict | None:
    assert run.process.poll() is None, run.text()
    result = as_user(run, *HIVE, "status", run.name, "--json")
    status = json.loads(result.stdout) if result.returncode == 0 else {"strategies": []}
    return status if status["strategies"] and all(s["state"] == "running" for s in status["strategies"]) else None


def test_strategies_trade_through_a_gate_that_they_cannot_look_into(fleet, exchange):
    fleet.up(workers=1)
    status = wait_until(lambda: running(fleet), f"running: {fleet.text()}")
    wait_until(exchange.orders, "an order at the exchange")
    pids = {one["role"]: one["pid"] for one in status["processes"]}
    assert ids(pids["gate"]) == ([USER, GATE_USER, GATE_USER, USER], {0})
    for role in ("feed", "server", "worker"):
        assert ids(pids[role]) == ([USER] * 4, {0}), role
    assert ids(pids["supervisor"])[0] == [USER] * 4

    keys = str(fleet.folder / "keys.yml")
    got = json.loads(as_user(fleet, sys.executable, "-c", ATTACK, keys, *map(str, pids.values())).stdout)
    assert got["files"] == [False]
    nothing = dict.fromkeys(("environ", "memory", "descriptors", "pidfd", "trace", "signal"), False)
    for role in ("gate", "supervisor"):
        assert got[str(pids[role])] == {**nothing, "signal": True}, role
    works = got[str(pids["worker"])]  # the attack gets through where nothing is in its way
    assert all(works[way] for way in ("environ", "descriptors", "signal")), works
    assert traced_by_its_own() == all(works[way] for way in ("memory", "pidfd", "trace")), works

    before = len(exchange.orders())
    os.kill(pids["gate"], signal.SIGKILL)
    wait_until(lambda: len(exchange.orders()) > before, f"orders through another gate: {fleet.text()}")
    (again,) = [one["pid"] for one in running(fleet)["processes"] if one["role"] == "gate"]
    assert again != pids["gate"]
    assert ids(again) == ([USER, GATE_USER, GATE_USER, USER], {0})
    assert fleet.stop() == 0, fleet.text()
    assert exchange.open_orders() == []


def test_a_link_among_the_strategies_files_opens_no_file_of_roots(fleet):
    link = fleet.folder / "run" / "mine.yml"
    link.symlink_to(fleet.folder / "keys.yml")
    described = yaml.safe_load(fleet.file.read_text())
    described["strategies"] = [{"script": "touch_maker", "config": str(link)}]
    fleet.file.write_text(yaml.safe_dump(described))
    fleet.up(workers=1)
    assert fleet.process.wait(60) == CONFIG
    assert fleet.text() == f"error: {link}: Permission denied\n"


def test_a_fleet_file_that_others_may_change_is_refused(fleet):
    fleet.file.chmod(0o666)
    fleet.up(workers=1)
    assert fleet.process.wait(60) == CONFIG
    rule = f"{fleet.file} must be root's and writable by nobody else: the gate depends on it"
    assert fleet.text() == f"error: trial.yml: gate_user: {rule}\n"
