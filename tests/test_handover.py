"""From `hive up` to the supervisor: what goes along, what stays behind, and what the supervisor never imports."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleet_run import EXAMPLES
from hive import keys
from hive.config import load_fleet
from hive.config_reader import ConfigError, read_fleet
from hive.handover import HandOver, UpOptions
from hive.plan import Placement

FIRST = """
import pickle, sys
from hive import handover

handover.become(pickle.load(sys.stdin.buffer), {"HIDDEN", "HBOT_PASSWORD"}, "second_program")
"""
SECOND = """
import json, os, pickle, signal, sys
from hive import handover

blocked = [signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
handed = handover.taken(int(sys.argv[1]))
(fd,) = handed.key_fds.values()
told = {
    "pid": os.getpid(),
    "pair": json.loads(os.pread(fd, 999, 0)),
    "inheritable": os.get_inheritable(fd),
    "environment": open("/proc/self/environ").read(),
    "arguments": sys.argv[2:],
    "blocked": [*blocked, signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
    "open": [os.path.realpath(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd")],
}
sys.stdout.buffer.write(pickle.dumps((handed, told)))
"""
HEAVY = {"pydantic", "yaml", "click", "curses", "aiohttp", "picows", "msgspec", "numpy", "hummingbot"}
HEAVY |= {"prometheus_client"}  # only hive.up_metrics has it


def handed_over(handed: HandOver, folder: Path) -> tuple[int, HandOver, dict[str, Any]]:
    """Return the pid of the first program, and what the second found and saw."""
    (folder / "second_program.py").write_text(SECOND)
    secret = {"HIDDEN": "s3cr3t", "HBOT_PASSWORD": "passw0rd"}
    process = subprocess.Popen(
        [sys.executable, "-c", FIRST, "up", "--workers", "2"],
        env={**os.environ, **secret, "KEPT": "kept", "PYTHONPATH": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=list(handed.key_fds.values()),
    )
    out, _ = process.communicate(pickle.dumps(handed), timeout=60)
    assert process.returncode == 0
    return (process.pid, *pickle.loads(out))


def test_the_supervisor_has_what_was_read_and_descriptors_of_keys_and_no_secret(tmp_path):
    fd = keys.seal("the-key", "the-secret")
    try:
        fleet = load_fleet(EXAMPLES / "fleet.yml")
        handed = HandOver(UpOptions(Path("fleet.yml")), fleet, Placement((), (0,), (1,), ()), None, {"binance": fd})
        pid, found, told = handed_over(handed, tmp_path)
    finally:
        os.close(fd)
    assert found == handed
    assert told["pid"] == pid
    assert told["pair"] == {"api_key": "the-key", "api_secret": "the-secret"}
    assert told["inheritable"] is False
    assert told["arguments"] == ["up", "--workers", "2"]
    assert "KEPT" in told["environment"]
    assert not any(word in told["environment"] for word in ("HIDDEN", "s3cr3t", "HBOT", "passw0rd"))
    assert not any("hive-up" in file for file in told["open"])
    assert told["blocked"] == [True, False]  # a ctrl-C between the two programs waits for the second


def test_the_supervisor_imports_nothing_that_only_reading_a_fleet_needs():
    code = "import hive.up, sys, json; print(json.dumps(sorted({one.split('.')[0] for one in sys.modules})))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert HEAVY.isdisjoint(json.loads(done.stdout))


def test_a_fleet_that_another_process_reads_is_the_same():
    path = EXAMPLES / "fleet.yml"
    assert read_fleet(path, name="other") == load_fleet(path, name="other")


def test_errors_found_by_another_process_are_the_same(tmp_path):
    path = tmp_path / "fleet.yml"
    path.write_text("venues: {binance: {mode: sim, sede: 7}}\nstrategies: [{script: nowhere, shre: 1}]\n")
    with pytest.raises(ConfigError) as here:
        load_fleet(path)
    with pytest.raises(ConfigError) as there:
        read_fleet(path)
    assert there.value.problems == here.value.problems
    assert "fleet.yml: strategies.0.shre: Extra inputs are not permitted" in there.value.problems


def test_a_reader_that_dies_is_an_error_and_no_fleet(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))  # where no standard library is: the interpreter ends at once
    with pytest.raises(ConfigError, match=r"fleet\.yml: the process that reads it did not answer"):
        read_fleet(EXAMPLES / "fleet.yml")
