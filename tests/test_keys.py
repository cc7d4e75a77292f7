"""Keys on their way to the gate: sealed files in memory, and a process that starts itself anew without them."""

import json
import os
import subprocess
import sys

import pytest

from hive import keys

ANEW = """
import json, os
from hive import keys

fds = keys.take_over(os.environ)
if fds is None:
    keys.start_anew({"binance": keys.seal("the-key", "the-secret")}, {"HIDDEN", "HBOT_PASSWORD"})
(fd,) = fds.values()
said = {
    "venue": list(fds), "pair": json.loads(os.pread(fd, 999, 0)), "inheritable": os.get_inheritable(fd),
    "environment": open("/proc/self/environ").read() + repr(dict(os.environ)),
}
print(json.dumps(said))
"""


def test_a_sealed_pair_can_be_read_and_never_changed():
    fd = keys.seal("the-key", "the-secret")
    try:
        assert json.loads(os.pread(fd, 999, 0)) == {"api_key": "the-key", "api_secret": "the-secret"}
        for change in (lambda: os.pwrite(fd, b"x", 0), lambda: os.ftruncate(fd, 0), lambda: os.ftruncate(fd, 999)):
            with pytest.raises(PermissionError):
                change()
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_the_new_life_has_the_descriptors_and_none_of_the_variables():
    environment = {**os.environ, "HIDDEN": "s3cr3t", "HBOT_PASSWORD": "passw0rd", "KEPT": "kept"}
    done = subprocess.run([sys.executable, "-c", ANEW], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["venue"] == ["binance"]
    assert said["pair"] == {"api_key": "the-key", "api_secret": "the-secret"}
    assert said["inheritable"] is False
    assert "KEPT" in said["environment"]
    assert not any(word in said["environment"] for word in ("HIDDEN", "s3cr3t", "HBOT", "passw0rd"))


def test_the_first_life_finds_nothing_handed_over():
    environment = {"HOME": "/h"}
    assert keys.take_over(environment) is None
    assert environment == {"HOME": "/h"}
