"""Deaths and complaints of workers over real channels: who is to blame, where it goes, and what comes back."""

import signal

import pytest

from changes_bench import Bench
from hive.quarantine import ENDS_MAX

EXITED = 7 << 8  # wait()'s status of exit code 7
KILLED = signal.SIGKILL
FAULTED = signal.SIGSEGV


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.close()


class Running:
    """The counters of a worker that died while a strategy of this number was running."""

    def __init__(self, number: int) -> None:
        self._number = number

    def read(self):
        return self

    def value(self, name: str) -> int:
        return {"running_strategy": self._number + 1}[name]


def die(bench, worker: int, status: int, running: int) -> bool:
    """Let a worker die as the supervisor sees it; return whether it is to be started again."""
    child = bench.roster.children["worker", worker]
    child._reader = Running(running)
    culprit = bench.quarantine.dying(child, "died", status)
    child._reader = None
    bench.roster.bury(child, 0.0)
    again = bench.quarantine.after(child, "died", culprit)
    bench.changes.go_on()
    return again


def test_only_a_death_that_code_can_cause_has_a_culprit(bench):
    child = bench.roster.children["worker", 0]
    number = bench.members.on(0)[0].number
    child._reader = Running(number)
    named = bench.members.by_number(number)
    assert bench.quarantine.culprit(child, KILLED) is None  # from outside: whoever ran had no part in it
    assert bench.quarantine.culprit(child, EXITED) is named
    assert bench.quarantine.culprit(child, FAULTED) is named
    bench.oom_kills = 1
    assert bench.quarantine.culprit(child, KILLED) is named
    assert bench.quarantine.culprit(child, KILLED) is None  # that kill was an earlier one
    child.hung = True
    assert bench.quarantine.culprit(child, KILLED) is named
    child._reader = Running(bench.members.on(1)[0].number)
    assert bench.quarantine.culprit(child, EXITED) is None  # it does not live there
    child._reader = None


async def test_a_culprit_goes_to_quarantine_and_its_neighbour_comes_back_without_it(bench):
    culprit, neighbour = bench.members.on(0)
    executor = {"id": "e", "kind": "grid_executor", "markets": [{"venue": "binance", "pair": "BTC-USDT", "net": "1.5"}]}
    bench.members.hold(culprit.config.id, 0, [executor])
    bench.members.hold(neighbour.config.id, 1, [executor])  # where it does not live
    assert die(bench, 0, EXITED, culprit.number)
    assert bench.members.on(0) == [neighbour]
    asked = bench.told("gate")
    # Before it hears of the death, so with what is open still.
    assert [one["type"] for one in asked] == ["exposure", "retire"]
    assert set(asked[0]["ids"]) == {culprit.config.id, neighbour.config.id}
    stake = {"open_orders": {"BTC-USDT": {"orders": 2, "buys": "3", "sells": "0"}}, "positions": {"BTC": "1.5"}}
    told_of = {culprit.config.id: stake, neighbour.config.id: {"open_orders": {}, "positions": {}}}
    bench.says(type="exposure", change=asked[0]["change"], strategies=told_of)
    bench.says(type="retire", change=asked[1]["change"], orders=0)
    assert bench.members.is_quarantine(culprit.worker)
    assert culprit.reason == "worker 0 died while it was running"
    (blast,) = bench.roster.blasts
    assert (blast["culprit"], blast["worker"]) == (culprit.config.id, 0)
    assert blast["at_stake"] == {culprit.config.id: {**stake, "executors": [executor]}}
    stands = f"at stake: {culprit.config.id}: 2 orders of BTC-USDT (buy 3, sell 0), position 1.5 BTC"
    stands += ", lost executors: grid_executor binance BTC-USDT 1.5"
    assert any(text.endswith(stands) for text in bench.said)
    assert culprit.executors == []  # of its next life


async def test_one_that_brings_its_quarantine_worker_down_again_and_again_is_stopped(bench):
    culprit = bench.members.on(0)[0]
    die(bench, 0, EXITED, culprit.number)
    bench.gate_answers()
    bench.gate_answers()
    worker = culprit.worker
    for _ in range(ENDS_MAX - 1):
        bench.join("worker", worker)
        assert die(bench, worker, KILLED, -1)
        assert culprit.worker == worker
    bench.join("worker", worker)
    assert not die(bench, worker, KILLED, -1)
    bench.gate_answers()
    assert (culprit.worker, culprit.state) == (None, "stopped")
    assert culprit.reason == f"its worker died, in quarantine, {ENDS_MAX} times"
    assert worker not in bench.members.workers()
    answer = bench.ask("restart", strategy=culprit.config.id)
    bench.gate_answers()
    assert (culprit.reason, culprit.ends) == ("", 0)
    assert not answer.done()


async def test_complaints_of_a_worker_are_carried_out_and_those_of_one_that_it_has_left_are_not(bench):
    one, other = bench.members.on(0)
    child = bench.roster.children["worker", 0]
    complaint = {"type": "misbehaved", "what": "blocked", "reason": "it blocked the loop for 3 s"}
    bench.quarantine.misbehaved(child, {**complaint, "id": one.config.id, "verdict": "quarantine"})
    bench.changes.go_on()
    assert [message["id"] for message in bench.told("worker", 0)] == [one.config.id]
    bench.says(type="removed", id=one.config.id)
    bench.gate_answers()
    assert bench.members.is_quarantine(one.worker)
    bench.quarantine.misbehaved(child, {**complaint, "id": one.config.id, "verdict": "stop"})
    assert one.state == "starting"  # it is not on that worker any more
    bench.quarantine.misbehaved(child, {**complaint, "id": other.config.id, "verdict": "stop"})
    bench.changes.go_on()
    bench.says(type="removed", id=other.config.id)
    bench.gate_answers()
    assert (other.worker, other.state, other.reason) == (None, "stopped", "it blocked the loop for 3 s")


async def test_a_culprit_that_is_being_changed_goes_to_quarantine_when_that_is_over(bench):
    culprit, other = bench.members.on(0)
    answer = bench.ask("restart", strategy=culprit.config.id)
    bench.says(type="removed", id=culprit.config.id)
    bench.gate_answers()
    bench.says(type="expecting", id=culprit.config.id)
    bench.gate_answers()
    assert die(bench, 0, FAULTED, culprit.number)  # while it starts
    bench.gate_answers()
    bench.gate_answers()
    assert answer.result()["error"] == f"strategy {culprit.config.id} stopping: worker 0 died while it was running"
    assert bench.members.is_quarantine(culprit.worker)
    assert bench.members.on(0) == [other]


async def test_a_complaint_waits_for_the_change_that_is_under_way_and_is_dropped_when_that_begins_a_new_life(bench):
    first, second = bench.members.on(0)
    for one in bench.strategies:
        one["priority"] = 5 if one["id"] in (first.config.id, second.config.id) else 0
    complaint = {"type": "misbehaved", "what": "blocked", "reason": "it blocked the loop", "verdict": "quarantine"}
    worker = bench.roster.children["worker", 0]
    answer = bench.ask("apply")
    bench.quarantine.misbehaved(worker, {**complaint, "id": second.config.id})  # its turn to be changed comes yet
    for one in (first, second):
        bench.says(type="removed", id=one.config.id)
        bench.gate_answers()
        bench.says(type="expecting", id=one.config.id)
        bench.gate_answers()
        bench.state(one.config.id, "running")
        if one is first:
            bench.quarantine.misbehaved(worker, {**complaint, "id": one.config.id})
    assert answer.result() == {"ok": True, "steps": answer.result()["steps"], "failed": []}
    bench.changes.go_on()
    bench.says(type="removed", id=first.config.id)
    bench.gate_answers()
    assert bench.members.is_quarantine(first.worker)
    assert (second.worker, second.state, second.reason) == (0, "running", "")
