"""`hive logs`: the last lines and what follows, of one file or several, whatever becomes of the files meanwhile."""

import json
import os
import random
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from command import HIVE, PATIENCE_S, Command
from hive.cli_errors import ERROR, NOT_FOUND, OK
from hive.cli_logs import Reader, choose
from hive.logs import LogFile, Record, in_order
from hive.shm.segment import process_start_ticks


def stamp(number: int) -> str:
    """Return the time of the number-th line, 10 ms apart."""
    return f"2026-11-26 04:{number // 6000:02}:{number // 100 % 60:02}.{number % 100 * 10:03}"


def line(number: int, text: str = "x") -> str:
    return f"{stamp(number)} INFO {text} {number}"


def texts(records: list[Record]) -> list[str]:
    return [one for record in records for one in record.lines]


class Rotated:
    """A log that its writer rotates, as logging's RotatingFileHandler does: renamed upwards, then begun anew."""

    def __init__(self, path: Path, keep: int) -> None:
        self.path = path
        self._keep = keep
        self._file = path.open("ab", buffering=0)

    def write(self, text: str) -> None:
        self._file.write(text.encode())

    def rotate(self) -> None:
        self._file.close()
        for number in range(self._keep, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number - 1}") if number > 1 else self.path
            if older.exists():
                older.rename(self.path.with_name(f"{self.path.name}.{number}"))
        self._file = self.path.open("ab", buffering=0)


# one file


@pytest.mark.parametrize("count", [1, 7, 1000, 5000])
def test_the_last_lines_are_those_of_the_newest_part_and_of_older_ones_where_it_has_fewer(tmp_path, count):
    log = Rotated(tmp_path / "a.log", keep=9)
    for number in range(3000):
        log.write(line(number, "y" * 80) + "\n")
        if number in (1000, 1001, 2500):
            log.rotate()
    found = texts(LogFile(log.path, "a").last(count))
    assert found[-count:] == [line(number, "y" * 80) for number in range(max(0, 3000 - count), 3000)]


def test_whatever_is_written_and_rotated_is_read_once_and_in_order(tmp_path):
    rng = random.Random(3)
    for attempt in range(60):
        log = Rotated(tmp_path / f"{attempt}.log", keep=30)
        written = rng.randint(0, 40)
        log.write("".join(line(number) + "\n" for number in range(written)))
        follower = LogFile(log.path, "a")
        found = texts(follower.last(5))[-5:]
        first = max(0, written - 5)
        half = False  # a line is written to its middle
        for _ in range(200):
            what = rng.random()
            if what < 0.5:
                text = line(written)
                log.write(text[20:] + "\n" if half else text + "\n")
                half, written = False, written + 1
            elif what < 0.6 and not half:
                log.write(line(written)[:20])
                half = True
            elif what < 0.75 and not half:
                log.rotate()
            else:
                found += texts(follower.more())
        if half:
            log.write(line(written)[20:] + "\n")
            written += 1
        found += texts(follower.more())
        follower.close()
        assert found == [line(number) for number in range(first, written)]


def test_a_file_that_comes_later_is_followed_and_so_is_one_that_comes_again(tmp_path):
    path = tmp_path / "a.log"
    follower = LogFile(path, "a")
    assert follower.last(10) == []
    assert follower.more() == []
    path.write_text(line(0) + "\n")
    assert texts(follower.more()) == [line(0)]
    path.unlink()
    assert follower.more() == []
    path.write_text(line(1) + "\n" + line(2) + "\n")
    assert texts(follower.more()) == [line(1), line(2)]
    follower.close()


def test_of_parts_that_were_removed_unread_all_that_is_left_is_read(tmp_path):
    log = Rotated(tmp_path / "a.log", keep=2)
    log.write(line(0) + "\n")
    follower = LogFile(log.path, "a")
    follower.last(1)
    log.write(line(1) + "\n")
    for number in range(2, 6):
        log.rotate()
        log.write(line(number) + "\n")
    assert texts(follower.more()) == [line(number) for number in (1, 3, 4, 5)]  # 2 was removed before it was seen
    follower.close()


def test_a_log_that_was_removed_by_hand_does_not_bring_back_what_is_older(tmp_path):
    log = Rotated(tmp_path / "a.log", keep=2)
    log.write(line(0) + "\n")
    os.utime(log.path, (1, 1))
    log.rotate()
    log.write(line(1) + "\n")
    follower = LogFile(log.path, "a")
    assert texts(follower.last(1)) == [line(1)]
    log.path.unlink()
    assert follower.more() == []
    log.path.write_text(line(2) + "\n")
    assert texts(follower.more()) == [line(2)]
    follower.close()


def test_a_file_that_was_cut_is_read_from_its_beginning(tmp_path):
    path = tmp_path / "a.log"
    path.write_text(line(0) + "\n" + line(1) + "\n")
    follower = LogFile(path, "a")
    follower.last(1)
    os.truncate(path, 0)
    with path.open("a") as file:
        file.write(line(2) + "\n")
    assert texts(follower.more()) == [line(2)]
    follower.close()


def test_a_line_without_an_end_waits_for_it(tmp_path):
    path = tmp_path / "a.log"
    path.write_text(line(0) + "\n" + line(1))
    follower = LogFile(path, "a")
    assert texts(follower.last(10)) == [line(0)]
    assert follower.more() == []
    with path.open("a") as file:
        file.write(" and more\n")
    assert texts(follower.more()) == [line(1) + " and more"]
    follower.close()


def test_lines_without_a_time_belong_to_the_record_before_them(tmp_path):
    path = tmp_path / "a.log"
    path.write_text(f"no time yet\n{line(0)}\nTraceback\n  File x\n{line(1)}\n")
    records = LogFile(path, "a").last(10)
    assert [record.lines for record in records] == [
        ("no time yet",),
        (line(0), "Traceback", "  File x"),
        (line(1),),
    ]
    assert [record.time for record in records] == ["", stamp(0), stamp(1)]


def test_a_comma_before_the_milliseconds_is_the_same_time(tmp_path):
    (tmp_path / "a.log").write_text("2026-11-26 04:00:01,250 INFO hive.feed: x\n")
    assert LogFile(tmp_path / "a.log", "a").last(1)[0].time == "2026-11-26 04:00:01.250"


def test_what_is_no_text_does_nothing_to_the_terminal(tmp_path):
    (tmp_path / "a.log").write_bytes(b"2026-11-26 04:00:01.250 \x1b[2Jred\x00 \xff\tok\n")
    assert texts(LogFile(tmp_path / "a.log", "a").last(1)) == ["2026-11-26 04:00:01.250 \\x1b[2Jred\\x00 �\tok"]


def test_of_a_filtered_log_as_many_lines_are_found_as_there_are(tmp_path):
    path = tmp_path / "worker0.log"
    lines = [line(number, "rare" if number % 1000 == 0 else "often") for number in range(20_000)]
    path.write_text("".join(f"{one}\n" for one in lines))
    follower = LogFile(path, "w", lambda text: " rare " in text)
    assert texts(follower.last(12))[-12:] == [one for one in lines if " rare " in one][-12:]
    with path.open("a") as file:
        file.write(f"{line(20_000, 'often')}\nits traceback\n{line(20_001, 'rare')}\nits own\n")
    assert texts(follower.more()) == [line(20_001, "rare"), "its own"]
    with path.open("a") as file:
        file.write("and its end\n")
    assert texts(follower.more()) == ["and its end"]
    follower.close()


# several files


def test_records_of_several_files_are_in_the_order_of_their_times_and_those_of_one_file_in_its_own():
    one = [Record("2", "a", ("a2",)), Record("5", "a", ("a5",)), Record("3", "a", ("a3 late",))]
    two = [Record("1", "b", ("b1",)), Record("4", "b", ("b4", "b4 more"))]
    assert texts(in_order([one, two])) == ["b1", "a2", "b4", "b4 more", "a5", "a3 late"]


@pytest.fixture
def folder(tmp_path):
    """Logs of a fleet that has two workers and two strategies with a log of their own."""
    logs = tmp_path / "state" / "hive" / "bench" / "logs"
    (logs / "strategies").mkdir(parents=True)
    for number, name in enumerate(("feed", "gate", "worker0", "worker1", "strategies/pmm-1", "strategies/pmm-2")):
        lines = [line(number + 10 * round, name) for round in range(3)]
        (logs / f"{name}.log").write_text("".join(f"{one}\n" for one in lines))
    (logs / "feed.log.1").write_text(line(0, "the run before") + "\n")
    return logs


def chosen(folder: Path, what: str | None) -> list[str]:
    return sorted(choose(folder, frozenset(), what))


def test_an_argument_means_a_process_all_workers_or_a_strategy(folder):
    assert chosen(folder, None) == ["feed", "gate", "worker0", "worker1"]
    assert chosen(folder, "gate") == ["gate"]
    assert chosen(folder, "worker") == ["worker0", "worker1"]
    assert chosen(folder, "worker1") == ["worker1"]
    assert chosen(folder, "pmm-2") == ["pmm-2"]


def test_a_process_that_starts_later_is_followed_too(folder):
    reader = Reader(partial(choose, folder, frozenset(), None))
    assert reader.last(2) == [f"worker0 | {line(22, 'worker0')}", f"worker1 | {line(23, 'worker1')}"]
    (folder / "worker12.log").write_text(line(100) + "\n")
    assert reader.more() == [f"worker12 | {line(100)}"]
    reader.close()


def test_from_now_on_means_that_nothing_old_is_shown(folder):
    reader = Reader(partial(choose, folder, frozenset(), "gate"))
    assert reader.last(0) == []
    with (folder / "gate.log").open("a") as file:
        file.write(line(50) + "\n")
    assert reader.more() == [line(50)]
    reader.close()


# the command


@pytest.fixture
def command(tmp_path):
    made = Command(tmp_path)
    made.env["XDG_RUNTIME_DIR"] = str(tmp_path / "run")
    return made


def test_all_processes_are_shown_by_time_with_their_names(command, folder):
    result = command.run("logs", "-n", "5")
    assert result.returncode == OK, result.stderr
    assert result.stdout.splitlines() == [
        f"worker1 | {line(13, 'worker1')}",
        f"feed    | {line(20, 'feed')}",
        f"gate    | {line(21, 'gate')}",
        f"worker0 | {line(22, 'worker0')}",
        f"worker1 | {line(23, 'worker1')}",
    ]


def test_one_strategy_is_shown_without_a_name_before_each_line(command, folder):
    result = command.run("logs", "pmm-1", "--fleet", "bench")
    assert result.stdout.splitlines() == [line(4 + 10 * round, "strategies/pmm-1") for round in range(3)]


def test_somebody_unknown_is_not_found_and_those_who_are_there_are_named(command, folder):
    result = command.run("logs", "pmm-3")
    assert result.returncode == NOT_FOUND
    assert result.stderr == (
        "error: there is no log of a strategy or process pmm-3; strategies: pmm-1, pmm-2; "
        "processes: feed, gate, worker0, worker1\n"
    )
    assert command.run("logs", "../feed").returncode == NOT_FOUND


def test_the_fleet_must_be_named_when_several_left_logs(command, folder):
    (folder.parents[1] / "other" / "logs").mkdir(parents=True)
    result = command.run("logs")
    assert (result.returncode, result.stderr) == (
        ERROR,
        "error: several fleets left logs, none is running, choose with --fleet: bench, other\n",
    )
    assert command.run("logs", "--fleet", "bench", "gate").returncode == OK
    nobody = command.run("logs", "--fleet", "nobody")
    assert (nobody.returncode, nobody.stderr) == (
        NOT_FOUND,
        "error: there are no logs of a fleet nobody; there are of: bench, other\n",
    )


def test_without_any_fleet_there_are_no_logs(command):
    result = command.run("logs")
    assert (result.returncode, result.stderr) == (NOT_FOUND, "error: there are no logs: no fleet has run yet\n")


def runs(command: Command, folder: Path, *ids: str) -> None:
    """Write the fleet.json of a fleet that runs: this process is its supervisor."""
    run = Path(command.env["XDG_RUNTIME_DIR"]) / "hive" / "bench"
    run.mkdir(mode=0o700, parents=True)
    (run / "lock").touch()
    document = {"schema": 1, "fleet": "bench", "pid": os.getpid(), "start_ticks": process_start_ticks(os.getpid())}
    strategies = [{"id": one} for one in ids]
    (run / "fleet.json").write_text(json.dumps({**document, "state_dir": str(folder.parent), "strategies": strategies}))


def test_a_strategy_without_a_log_of_its_own_is_found_in_those_of_the_workers(command, folder):
    for path in (folder / "strategies").iterdir():
        path.unlink()
    (folder / "strategies").rmdir()
    runs(command, folder, "pmm-1", "pmm-10")
    text = f"{stamp(60)} ERROR   4711 pmm-1 hb: broke\nTraceback\n{stamp(61)} INFO    4711 pmm-10 hb: fine\n"
    (folder / "worker1.log").write_text(text)
    result = command.run("logs", "pmm-1")
    assert result.stdout.splitlines() == [f"worker1 | {stamp(60)} ERROR   4711 pmm-1 hb: broke", "worker1 | Traceback"]
    missing = command.run("logs", "pmm-3")
    assert "strategies: pmm-1, pmm-10; processes: feed" in missing.stderr


def test_following_goes_on_over_a_rotation_until_it_is_interrupted(command, folder):
    log = Rotated(folder / "strategies" / "pmm-1.log", keep=3)
    output = command.folder / "followed.txt"
    with output.open("wb") as file:
        process = subprocess.Popen([HIVE, "logs", "pmm-1", "-f", "-n", "1"], env=command.env, stdout=file)
    try:
        wait_for(output, 1)
        log.write(line(70) + "\n")
        log.rotate()
        log.write(line(71) + "\n")
        wait_for(output, 3)
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(PATIENCE_S)
    assert code == OK
    assert output.read_text().splitlines() == [line(24, "strategies/pmm-1"), line(70), line(71)]


def test_a_reader_that_has_seen_enough_ends_it_without_a_word(command, folder):
    process = subprocess.Popen(
        [HIVE, "logs", "gate", "-f"], env=command.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout.readline()
        process.stdout.close()
        deadline = time.monotonic() + PATIENCE_S
        while process.poll() is None and time.monotonic() < deadline:
            with (folder / "gate.log").open("a") as file:
                file.write(line(99) + "\n")
            time.sleep(0.05)
        assert process.poll() == OK
        assert process.stderr.read() == b""
    finally:
        process.stderr.close()
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_for(output: Path, lines: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(output.read_text().splitlines()) < lines:
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.05)
