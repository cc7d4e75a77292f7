"""Halts and their file; and what halt, resume and flat do to a gate at the other end of a real channel."""

import json
import stat

import pytest

from command_bench import Bench, told
from hive.cli_errors import ERROR, NOT_FOUND
from hive.commands import GRACE_S
from hive.halts import GATE, Halt, Halts
from hive.roster import ALARMS_MAX, Roster

WALL_NS = 1_700_000_000_000_000_000


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.close()


def scopes(roster: Roster) -> list[tuple]:
    return [(halt.venue, halt.strategy) for halt in roster.halts]


def test_halts_outlive_their_process_in_a_file_for_its_owner_alone(tmp_path):
    path = tmp_path / "halts.json"
    halts = Halts(path, lambda: WALL_NS)
    assert list(halts) == []
    halts.add(None, "x-1", "loss limit", GATE)
    halts.add("binance", None, "maintenance")
    assert list(Halts(path)) == [
        Halt(None, "x-1", "loss limit", GATE, WALL_NS),
        Halt("binance", None, "maintenance", "operator", WALL_NS),
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["halts.json"]


def test_a_second_halt_of_a_scope_keeps_its_time_and_takes_the_new_reason(tmp_path):
    clock = iter((1, 2))
    halts = Halts(tmp_path / "halts.json", lambda: next(clock))
    halts.add(None, None, "one")
    halts.add(None, None, "two")
    assert list(halts) == [Halt(None, None, "two", "operator", 1)]


def test_a_strategys_halt_is_lifted_at_every_venue_and_nothing_else_is(tmp_path):
    halts = Halts(tmp_path / "halts.json")
    for scope in ((None, None), ("binance", None), (None, "a"), ("binance", "a"), (None, "b")):
        halts.add(*scope, "because")
    assert [(one.venue, one.strategy) for one in halts.lift(None, "a")] == [(None, "a"), ("binance", "a")]
    assert [(one.venue, one.strategy) for one in halts.lift(None, None)] == [(None, None)]
    assert halts.lift(None, None) == []
    assert {(one.venue, one.strategy) for one in Halts(tmp_path / "halts.json")} == {("binance", None), (None, "b")}


@pytest.mark.parametrize("text", ["{", "[1]", '[{"venue": 3, "strategy": null, "reason": "", "by": "", "wall_ns": 0}]'])
def test_a_file_that_cannot_be_read_halts_the_whole_fleet(tmp_path, text):
    (tmp_path / "halts.json").write_text(text)
    (halt,) = Halts(tmp_path / "halts.json")
    assert (halt.venue, halt.strategy, halt.by) == (None, None, GATE)
    assert "halts.json cannot be read" in halt.reason


def test_a_halt_that_cannot_be_written_down_is_in_force_all_the_same(tmp_path):
    halts = Halts(tmp_path / "gone" / "halts.json")
    halts.add(None, None, "because")
    assert len(halts) == 1
    assert halts.problem == "No such file or directory"
    (tmp_path / "gone").mkdir()
    halts.add(None, "a", "because")
    assert halts.problem == ""


async def test_a_halt_reaches_the_gate_fleet_json_and_the_operator(bench):
    gate = bench.gate()
    answer = bench.ask("halt", strategy="x-2", reason=" too\n loud ").result()
    assert told(gate) == [{"type": "halt", "venue": None, "strategy": "x-2", "reason": "too loud"}]
    assert answer["ok"]
    assert [(one["strategy"], one["reason"], one["by"]) for one in answer["halts"]] == [("x-2", "too loud", "operator")]
    assert bench.folder.read()["halts"] == answer["halts"]
    assert bench.said == [("warning", "halted: strategy x-2 (too loud): no new orders, cancels pass")]


async def test_a_halt_without_a_reason_has_one(bench):
    gate = bench.gate()
    bench.ask("halt")
    assert told(gate) == [{"type": "halt", "venue": None, "strategy": None, "reason": "hive halt"}]


async def test_a_resume_leaves_narrower_halts_in_force_and_tells_the_gate_so(bench):
    gate = bench.gate()
    bench.ask("halt")
    bench.ask("halt", venue="binance", reason="maintenance")
    told(gate)
    answer = bench.ask("resume").result()
    assert answer["lifted"] == ["the whole fleet"]
    assert told(gate) == [
        {"type": "resume", "venue": None, "strategy": None},
        {"type": "halt", "venue": "binance", "strategy": None, "reason": "maintenance"},
    ]
    assert scopes(bench.roster) == [("binance", None)]
    assert bench.ask("resume").result()["lifted"] == []
    assert told(gate) == []
    bench.ask("resume", venue="binance")
    assert told(gate) == [{"type": "resume", "venue": "binance", "strategy": None}]
    assert json.loads((bench.folder.path / "halts.json").read_text()) == []


async def test_names_that_do_not_exist_are_refused_with_those_that_do(bench):
    gate = bench.gate()
    for scope, text in (
        ({"strategy": "y"}, "there is no strategy y; there are x-1, x-2"),
        ({"venue": "kraken"}, "there is no venue kraken; there is binance"),
    ):
        assert bench.ask("halt", **scope).result() == {"ok": False, "error": text, "code": NOT_FOUND}
    both = bench.ask("resume", venue="binance", strategy="x-1").result()
    assert (both["error"], both["code"]) == ("name a venue or a strategy, not both", ERROR)
    error = bench.ask("dance").result()["error"]
    assert error.startswith("command must be one of status, down, halt, resume, flat, ")
    assert error.endswith(", was 'dance'")
    assert told(gate) == []
    assert len(bench.roster.halts) == 0


async def test_a_gate_that_is_not_ready_yet_is_told_after_its_boot_message(bench):
    gate = bench.gate(ready=False)
    bench.ask("halt", reason="now")
    assert [one["reason"] for one in told(gate)] == ["now"]


async def test_flat_halts_the_fleet_and_answers_when_the_gate_does(bench):
    gate = bench.gate()
    answer = bench.ask("flat", timeout_s=5)
    assert not answer.done()
    halt, flat = told(gate)
    assert halt == {"type": "halt", "venue": None, "strategy": None, "reason": "hive flat"}
    assert flat == {"type": "flat", "request": 1, "deadline_s": 5}
    bench.commands.told({"type": "flat", "request": 1, "open": 0, "text": ""})
    assert answer.result() == {"ok": True, "open": 0, "text": ""}
    assert scopes(bench.roster) == [(None, None)]


async def test_flat_keeps_the_reason_of_a_halt_that_was_there(bench):
    gate = bench.gate()
    bench.ask("halt", reason="holiday")
    told(gate)
    bench.ask("flat", timeout_s=5)
    assert [one["type"] for one in told(gate)] == ["flat"]
    assert [halt.reason for halt in bench.roster.halts] == ["holiday"]


async def test_two_flats_at_once_get_their_own_answers(bench):
    gate = bench.gate()
    first, second = bench.ask("flat"), bench.ask("flat")
    assert [one["request"] for one in told(gate) if one["type"] == "flat"] == [1, 2]
    bench.commands.told({"type": "flat", "request": 2, "open": 3, "text": "BTC-USDT 3"})
    assert not first.done()
    assert second.result() == {"ok": True, "open": 3, "text": "BTC-USDT 3"}


async def test_a_flat_outlives_the_gate_and_asks_the_next_one_for_what_is_left_of_its_time(bench):
    told(bench.gate())
    answer = bench.ask("flat", timeout_s=10)
    del bench.roster.children["gate", 0]
    bench.now_s += 4
    new = bench.gate(2)
    assert told(new) == [{"type": "flat", "request": 1, "deadline_s": 6}]
    bench.commands.told({"type": "flat", "request": 1, "open": 0})
    assert answer.result()["open"] == 0


async def test_a_flat_that_nobody_answers_says_that_orders_may_be_open(bench):
    answer = bench.ask("flat", timeout_s=10)
    bench.now_s += 10 + GRACE_S
    bench.commands.beat()
    assert not answer.done()
    bench.now_s += 0.1
    bench.commands.beat()
    assert answer.result() == {
        "ok": True,
        "open": None,
        "text": "the gate has not answered in time: orders may be open",
    }
    bench.commands.told({"type": "flat", "request": 1, "open": 0})  # too late, and nobody waits


@pytest.mark.parametrize("timeout_s", [0, -1, "long", True, 1e9])
async def test_a_flat_without_a_sensible_time_is_refused_and_halts_nothing(bench, timeout_s):
    assert bench.ask("flat", timeout_s=timeout_s).result()["error"].startswith("timeout_s must be above 0")
    assert len(bench.roster.halts) == 0


async def test_a_stopping_fleet_refuses_commands_and_answers_those_that_wait(bench):
    bench.gate()
    waiting = bench.ask("flat")
    bench.commands.end("the fleet is stopping: hive down")
    refusal = {"ok": False, "error": "the fleet is stopping: hive down", "code": ERROR}
    assert waiting.result() == refusal
    assert bench.ask("halt").result() == refusal


async def test_a_caller_that_went_away_does_not_matter(bench):
    bench.gate()
    answer = bench.ask("flat")
    answer.cancel()
    bench.commands.told({"type": "flat", "request": 1, "open": 0})


async def test_a_halt_by_the_gate_is_kept_and_said_once(bench):
    bench.gate()
    halted = {"type": "halted", "venue": None, "strategy": "x-1", "reason": "lost 101 USDT, may lose 100"}
    bench.commands.told(halted)
    bench.commands.told(halted)
    text = "HALTED: strategy x-1 (lost 101 USDT, may lose 100): no new orders until `hive resume --strategy x-1`"
    assert bench.said == [("error", text)]
    assert [halt.by for halt in Bench(bench.folder.path).roster.halts] == [GATE]


async def test_a_fleet_that_starts_with_halts_says_so_in_one_line(bench):
    bench.ask("halt", venue="binance", reason="maintenance")
    bench.ask("halt", strategy="x-1", reason="test")
    again = Bench(bench.folder.path)
    again.commands.introduce()
    assert again.said == [
        (
            "warning",
            "halted since before this start: venue binance (maintenance), strategy x-1 (test); "
            "lifted by `hive resume --venue binance`, `hive resume --strategy x-1`",
        )
    ]


async def test_halts_of_strategies_that_the_fleet_has_no_more_wait_in_the_file(bench):
    bench.roster.halts.add(None, "gone", "loss limit", GATE)
    bench.roster.halts.add(None, "x-1", "loss limit", GATE)
    again = Bench(bench.folder.path).roster
    assert [halt.strategy for halt in again.halts_of_this_fleet()] == ["x-1"]
    assert [halt.strategy for halt in again.halts] == ["gone", "x-1"]


async def test_alarms_are_said_remembered_counted_and_bounded(bench):
    for number in range(ALARMS_MAX + 5):
        bench.commands.told({"type": "alarm", "text": f"alarm {number}", "venue": None})
    bench.commands.told({"type": "alarm", "text": f"alarm {ALARMS_MAX}", "venue": None})
    bench.commands.told({"type": "alarm", "text": "IP banned", "venue": "binance"})
    bench.roster.save()
    alarms = bench.folder.read()["alarms"]
    assert len(alarms) == ALARMS_MAX
    assert [(one["text"], one["count"]) for one in alarms[-2:]] == [(f"alarm {ALARMS_MAX}", 2), ("IP banned", 1)]
    assert bench.said[-1] == ("error", "ALARM: binance: IP banned")
