"""What `hive up` prints: to people, to programs, to a terminal; and the control socket; and the back-off."""

import asyncio
import io
import json
import time

import pytest

from hive.backoff import Backoff
from hive.console import Console
from hive.control import ControlError, ControlServer, ask

FIGURES = {
    "strategies": 3,
    "running": 2,
    "ticks_per_s": 29.6,
    "late_p99_ms": 1.234,
    "orders": 7,
    "fills": 3,
    "open_orders": 4,
    "unknown_now": 0,
    "updates_per_s": 88.1,
    "errors": 0,
}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A pipe whose reader is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_people_get_the_seconds_since_the_start_and_a_line():
    stream = io.StringIO()
    console = Console(time.monotonic_ns() - 1_500_000_000, stream=stream)
    console.say("ready", "feed ready", pid=7)
    console.summary(FIGURES)
    first, second = stream.getvalue().splitlines()
    assert first.endswith("s  feed ready")
    assert 1.5 <= float(first.split()[0]) < 2
    assert "2/3 strategies  30 ticks/s  late p99 1.2 ms  orders 7  fills 3" in second


def test_programs_get_an_object_per_line():
    stream = io.StringIO()
    console = Console(time.monotonic_ns(), as_json=True, stream=stream)
    console.say("ready", "feed ready", pid=7)
    console.summary(FIGURES)
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["event"], first["text"], first["pid"]) == ("ready", "feed ready", 7)
    assert (second["event"], second["fills"]) == ("summary", 3)


def test_a_terminals_summary_is_rewritten_and_stays_below_what_happens():
    stream = Terminal()
    console = Console(time.monotonic_ns(), stream=stream)
    console.summary(FIGURES)
    console.say("event", "something")
    text = stream.getvalue()
    assert text.count("\r\x1b[2K") == 1
    assert text.index("something") < text.rindex("2/3 strategies")
    assert not text.endswith("\n")
    console.end_summary()
    assert stream.getvalue().endswith("\n")


def test_a_reader_that_went_away_does_not_matter():
    console = Console(time.monotonic_ns(), stream=Broken())
    console.say("event", "something")
    console.summary(FIGURES)


async def test_the_control_socket_answers_and_refuses(tmp_path):
    path = tmp_path / "control.sock"
    server = ControlServer(path, lambda request: {"ok": request.get("command") == "status", "error": "what?"})
    await server.open()
    loop = asyncio.get_running_loop()
    assert (await loop.run_in_executor(None, ask, path, {"command": "status"}))["ok"]
    with pytest.raises(ControlError, match="what"):
        await loop.run_in_executor(None, ask, path, {"command": "dance"})
    server.close()
    assert not path.exists()
    with pytest.raises(ControlError, match="No such file"):
        ask(path, {"command": "status"})


def test_restarts_wait_longer_each_time_and_a_calm_life_is_forgiven():
    backoff = Backoff(first_s=0.1, longest_s=2.0, calm_s=60)
    assert [backoff.wait_s("feed", 1) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    assert backoff.wait_s("gate", 1) == 0.1
    assert backoff.wait_s("feed", 61) == 0.1
    assert backoff.wait_s("feed", 1) == 0.2
