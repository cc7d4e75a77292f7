"""What `hive up` prints: to people, to programs, to a terminal; and the control socket; and the back-off."""

import asyncio
import io
import json
import socket
import time

import pytest

from hive.backoff import Backoff
from hive.cli_errors import TIMEOUT
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
    "halts": 0,
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
    assert "2/3 strategies  errors 0  orders 7  fills 3  open 4  30 ticks/s  late p99 1.2 ms  88 updates/s" in second


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


def test_a_fleet_with_halts_says_so_in_every_summary():
    stream = io.StringIO()
    console = Console(time.monotonic_ns(), stream=stream)
    console.summary(FIGURES)
    console.summary({**FIGURES, "halts": 2})
    assert ["  HALTED  errors 0" in line for line in stream.getvalue().splitlines()] == [False, True]


@pytest.mark.parametrize("columns", [1, 10, 40, 60, 80, 100, 200])
def test_a_terminals_summary_is_never_wider_than_the_terminal(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    Console(time.monotonic_ns(), stream=stream).summary({**FIGURES, "orders": 123_456, "fills": 100_000, "halts": 1})
    line = stream.getvalue()
    assert len(line) < columns
    assert line == "" if columns == 1 else line.startswith("2/3 strategies"[: columns - 1])
    assert ("late p99 1.2 ms" in line) == (columns >= 100)


def test_a_reader_that_went_away_does_not_matter():
    console = Console(time.monotonic_ns(), stream=Broken())
    console.say("event", "something")
    console.summary(FIGURES)


async def test_the_control_socket_answers_and_refuses(tmp_path):
    path = tmp_path / "control.sock"

    async def answer(request):
        return {"ok": request.get("command") == "status", "error": "what?", "code": 2}

    server = ControlServer(path, answer)
    await server.open()
    loop = asyncio.get_running_loop()
    assert (await loop.run_in_executor(None, ask, path, {"command": "status"}))["ok"]
    with pytest.raises(ControlError, match="what") as refused:
        await loop.run_in_executor(None, ask, path, {"command": "dance"})
    assert refused.value.code == 2
    server.close()
    assert not path.exists()
    with pytest.raises(ControlError, match="No such file"):
        ask(path, {"command": "status"})


async def test_an_answer_that_takes_its_time_holds_nobody_up(tmp_path):
    path = tmp_path / "control.sock"
    slow = asyncio.get_running_loop().create_future()

    async def answer(request):
        return await slow if request["command"] == "flat" else {"ok": True}

    server = ControlServer(path, answer)
    await server.open()
    loop = asyncio.get_running_loop()
    waiting = [loop.run_in_executor(None, ask, path, {"command": "flat"}) for _ in range(2)]
    assert (await loop.run_in_executor(None, ask, path, {"command": "status"}))["ok"]
    assert not any(one.done() for one in waiting)
    slow.set_result({"ok": True, "open": 0})
    assert [one["open"] for one in await asyncio.gather(*waiting)] == [0, 0]
    server.close()


def test_a_supervisor_that_does_not_answer_is_a_timeout(tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as mute:
        mute.bind(str(path))
        mute.listen()
        with pytest.raises(ControlError) as silent:
            ask(path, {"command": "status"}, 0.05)
    assert silent.value.code == TIMEOUT


def test_restarts_wait_longer_each_time_and_a_calm_life_is_forgiven():
    backoff = Backoff(first_s=0.1, longest_s=2.0, calm_s=60)
    assert [backoff.wait_s("feed", 1) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    assert backoff.wait_s("gate", 1) == 0.1
    assert backoff.wait_s("feed", 61) == 0.1
    assert backoff.wait_s("feed", 1) == 0.2
