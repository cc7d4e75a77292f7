"""Changes to a running fleet over real channels, with workers' and gate's ends in the test's hands."""

from dataclasses import replace

import pytest

from changes_bench import Bench
from hive.boots import Run, gate_boot
from hive.cli_errors import CONFIG, ERROR, NOT_FOUND
from hive.steps import Refused


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.close()


def kinds(messages: list[dict]) -> list[str]:
    return [one["type"] for one in messages]


async def test_a_strategy_is_added_in_the_order_in_which_nothing_can_be_lost(bench):
    bench.strategies.append({"id": "e", "script": "x"})
    answer = bench.ask("add", strategy="e")
    one = bench.members.get("e")
    (add,) = bench.told("worker", one.worker)
    assert (add["type"], add["strategy"]["id"], add["strategy"]["index"]) == ("add", "e", 4)
    assert bench.told("gate") == []  # there is no place yet for what the gate would tell
    bench.says(type="expecting", id="e")
    assert bench.told("worker", one.worker) == []  # nor may it run before the gate knows it
    (adopt,) = bench.gate_answers()
    assert (adopt["strategy"]["worker"], adopt["strategy"]["life"]) == (one.worker, one.life)
    assert kinds(bench.told("worker", one.worker)) == ["go"]
    assert not answer.done()
    bench.state("e", "running")
    assert answer.result() == {"ok": True, "state": "running", "worker": one.worker, "message": ""}
    assert bench.told("worker", 1 - one.worker) == []
    assert bench.roster.facts.get("differs", []) == []


async def test_one_that_does_not_start_is_said_so_and_one_that_has_no_room_lives_nowhere(bench):
    bench.strategies += [{"id": "e", "script": "x"}, {"id": "f", "script": "x"}]
    failing = bench.ask("add", strategy="e")
    bench.says(type="expecting", id="e")
    bench.gate_answers()
    bench.state("e", "failed", "no such pair")
    assert failing.result() == {"ok": False, "error": "strategy e failed: no such pair", "code": ERROR}
    full = bench.ask("add", strategy="f")
    worker = bench.members.get("f").worker
    bench.state("f", "failed", "no room for its counters")
    assert full.result()["error"] == f"strategy f cannot live on worker {worker}: no room for its counters"
    assert bench.members.get("f").worker is None


@pytest.mark.parametrize("placed", [True, False])
@pytest.mark.parametrize("on_crash", ["cancel", "keep"])
async def test_nothing_rests_for_a_strategy_whose_next_life_does_not_begin(tmp_path, on_crash, placed):
    bench = Bench(tmp_path, fleet={"on_crash": on_crash})
    answer = bench.ask("move", strategy="a", worker=1)
    bench.says(type="removed", id="a")
    assert [one["cancel"] for one in bench.gate_answers()] == [False]  # it was to have them there
    if placed:
        bench.says(type="expecting", id="a")
        assert kinds(bench.gate_answers()) == ["adopt"]
    bench.state("a", "failed", "no such pair")
    asked = bench.gate_answers()
    assert [(one["type"], one["cancel"]) for one in asked] == ([("retire", True)] if on_crash == "cancel" else [])
    assert answer.result()["code"] == ERROR
    assert "no such pair" in answer.result()["error"]
    assert bench.members.kept() == {}
    bench.close()


async def test_a_halted_strategy_is_halted_at_the_gate_before_it_may_run_again(bench):
    bench.roster.halts.add(None, "a", "loss")
    answer = bench.ask("restart", strategy="a")
    worker = bench.told("worker", 0)
    assert kinds(worker) == ["remove"]
    bench.says(type="removed", id="a")
    bench.gate_answers()
    bench.says(type="expecting", id="a")
    (adopt,) = bench.told("gate")
    bench.says(type="adopt", change=adopt["change"])
    assert [(one["type"], one["strategy"]) for one in bench.told("gate")] == [("halt", "a")]
    assert kinds(bench.told("worker", 0)) == ["add", "go"]
    bench.state("a", "running")
    assert answer.result()["ok"]


async def test_a_move_keeps_orders_and_a_restart_cancels_them_unless_told_otherwise(bench):
    for number, (command, request, orders) in enumerate(
        [
            ("move", {"worker": 1}, "keep"),
            ("move", {"worker": 0, "orders": "cancel"}, "cancel"),
            ("restart", {}, "cancel"),
            ("restart", {"orders": "keep"}, "keep"),
        ]
    ):
        here = bench.members.get("a").worker
        answer = bench.ask(command, strategy="a", **request)
        (remove,) = bench.told("worker", here)
        assert (remove["type"], remove["orders"]) == ("remove", orders), number
        bench.says(type="removed", id="a")
        (retire,) = bench.gate_answers()
        assert retire["cancel"] is (orders == "cancel")
        there = request.get("worker", here)
        assert kinds(bench.told("worker", there)) == ["add"]
        bench.says(type="expecting", id="a")
        bench.gate_answers()
        bench.state("a", "running")
        assert answer.result()["worker"] == there
        bench.told("worker", there)


async def test_the_gate_is_to_leave_a_moving_strategys_orders_alone_until_it_has_handed_them_over(bench):
    def kept() -> dict[str, int | None]:
        run = Run("r", bench.members.fleet(), bench.file.parent, bench.file.parent, 1)
        boot = gate_boot(run, 2, [], tuple(bench.members.plans()), kept=bench.members.kept())
        return {one["id"]: one["kept"] for one in boot["strategies"] if one["kept"] is not None}

    before = bench.members.get("a").life
    bench.ask("move", strategy="a", worker=1)
    assert kept() == {"a": before}  # whenever another gate starts meanwhile
    bench.says(type="removed", id="a")
    bench.gate_answers()
    assert bench.members.get("a").life > before
    assert kept() == {"a": before}
    bench.says(type="expecting", id="a")
    assert kept() == {"a": before}
    bench.gate_answers()
    assert kept() == {}
    bench.state("a", "running")
    bench.ask("restart", strategy="a")
    assert kept() == {}
    bench.ask("move", strategy="c", worker=1)
    bench.says(type="removed", id="c")
    bench.gate_answers()
    bench.state("c", "failed", "no room for its counters")
    assert kept() == {}  # nothing begins that could have them


async def test_a_removed_strategy_is_forgotten_only_when_the_gate_has_ended_its_life(bench):
    answer = bench.ask("remove", strategy="b")
    bench.says(type="removed", id="b", late=True)
    assert bench.members.get("b") is not None
    (retire,) = bench.gate_answers()
    assert (retire["type"], retire["id"], retire["cancel"]) == ("retire", "b", True)
    assert bench.members.get("b") is None
    assert answer.result() == {"ok": True, "state": "removed", "orders": 2}
    assert bench.roster.facts["differs"] == ["add b"]  # the file has it still
    assert "strategy b did not stop in time" in bench.said


async def test_a_gate_that_dies_is_asked_again_when_the_next_one_is_there(bench):
    answer = bench.ask("remove", strategy="b")
    bench.says(type="removed", id="b")
    assert kinds(bench.told("gate")) == ["retire"]
    bench.roster.bury(bench.gate, 0.0)
    bench.changes.go_on()
    assert not answer.done()
    bench.join("gate", 0, epoch=2)
    bench.changes.go_on()
    bench.gate_answers()
    assert answer.result()["ok"]


async def test_a_worker_that_dies_while_a_strategy_leaves_it_starts_again_without_it(bench):
    answer = bench.ask("move", strategy="a", worker=1)
    dead = bench.roster.children["worker", 0]
    bench.roster.bury(dead, 0.0)
    bench.changes.go_on()
    assert "a" not in [one.id for one in bench.members.plan(0).strategies]
    bench.gate_answers()
    bench.says(type="expecting", id="a")
    bench.gate_answers()
    bench.state("a", "running")
    assert answer.result()["worker"] == 1


async def test_a_worker_of_its_own_is_started_for_a_strategy_and_ended_after_it(bench):
    bench.ask("move", strategy="a", worker="new")
    bench.says(type="removed", id="a")
    bench.gate_answers()
    assert bench.members.workers() == [0, 1, 2]  # the supervisor starts it: it boots with the strategy
    assert [one.config.id for one in bench.members.on(2)] == ["a"]
    bench.gate_answers()
    bench.join("worker", 2)
    bench.state("a", "running")
    bench.ask("move", strategy="a", worker=0)
    assert kinds(bench.told("worker", 2)) == ["remove"]
    bench.says(type="removed", id="a")
    assert kinds(bench.told("worker", 2)) == ["stop"]
    assert bench.members.workers() == [0, 1]


async def test_a_paused_strategy_stays_paused_over_its_workers_death(bench):
    answer = bench.ask("pause", strategy="a", reason="look at it")
    assert bench.told("worker", 0) == [{"type": "pause", "id": "a", "reason": "look at it"}]
    bench.state("a", "paused", "look at it")
    assert answer.result()["state"] == "paused"
    assert bench.members.get("a").held == "look at it"
    bench.ask("pause", strategy="a")  # once more, without a reason: the one before stays
    assert bench.told("worker", 0) == [{"type": "pause", "id": "a", "reason": "look at it"}]
    again = bench.ask("unpause", strategy="a")
    assert bench.told("worker", 0) == [{"type": "resume", "id": "a"}]
    bench.state("a", "running")
    assert again.result()["state"] == "running"
    with pytest.raises(Refused, match="is not paused, it is running"):
        bench.ask("unpause", strategy="a")


async def test_a_strategy_that_was_paused_for_its_errors_stays_so_over_its_workers_death_until_somebody_lifts_it(bench):
    one, other = bench.members.on(0)
    bench.state(one.config.id, "paused", "ten errors")
    bench.members.keep_pause(one)
    bench.members.keep_pause(other)
    assert (one.rests, other.rests) == ("ten errors", "")
    bench.state(one.config.id, "starting")
    bench.members.keep_pause(one)  # dead again before it has said that it is paused
    moved = bench.ask("move", strategy=one.config.id, worker=1)
    bench.says(type="removed", id=one.config.id)
    bench.gate_answers()
    (add,) = bench.told("worker", 1)
    assert add["strategy"]["paused"] == "ten errors"
    bench.says(type="expecting", id=one.config.id)
    bench.gate_answers()
    bench.state(one.config.id, "paused", "ten errors")
    assert moved.result()["ok"]
    bench.told("worker", 1)
    lifted = bench.ask("unpause", strategy=one.config.id)
    assert kinds(bench.told("worker", 1)) == ["resume"]
    bench.state(one.config.id, "running")
    assert (lifted.result()["ok"], one.rests) == (True, "")
    bench.state(one.config.id, "paused", "ten errors")
    bench.ask("restart", strategy=one.config.id)
    bench.says(type="removed", id=one.config.id)
    bench.gate_answers()
    assert "paused" not in bench.told("worker", 1)[-1]["strategy"]  # who restarts it wants it to run


async def test_apply_touches_only_what_differs_and_goes_on_when_a_step_fails(bench):
    bench.strategies[0]["priority"] = 5  # a
    bench.strategies[1]["quota"] = {"weight": 3.0}  # b
    del bench.strategies[2]  # c
    bench.strategies.append({"id": "e", "script": "x"})
    fleet = bench.load()
    steps = ["remove c", "restart a: priority", "adjust b: quota", "add e"]
    assert bench.ask("apply", fleet=fleet, dry_run=True).result()["steps"] == steps
    assert bench.told("worker", 0) == bench.told("worker", 1) == bench.told("gate") == []
    answer = bench.ask("apply", fleet=fleet)
    life = bench.members.get("b").life
    (adjust,) = bench.gate_answers()
    told = adjust["strategy"]
    assert (told["id"], told["life"], told["quota"]["weight"]) == ("b", life, 3.0)
    bench.says(type="removed", id="c")
    bench.gate_answers()
    bench.says(type="removed", id="a")
    bench.gate_answers()
    bench.says(type="expecting", id="a")
    bench.gate_answers()
    bench.state("a", "failed", "bad spread")
    bench.says(type="expecting", id="e")
    bench.gate_answers()
    bench.state("e", "running")
    assert answer.result() == {"ok": True, "steps": steps, "failed": ["strategy a failed: bad spread"]}
    touched = {one.get("id") or one["strategy"]["id"] for index in (0, 1) for one in bench.told("worker", index)}
    assert touched == {"a", "c", "e"}
    assert bench.roster.facts.get("differs", []) == []


async def test_what_cannot_be_done_is_refused_before_anything_is(bench):
    fleet = bench.load()
    other = replace(fleet, runtime=replace(fleet.runtime, tick_interval_ms=50))
    for command, request, code, text in [
        ("apply", {"fleet": other}, CONFIG, "runtime.tick_interval_ms: cannot change while the fleet runs"),
        ("remove", {"strategy": "z"}, NOT_FOUND, "there is no strategy z; there are a, b, c, d"),
        ("add", {"strategy": "z"}, NOT_FOUND, "has no strategy z"),
        ("add", {"strategy": "a"}, ERROR, "strategy a is there already"),
        ("move", {"strategy": "a", "worker": 0}, ERROR, "is on worker 0 already"),
        ("move", {"strategy": "a", "worker": 9}, NOT_FOUND, "worker must be one of 0, 1, or new"),
        ("move", {"strategy": "a", "worker": "x"}, ERROR, "worker must be a number or new, was 'x'"),
        ("move", {"strategy": "a", "worker": 1, "orders": "sell"}, ERROR, "orders must be keep or cancel, was 'sell'"),
    ]:
        with pytest.raises(Refused, match=text) as refused:
            bench.ask(command, **request)
        assert refused.value.code == code
    bench.ask("restart", strategy="a")
    with pytest.raises(Refused, match="strategy a is being changed already"):
        bench.ask("move", strategy="a", worker=1)
    bench.told("worker", 0)
    assert bench.told("worker", 1) == bench.told("gate") == []
