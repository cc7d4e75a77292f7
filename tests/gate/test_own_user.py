"""What the gate is once it has become a user of its own."""

import json
import os
import subprocess
import sys

import pytest

CODE = """
import json, os, sys
from hive.gate.errors import BootError
from hive.gate.own_user import become

own, made = int(sys.argv[1]), sys.argv[2]
os.setresgid(own, -1, -1)
if own:
    os.setresuid(own, own, own)  # without a capability, as whoever starts it without being allowed to
try:
    become(65534, 65533)
except BootError as error:
    print(json.dumps({"refused": str(error)}))
    sys.exit()
open(made, "w").close()
lines = [line.split() for line in open("/proc/self/status")]
found = {words[0]: words[1:] for words in lines if words[0][:3] in ("Uid", "Gid", "Cap", "Gro")}
made = os.stat(made)
print(json.dumps({**found, "made": [made.st_uid, made.st_gid]}))
"""
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def become_in_a_process(own: int, made: str) -> dict:
    command = [sys.executable, "-c", CODE, str(own), made]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_keeps_the_files_of_who_started_it_and_no_capability(tmp_path):
    told = become_in_a_process(0, str(tmp_path / "made"))
    assert told["Uid:"] == ["0", "65534", "65534", "0"]
    assert told["Gid:"] == ["0", "65533", "65533", "0"]
    assert told["Groups:"] == []
    assert told["made"] == [0, 0]
    sets = {name: int(value[0], 16) for name, value in told.items() if name.startswith("Cap") and name != "CapBnd:"}
    assert sets == dict.fromkeys(("CapInh:", "CapPrm:", "CapEff:", "CapAmb:"), 0)


def test_without_the_right_to_change_users_the_gate_does_not_start(tmp_path):
    told = become_in_a_process(1, str(tmp_path / "made"))
    assert told == {"refused": "gate_user: the gate may not become uid 65534, gid 65533: Operation not permitted"}
