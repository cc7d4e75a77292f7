"""Which fleets the commands find, and what they say of those that another build of Hive runs."""

import os
import re

import pytest

from hive.cli_ask import find_fleet, find_readable
from hive.cli_errors import ERROR, NOT_RUNNING, Failure
from hive.shm.layout import LAYOUT_VERSION
from hive.shm.segment import Segment, process_start_ticks
from hive.state import SCHEMA, FleetDir

VERSION_AT = 8  # in a segment's header, behind the magic


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    found = FleetDir.of("demo")
    lock = found.lock()
    yield found
    os.close(lock)


def fleet(schema: int = SCHEMA, **segments: str) -> dict:
    pid = os.getpid()
    return {"schema": schema, "pid": pid, "start_ticks": process_start_ticks(pid), "segments": segments}


@pytest.fixture
def segment():
    made = Segment.create(f"/hive.cliask.{os.getpid()}", 4096, kind="counters", epoch=1)
    yield made
    made.unlink()
    made.close()


def test_a_fleet_whose_memory_can_be_read_is_found_also_while_a_process_of_it_is_replaced(folder, segment):
    folder.write(fleet(gone="/hive.cliask.gone", there=segment.name))
    assert find_readable("demo") == find_readable(None) == folder


def test_a_fleet_of_another_build_can_be_reached_but_not_shown(folder, segment):
    folder.write(fleet(gone="/hive.cliask.gone", there=segment.name))
    with open(f"/dev/shm{segment.name}", "r+b") as file:
        os.pwrite(file.fileno(), (LAYOUT_VERSION + 1).to_bytes(4, "little"), VERSION_AT)
    assert find_fleet("demo") == folder
    text = f"demo runs under another build of Hive.* has layout {LAYOUT_VERSION + 1}/"
    with pytest.raises(Failure, match=text) as raised:
        find_readable("demo")
    assert raised.value.exit_code == ERROR


def test_a_fleet_of_another_version_is_not_said_to_have_died(folder):
    folder.write(fleet(schema=SCHEMA + 1))
    text = re.escape("fleet demo: it runs under another version of Hive, whose commands reach it")
    with pytest.raises(Failure, match=text) as raised:
        find_fleet("demo")
    assert raised.value.exit_code == NOT_RUNNING
