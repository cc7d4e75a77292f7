"""A log file per strategy: capped, rotated, of that strategy alone; and what a full disk does to it."""

import errno
import logging
import os
import resource
import signal

import pytest

from hive.workers.log import flush_logs, set_up_worker_logging
from hive.workers.strategy_logs import OPEN_MAX, TRY_AGAIN_S, StrategyLogs

FIVE = "12345"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def alarms():
    return []


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def logs(tmp_path, alarms, clock):
    logs = StrategyLogs(tmp_path / "strategies", max_bytes=20, keep=3, alarm=alarms.append, now_s=clock)
    yield logs
    logs.close()


def text(tmp_path, name):
    path = tmp_path / "strategies" / name
    return path.read_text() if path.exists() else None


def test_what_a_strategy_logs_goes_into_its_own_file_and_no_other(tmp_path, idle_strategies):
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers = []
    logs = StrategyLogs(tmp_path / "strategies")
    stream = set_up_worker_logging(str(tmp_path / "worker.log"), logs=logs)
    try:
        for name in ("a", "b"):
            idle_strategies.new(name).run(logging.getLogger("any").warning, "hello from %s", name)
        logging.getLogger("any").warning("of nobody")
        flush_logs()
    finally:
        root.handlers, root.level = before, level
        stream.close()
        logs.close()
    assert sorted(os.listdir(tmp_path / "strategies")) == ["a.log", "b.log"]
    assert text(tmp_path, "a.log").endswith(" a any: hello from a\n")
    assert text(tmp_path, "b.log").endswith(" b any: hello from b\n")
    assert (tmp_path / "worker.log").read_text().splitlines()[0] + "\n" == text(tmp_path, "a.log")


def test_a_file_is_capped_and_the_oldest_lines_go(tmp_path, logs):
    for number in range(11):
        logs.write("a", f"{FIVE}{number % 10}")  # seven bytes: two fit
    assert [text(tmp_path, name) for name in ("a.log", "a.log.1", "a.log.2", "a.log.3")] == [
        f"{FIVE}0\n",
        f"{FIVE}8\n{FIVE}9\n",
        f"{FIVE}6\n{FIVE}7\n",
        None,
    ]


def test_a_line_longer_than_the_cap_is_written_whole(tmp_path, logs):
    logs.write("a", "x" * 50)
    logs.write("a", "y")
    assert (text(tmp_path, "a.log"), text(tmp_path, "a.log.1")) == ("y\n", "x" * 50 + "\n")


def test_one_file_alone_begins_anew(tmp_path):
    logs = StrategyLogs(tmp_path / "strategies", max_bytes=7, keep=1)
    logs.write("a", "first")
    logs.write("a", "second")
    logs.close()
    assert os.listdir(tmp_path / "strategies") == ["a.log"]
    assert text(tmp_path, "a.log") == "second\n"


def test_the_cap_counts_what_an_earlier_process_wrote(tmp_path, logs):
    logs.write("a", "x" * 15)
    logs.close()
    again = StrategyLogs(tmp_path / "strategies", max_bytes=20, keep=3)
    again.write("a", FIVE)
    again.close()
    assert (text(tmp_path, "a.log"), text(tmp_path, "a.log.1")) == (f"{FIVE}\n", "x" * 15 + "\n")


def test_hundreds_of_strategies_need_a_bounded_number_of_descriptors(tmp_path, logs):
    before = len(os.listdir("/proc/self/fd"))
    for number in range(OPEN_MAX * 2):
        logs.write(f"s{number}", FIVE)
    assert len(os.listdir("/proc/self/fd")) - before <= OPEN_MAX
    logs.write("s0", FIVE)
    assert text(tmp_path, "s0.log") == f"{FIVE}\n{FIVE}\n"


def test_a_disk_that_takes_no_more_is_an_alarm_and_lost_lines_are_counted(tmp_path, logs, alarms, clock):
    logs.write("a", FIVE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6, before[1]))  # the kernel refuses to let any file grow, as when full
    try:
        for _ in range(3):
            logs.write("a", FIVE)
        clock.now += TRY_AGAIN_S
        logs.write("b", FIVE * 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    reason = f"{os.strerror(errno.EFBIG)} ({tmp_path / 'strategies'})"
    assert alarms == [f"logs of strategies cannot be written: {reason}"]
    logs.write("a", "too early")
    assert logs.lost == 5
    clock.now += TRY_AGAIN_S
    logs.write("a", "again")
    assert alarms[1:] == ["logs of strategies are written again, 5 lines were lost"]
    assert text(tmp_path, "a.log.1").endswith(f"5 lines were lost here and in other files: {reason}\n")
    assert text(tmp_path, "a.log") == "again\n"
    assert text(tmp_path, "b.log") == ""


def test_a_folder_that_cannot_be_made_is_an_alarm_and_not_an_exception(tmp_path, alarms):
    (tmp_path / "strategies").write_text("a file")
    logs = StrategyLogs(tmp_path / "strategies", alarm=alarms.append)
    logs.write("a", FIVE)
    assert len(alarms) == 1
    assert logs.lost == 1


def test_bounds_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(ValueError, match="max_bytes and keep must be >= 1, were 0 and 3"):
        StrategyLogs(tmp_path, max_bytes=0)
