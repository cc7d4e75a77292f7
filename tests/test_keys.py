"""Keys on their way to the gate: sealed files in memory."""

import json
import os

import pytest

from hive import keys


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
