"""Quotas of log lines, and the thread that writes them."""

import logging
import os
import threading

import pytest

from hive.workers.log import StrategyFilter
from hive.workers.log_cap import LogCap
from hive.workers.log_quota import BURST_S, LineQuota
from hive.workers.log_writer import Line, LogWriter, WriterHandler


class Time:
    """A clock that a test sets."""

    ns = 0

    def __call__(self):
        return self.ns


def test_a_strategy_gets_its_burst_then_its_rate_and_the_rest_is_counted(idle_strategies):
    time = Time()
    quota = LineQuota(100, time)
    a, b = idle_strategies.new("a"), idle_strategies.new("b")
    burst = int(100 * BURST_S)
    assert sum(quota.admits(a) for _ in range(10_000)) == burst
    assert quota.dropped() == {a: 10_000 - burst}
    assert quota.dropped() == {}
    assert all(quota.admits(b) for _ in range(burst))
    time.ns = 1_000_000_000
    assert sum(quota.admits(a) for _ in range(1000)) == 100
    time.ns += 3600_000_000_000
    assert sum(quota.admits(a) for _ in range(10_000)) == burst


def test_without_a_rate_every_line_is_admitted(idle_strategies):
    quota = LineQuota(None)
    assert all(quota.admits(idle_strategies.new("a")) for _ in range(10))
    with pytest.raises(ValueError, match="per_s must be positive, was 0"):
        LineQuota(0)


def record(text="text"):
    return logging.LogRecord("x", logging.INFO, "x", 1, text, (), None)


def test_the_filter_holds_strategies_to_their_quota_and_nobody_else(idle_strategies):
    seen = StrategyFilter(LineQuota(1, Time()))
    context = idle_strategies.new("a")
    admitted = sum(context.run(seen.filter, record()) for _ in range(100))
    assert admitted == BURST_S
    assert all(seen.filter(record()) for _ in range(100))


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_lines_are_written_whole_and_in_order_and_strategies_get_theirs(tmp_path):
    path = tmp_path / "log"
    own = []
    with path.open("ab") as file:
        writer = LogWriter(file.fileno())
        writer.of_strategy = lambda *line: own.append(line)
        handler = WriterHandler(writer)
        for number in range(3000):
            one = record(f"line {number}")
            one.strategy = "a" if number % 2 else "-"
            handler.emit(one)
        assert writer.flush(30)
    assert path.read_text() == "".join(f"line {number}\n" for number in range(3000))
    assert own == [("a", f"line {number}") for number in range(1, 3000, 2)]
    assert writer.lost == 0


def test_a_disk_that_stands_still_stops_nobody_and_what_is_too_much_is_counted(pipe, monkeypatch):
    monkeypatch.setattr("hive.workers.log_writer.LINES_MAX", 1000)
    read_end, write_end = pipe
    writer = LogWriter(write_end)
    for _ in range(5000):
        writer.write(Line("-", "x" * 1000))  # nobody reads: the pipe is full after 64 kB
    assert writer.lost > 1000
    assert not writer.flush(0.05)
    kept = 5000 - writer.lost
    drained = bytearray()

    def drain():
        while drained.count(b"\n") < kept:
            drained.extend(os.read(read_end, 65536))

    reader = threading.Thread(target=drain)
    reader.start()
    assert writer.flush(30)
    reader.join(30)
    assert drained.count(b"\n") == kept


def test_a_host_without_a_thread_to_spare_delays_lines_and_raises_nothing(tmp_path, monkeypatch):
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    path = tmp_path / "log"
    with path.open("ab") as file:
        writer = LogWriter(file.fileno())
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            writer.write(Line("-", "first"))
        writer.write(Line("-", "second"))
        assert writer.flush(30)
    assert path.read_text() == "first\nsecond\n"


def test_a_full_disk_loses_lines_and_raises_nothing():
    with open("/dev/full", "ab", buffering=0) as full:
        writer = LogWriter(full.fileno())
        writer.write(Line("-", "gone"))
        assert writer.flush(30)
        assert writer.lost == 1


def test_a_log_that_has_become_too_large_makes_room_for_a_new_one_and_its_descriptor_writes_there(tmp_path):
    path = tmp_path / "worker0.log"
    path.write_text("of before\n")
    with path.open("a") as file:
        writer = LogWriter(file.fileno(), LogCap(file.fileno(), path, max_bytes=100, keep=3))
        for number in range(40):
            writer.write(Line("a", f"line {number:04}"))
            assert writer.flush(30)
        os.write(file.fileno(), b"past the logging\n")
        assert not os.get_inheritable(file.fileno())
    kept = [path.with_name(path.name + end).read_text() for end in (".2", ".1", "")]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["worker0.log", "worker0.log.1", "worker0.log.2"]
    assert all(len(one) <= 120 for one in kept)
    lines = "".join(kept).splitlines()
    assert lines[-1] == "past the logging"
    first = 40 - (len(lines) - 1)
    assert lines[:-1] == [f"line {number:04}" for number in range(first, 40)]
    assert first <= 20
    assert writer.lost == 0
