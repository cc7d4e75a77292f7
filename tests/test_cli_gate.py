"""`hive halt`, `resume` and `flat` from the command line to the gate's end of a channel, and their exit codes."""

import asyncio

import pytest

from command import Command
from command_bench import Bench, told
from hive.cli_errors import ERROR, NOT_FOUND, OK, TIMEOUT
from hive.commands import GRACE_S
from hive.control import ControlServer
from hive.state import FleetDir


class Running:
    """A fleet as far as the commands can tell: its fleet.json, its control socket, its gate."""

    def __init__(self, folder) -> None:
        self.command = Command(folder)
        (folder / "fleet").mkdir()
        fleet_dir = FleetDir.of("bench")
        fleet_dir.path.mkdir()
        (fleet_dir.path / "lock").touch()
        self.bench = Bench(folder / "fleet", fleet_dir)
        self.bench.roster.state = "running"
        self.bench.roster.save()
        self.gate = self.bench.gate()
        self.server = ControlServer(fleet_dir.control, self._answer)

    async def _answer(self, request: dict) -> dict:
        answer = asyncio.get_running_loop().create_future()
        self.bench.commands.ask(request, answer)
        return await answer

    async def hive(self, *words: str):
        """Run a command to its end; return its exit code and what it printed, standard output first."""
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(None, self.command.run, *words)
        return result.returncode, (result.stdout + result.stderr).splitlines()

    async def answer_flat(self, still_open: int | None, text: str = "") -> None:
        """Wait for a flat at the gate's end and answer it."""
        while (message := await self.gate.recv())["type"] != "flat":
            pass
        self.bench.commands.told({"type": "flat", "request": message["request"], "open": still_open, "text": text})

    def close(self) -> None:
        """End what was opened."""
        self.server.close()
        self.bench.close()
        self.bench.folder.remove()
        self.command.close()


@pytest.fixture
async def running(tmp_path):
    made = Running(tmp_path)
    await made.server.open()
    yield made
    made.close()


async def test_a_reason_is_one_line_that_does_nothing_to_a_terminal(running):
    code, lines = await running.hive("halt", "--reason", "odd\n\x1b[2J  fills \x07")
    assert (code, lines) == (OK, [r"fleet bench: halted: the whole fleet (odd \x1b[2J fills \x07)"])


async def test_halt_and_resume_say_what_is_halted(running):
    assert await running.hive("halt", "--strategy", "x-1", "--reason", "odd fills") == (
        OK,
        ["fleet bench: halted: strategy x-1 (odd fills)"],
    )
    assert await running.hive("halt", "bench") == (
        OK,
        ["fleet bench: halted: strategy x-1 (odd fills)", "fleet bench: halted: the whole fleet (hive halt)"],
    )
    assert [one["type"] for one in told(running.gate)] == ["halt", "halt"]
    assert await running.hive("resume") == (
        OK,
        [
            "fleet bench: the whole fleet may trade, as far as nothing else is halted",
            "fleet bench: halted: strategy x-1 (odd fills)",
        ],
    )
    code, lines = await running.hive("resume", "--strategy", "x-1")
    assert (code, lines[-1]) == (OK, "fleet bench: nothing is halted")
    nothing = ["fleet bench: the fleet as a whole was not halted", "fleet bench: nothing is halted"]
    assert await running.hive("resume") == (OK, nothing)


async def test_an_unknown_name_is_not_found_and_the_right_ones_are_named(running):
    assert await running.hive("halt", "--strategy", "y") == (
        NOT_FOUND,
        ["error: there is no strategy y; there are x-1, x-2"],
    )
    assert await running.hive("resume", "--venue", "kraken") == (
        NOT_FOUND,
        ["error: there is no venue kraken; there is binance"],
    )
    assert told(running.gate) == []


async def test_flat_is_ok_only_when_nothing_is_open(running):
    (code, lines), _ = await asyncio.gather(running.hive("flat", "--cancel-all"), running.answer_flat(0))
    assert (code, lines) == (
        OK,
        ["fleet bench: nothing of it is open, says the venue; it stays halted until `hive resume`"],
    )
    left = running.answer_flat(2, "2 of pmm on BTC-USDT")
    (code, lines), _ = await asyncio.gather(running.hive("flat", "--cancel-all"), left)
    assert (code, lines) == (
        ERROR,
        ["error: fleet bench: 2 orders are open: 2 of pmm on BTC-USDT; it stays halted"],
    )
    assert len(running.bench.roster.halts) == 1


async def test_flat_is_no_success_when_a_venue_has_not_told(running):
    left = running.answer_flat(None, "a venue has not told in time: orders may be open")
    (code, lines), _ = await asyncio.gather(running.hive("flat", "--cancel-all"), left)
    assert code == TIMEOUT
    assert lines == ["error: fleet bench: a venue has not told in time: orders may be open; it stays halted"]


async def test_flat_without_an_answer_is_a_timeout(running):
    asked = asyncio.ensure_future(running.hive("flat", "--cancel-all", "--timeout", "5"))
    while (message := await running.gate.recv())["type"] != "flat":
        pass
    assert message["deadline_s"] == 5
    running.bench.now_s += 5 + GRACE_S + 1
    running.bench.commands.beat()
    code, lines = await asked
    assert code == TIMEOUT
    assert "the gate has not answered in time: orders may be open; it stays halted" in lines[0]


async def test_a_fleet_that_is_stopping_says_so(running):
    running.bench.commands.end("the fleet is stopping: hive down")
    assert await running.hive("flat", "--cancel-all") == (ERROR, ["error: the fleet is stopping: hive down"])


async def test_the_gate_is_shown_as_text_and_as_json(running):
    code, lines = await running.hive("gate", "--interval", "0.2")
    assert code == OK
    assert lines[0].startswith("hive gate  fleet fleet  up ")
    code, (line,) = await running.hive("gate", "--json", "--interval", "0.2")
    assert code == OK
    assert '"alive": true' in line
