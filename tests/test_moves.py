"""Strategies that move by themselves: what is asked of whom, and all that keeps one where it is."""

import pytest

from changes_bench import Bench
from hive.moves import Moves
from hive.rebalance import LOOKS, PAUSE_S
from hive.shm.snapshots import CountersSnapshot

EVERY_S = 5.0
NOTHING = {"open_orders": {}, "positions": {}}
POSITION = {"open_orders": {}, "positions": {"BTC": "0.1"}}
ORDER = {"open_orders": {"BTC-USDT": {"orders": 1, "buys": "1", "sells": "0"}}, "positions": {}}


class Reader:
    """A worker's counters: its strategies take their shares of a CPU as the test's time goes on."""

    def __init__(self, bench, shares: dict[str, float]) -> None:
        self._bench = bench
        self._shares = shares

    def read(self) -> CountersSnapshot:
        spent = {one: round(share * self._bench.now_s * 1e9) for one, share in self._shares.items()}
        values = {("strategy_cpu_ns", (("strategy", one),)): ns for one, ns in spent.items()}
        return CountersSnapshot(0, values, {})


class Overloaded(Bench):
    """Worker 0 has more to do than it should, with two strategies; worker 1 has room."""

    def __init__(self, folder, **runtime) -> None:
        super().__init__(folder, **runtime)
        self.heavy, self.light = (one.config.id for one in self.members.on(0))
        for worker in (0, 1):
            shares = {self.heavy: 0.45, self.light: 0.35} if worker == 0 else {}
            self.roster.children["worker", worker]._reader = Reader(self, shares)
        self.delay = 0.0  # the part of the time in which workers have no CPU
        self.moves = Moves(self.roster, self.changes, self._say, lambda: self.now_s, self._delay_ns)

    def _delay_ns(self, pid: int) -> int:
        return round(self.delay * self.now_s * 1e9)

    def look(self, times: int = LOOKS + 1) -> None:
        """Let so many looks come."""
        for _ in range(times):
            self.now_s += EVERY_S
            self.moves.beat()
            self.changes.go_on()

    def gate_says(self, **stakes) -> list[str]:
        """Let the gate answer what strategies have at stake; return which it was asked about."""
        (asked,) = self.told("gate")
        assert asked["type"] == "exposure"
        known = {one: stakes.get(one, NOTHING) for one in asked["ids"]}
        self.says(type="exposure", change=asked["change"], strategies=known)
        self.changes.go_on()  # as after the next event: the answer has begun another change
        return asked["ids"]

    def worker_says(self, exposed: str = "", submitted: int = 3) -> dict:
        """Let worker 0 answer the question whether a strategy is idle, or refuse to let it go; return the question."""
        (asked,) = self.told("worker", 0)
        self.says(type="idle", id=asked["id"], change=asked["change"], exposed=exposed, submitted=submitted)
        return asked

    def is_at_rest(self) -> bool:
        """Return whether nothing was asked and nobody was moved, in an hour of looks."""
        self.look(round(2 * PAUSE_S / EVERY_S))
        asked = [*self.told("worker", 0), *self.told("worker", 1), *self.told("gate")]
        return asked == [] and [one.config.id for one in self.members.on(0)] == [self.heavy, self.light]

    def close(self) -> None:
        for child in self.roster.of_role("worker"):
            child._reader = None
        super().close()


@pytest.fixture
def bench(tmp_path):
    made = Overloaded(tmp_path, rebalance="on")
    yield made
    made.close()


async def test_nothing_moves_by_itself_unless_the_fleet_file_says_so(tmp_path):
    bench = Overloaded(tmp_path)
    assert bench.is_at_rest()
    bench.close()


async def test_a_strategy_without_exposure_moves_once_worker_and_gate_agree_that_it_has_none(bench):
    bench.look(LOOKS)
    assert bench.told("gate") == []
    bench.look(1)
    assert bench.gate_says() == [bench.heavy, bench.light]
    idle = bench.worker_says()
    assert (idle["type"], idle["id"]) == ("idle", bench.heavy)
    assert bench.gate_says() == [bench.heavy]
    (remove,) = bench.told("worker", 0)
    assert (remove["type"], remove["id"], remove["submitted"]) == ("remove", bench.heavy, 3)
    bench.look()
    assert bench.told("gate") == []  # one at a time
    bench.says(type="removed", id=bench.heavy, change=remove["change"], open_orders=0, late=False)
    (retire,) = bench.gate_answers()
    assert (retire["type"], retire["id"]) == ("retire", bench.heavy)
    assert [one["type"] for one in bench.told("worker", 1)] == ["add"]
    bench.says(type="expecting", id=bench.heavy)
    bench.gate_answers()
    bench.state(bench.heavy, "running")
    assert bench.members.get(bench.heavy).worker == 1
    (moved,) = bench.roster.moves
    assert (moved["strategy"], moved["from"], moved["to"]) == (bench.heavy, 0, 1)
    text = f"strategy {bench.heavy} has moved by itself from worker 0 to 1"
    assert bench.said[-1] == f"{text}: worker 0 was 80% busy, 0.0% of its ticks were missed"
    assert bench.changes.busy() == set()


async def test_one_with_an_order_or_a_position_stays_and_another_is_taken(bench):
    bench.look()
    bench.gate_says(**{bench.heavy: POSITION})
    assert bench.worker_says(exposed="1 orders")["id"] == bench.light
    assert bench.told("gate") == []
    bench.look(round(PAUSE_S / EVERY_S))
    bench.look()
    bench.gate_says(**{bench.heavy: POSITION, bench.light: ORDER})
    assert bench.told("worker", 0) == []
    assert len(bench.members.on(0)) == 2


async def test_one_with_executors_is_not_even_asked_about(bench):
    for one in (bench.heavy, bench.light):
        bench.members.hold(one, 0, [{"id": "e", "kind": "k", "markets": []}])
    assert bench.is_at_rest()


async def test_one_that_gets_exposure_or_makes_an_order_between_two_questions_stays(bench):
    bench.look()
    bench.gate_says()
    bench.worker_says()
    bench.gate_says(**{bench.heavy: POSITION})
    assert bench.told("worker", 0) == []
    bench.look(round(PAUSE_S / EVERY_S) + LOOKS)
    bench.gate_says()
    bench.worker_says()
    bench.gate_says()
    assert bench.worker_says(submitted=4)["type"] == "remove"
    assert bench.members.get(bench.heavy).worker == 0
    assert bench.changes.busy() == set()
    assert bench.roster.moves == []


async def test_one_whose_worker_dies_while_it_is_asked_comes_back_there(bench):
    bench.look()
    bench.gate_says()
    child = bench.roster.children["worker", 0]
    bench.roster.bury(child, 0.0)
    bench.changes.go_on()
    assert bench.members.get(bench.heavy).worker == 0
    assert bench.changes.busy() == set()


async def test_one_that_is_paused_dedicated_or_in_quarantine_and_one_without_a_place_to_go_stay(bench):
    bench.members.get(bench.heavy).held = "a look"
    bench.members.get(bench.light).reason = "it hung"
    assert bench.is_at_rest()
    bench.members.get(bench.heavy).held = bench.members.get(bench.light).reason = ""
    bench.strategies.append({"id": "e", "script": "x"})
    (e,) = (one for one in bench.load().strategies if one.id == "e")
    bench.members.begin(bench.members.add(e), 1)  # worker 1 is full then
    bench.look()
    bench.gate_says()
    assert bench.told("worker", 0) == []


async def test_a_worker_is_judged_by_the_time_in_which_it_could_run(bench):
    bench.roster.children["worker", 0]._reader = Reader(bench, {bench.heavy: 0.2, bench.light: 0.15})
    assert bench.is_at_rest()
    bench.delay = 0.5
    bench.look(LOOKS + 2)
    assert bench.gate_says() == [bench.heavy, bench.light]
    assert bench.worker_says()["type"] == "idle"
