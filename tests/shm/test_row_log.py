"""Rows in a file: each is there when it was handed over, to whoever comes after its process, and to nobody before."""

import os
import subprocess
import sys

import pytest

from hive.shm.row_log import SUFFIX, RowLog, abandoned, read_rows

WRITER = """
import os, signal, sys
from pathlib import Path
from hive.shm.row_log import RowLog
log = RowLog(Path(sys.argv[1]))
for number in range(1000):
    log.add({"number": number, "text": "\\n\\0" * number})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def log(tmp_path):
    one = RowLog(tmp_path)
    yield one
    one.close()


def left_in(folder):
    """Return the rows of every file that nobody holds, by file, and let go of it."""
    found = []
    for _, fd in abandoned(folder):
        found.append(read_rows(fd))
        os.close(fd)
    return found


def files(folder):
    return list(folder.glob(f"*{SUFFIX}"))


def rows(*numbers):
    return [{"number": number} for number in numbers]


def add(log, *numbers):
    for row in rows(*numbers):
        log.add(row)


def test_rows_of_a_killed_process_are_there(tmp_path):
    assert subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], check=False).returncode < 0
    ((*found,),) = left_in(tmp_path)
    assert [row["number"] for row in found] == list(range(1000))
    assert found[3]["text"] == "\n\0" * 3


def test_a_file_is_its_processs_own_while_it_lives(tmp_path, log):
    add(log, 1)
    assert left_in(tmp_path) == []
    log.close()
    assert left_in(tmp_path) == [rows(1)]


def test_what_was_cleared_is_not_read_again(tmp_path, log):
    add(log, *range(100, 120))
    log.clear()
    add(log, 1)
    log.close()
    assert left_in(tmp_path) == [rows(1)]


def test_a_file_without_rows_is_removed_at_the_end(tmp_path, log):
    add(log, 1)
    log.clear()
    log.close()
    assert files(tmp_path) == []


def test_a_line_that_was_not_written_to_its_end_and_what_follows_it_do_not_count(tmp_path, log):
    add(log, *range(100, 120))
    log.clear()
    add(log, 1, 2)
    (path,) = files(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(b"\n") + 12] ^= 1
    path.write_bytes(data)
    log.close()
    assert left_in(tmp_path) == [rows(1)]


def test_a_long_file_is_begun_anew_with_what_is_kept(tmp_path):
    log = RowLog(tmp_path, reserved_bytes=1000)
    number = 0
    while not log.is_long:
        number += 1
        add(log, number)
    log.keep(rows(number))
    assert not log.is_long
    add(log, number + 1)
    log.close()
    assert left_in(tmp_path) == [rows(number, number + 1)]


def test_a_row_that_finds_no_room_is_a_fault_and_is_written_in_its_turn_when_there_is(tmp_path):
    folder = tmp_path / "rows"
    folder.write_text("not a folder")
    log = RowLog(folder)
    add(log, 1, 2)
    assert str(folder) in log.fault
    folder.unlink()
    add(log, 3)
    assert log.fault == ""
    log.close()
    assert left_in(folder) == [rows(1, 2, 3)]


def test_a_file_that_cannot_be_begun_anew_stays(tmp_path):
    folder = tmp_path / "rows"
    log = RowLog(folder)
    add(log, 1)
    folder.rename(tmp_path / "away")
    folder.write_text("not a folder")
    log.keep(rows(9))
    add(log, 2)
    log.close()
    assert left_in(tmp_path / "away") == [rows(1, 2)]
