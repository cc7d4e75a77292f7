"""A throttled window against venues that count for themselves, honest ones and others, on a fake clock."""

import heapq
import random
from dataclasses import dataclass, field

import pytest

from hive.gate.bucket import AlignedWindow
from hive.gate.limit_rules import LimitKind, LimitRule
from hive.gate.limits import LimitCount, Limits, Operation
from hive.gate.throttle import FEW, STEP_NS, Throttle
from hive.gate.venue_limits import binance_spot

SECOND = 1_000_000_000
SPAN = 10 * SECOND
START = 1_700_000_001 * SECOND
STATED = 100
GUARD = SECOND // 5
DAY = 86_400 * SECOND
RULES = [LimitRule(LimitKind.ORDERS, SPAN, STATED), LimitRule(LimitKind.ORDERS, DAY, 200_000)]


@dataclass
class Venue:
    """Counts orders in aligned windows, and refuses those above what it really allows."""

    real: int
    tells: bool = True
    skew_ns: int = 0
    counted: dict[int, int] = field(default_factory=dict)
    accepted: int = 0
    rejected: list[int] = field(default_factory=list)

    def place(self, at_ns: int) -> tuple[bool, int]:
        """Return whether it takes an order, and what it has counted."""
        index = (at_ns + self.skew_ns) // SPAN
        if self.counted.get(index, 0) >= self.real:
            self.rejected.append(at_ns)
            return False, self.counted[index]
        self.counted[index] = self.counted.get(index, 0) + 1
        self.accepted += 1
        return True, self.counted[index] if self.tells else -1


class Fleet:
    """Strategies that always have an order waiting; a request and its answer take up to `way_ns`."""

    def __init__(self, venue: Venue, adaptive: bool = True, way_ns: int = 20_000_000, seed: int = 1) -> None:
        self.venue = venue
        self.limits = Limits(binance_spot(RULES), GUARD, adaptive=adaptive)
        self.rng = random.Random(seed)
        self.way_ns = way_ns
        self.now = START
        self.on_their_way: list[tuple[int, int, object, bool, int]] = []
        self.waiting = 0
        self.sent_at: list[int] = []
        self._serial = 0

    def run(self, seconds: float, backlog: bool = True) -> "Fleet":
        end = self.now + int(seconds * SECOND)
        while self.now < end:
            self._answers()
            wait = SECOND
            while backlog or self.waiting:
                wait = self.limits.wait_ns(Operation.PLACE, "BTCUSDT", self.now, self.now)
                assert wait >= 0
                if wait:
                    break
                self._send()
            due = self.on_their_way[0][0] if self.on_their_way else end
            self.now = min(max(self.now + 1, min(self.now + wait, due)), end)
        return self

    def _send(self) -> None:
        charge = self.limits.charge(Operation.PLACE, "BTCUSDT", self.now, self.now)
        there = self.now + self.rng.randrange(1, self.way_ns // 2)
        taken, count = self.venue.place(there)
        self._serial += 1
        back = there + self.rng.randrange(1, self.way_ns // 2)
        heapq.heappush(self.on_their_way, (back, self._serial, charge, taken, count))
        self.waiting = max(0, self.waiting - 1)
        self.sent_at.append(self.now)

    def _answers(self) -> None:
        while self.on_their_way and self.on_their_way[0][0] <= self.now:
            _, _, charge, taken, count = heapq.heappop(self.on_their_way)
            if taken:
                counts = [LimitCount(LimitKind.ORDERS, SPAN, count)] if count >= 0 else []
                self.limits.settle(charge, counts, self.now, self.now)
            else:
                self.limits.breached(charge, LimitKind.ORDERS, SPAN, 0, self.now, self.now)


@pytest.mark.parametrize("way_ms", [2, 20, 100, 200])
@pytest.mark.parametrize("tells", [True, False])
def test_a_venue_that_secretly_allows_less_is_used_almost_fully_with_almost_no_rejects(way_ms, tells):
    for seed in range(3):
        venue = Venue(70, tells)
        Fleet(venue, way_ns=way_ms * 1_000_000, seed=seed).run(300)
        sent = venue.accepted + len(venue.rejected)
        assert len(venue.rejected) <= 0.01 * sent, venue.rejected
        assert venue.accepted >= 0.9 * 70 * 30
        assert max(venue.counted.values()) == 70


def test_the_first_breach_costs_a_handful_of_rejects():
    for real in (51, 70, 90, 99):
        venue = Venue(real)
        Fleet(venue).run(10)
        assert 1 <= len(venue.rejected) <= FEW


def test_a_venue_that_allows_less_than_half_costs_a_few_rejects_more():
    venue = Venue(20)
    Fleet(venue).run(10)
    first = len(venue.rejected)
    assert first <= STATED // 2 + FEW
    Fleet.run(fleet := Fleet(venue := Venue(20)), 300)
    assert len(venue.rejected) <= first + 5 * FEW + 10
    assert venue.accepted >= 0.9 * 20 * 29
    assert fleet.limits.order_limit(fleet.now)[0] <= 22


@pytest.mark.parametrize("way_ms", [2, 100, 400])
def test_an_honest_venue_is_used_fully_and_never_breached(way_ms):
    venue = Venue(STATED)
    Fleet(venue, way_ns=way_ms * 1_000_000).run(300)
    assert venue.rejected == []
    windows = [venue.counted.get(START // SPAN + index, 0) for index in range(30)]
    assert all(count >= STATED - 1 for count in windows[1:])
    assert sum(windows) >= 0.98 * STATED * 30


def test_a_burst_of_an_idle_fleet_never_waits_for_answers():
    limits = Limits(binance_spot(RULES), GUARD)
    for burst in range(50):
        now = START + SECOND + burst * SPAN
        charges = []
        for _ in range(STATED // 2):
            assert limits.wait_ns(Operation.PLACE, "BTCUSDT", now, now) == 0
            charges.append(limits.charge(Operation.PLACE, "BTCUSDT", now, now))
        for charge in charges:
            limits.settle(charge, [], now + SECOND, now + SECOND)


def test_what_waited_does_not_leave_at_once_when_a_closed_venue_opens():
    fleet = Fleet(Venue(70), way_ns=400_000_000).run(30)
    breach = fleet.venue.rejected[-1]
    opened = [at for at in fleet.sent_at if at // SPAN == breach // SPAN + 1]
    at_once = sum(at < opened[0] + 1_000_000 for at in opened)
    assert 1 <= at_once <= FEW
    assert len(opened) >= 68  # and still all of it is used


def test_the_usable_limit_climbs_a_step_a_minute_back_to_what_is_stated():
    fleet = Fleet(Venue(90)).run(10)
    assert fleet.limits.order_limit(fleet.now)[0] == 90
    fleet.venue.real = STATED  # the venue relents
    fleet.run(STEP_NS // SECOND * 11)
    assert fleet.limits.order_limit(fleet.now)[0] == STATED
    assert len(fleet.venue.rejected) <= FEW
    assert fleet.venue.counted[fleet.now // SPAN - 1] >= STATED - 1


def test_a_venue_that_tightens_its_limit_later_is_followed():
    fleet = Fleet(Venue(STATED)).run(60)
    fleet.venue.real = 70
    before = fleet.venue.accepted
    fleet.run(10)
    assert len(fleet.venue.rejected) <= STATED - 70 + FEW, "what was proven went at once"
    fleet.run(290)
    assert fleet.venue.accepted - before >= 0.9 * 70 * 30
    assert len(fleet.venue.rejected) <= STATED - 70 + 3 * FEW


def test_without_adaptive_throttling_a_breach_closes_and_changes_no_limit():
    venue = Venue(70)
    fleet = Fleet(venue, adaptive=False).run(60)
    assert fleet.limits.order_limit(fleet.now) == (STATED, SPAN)
    assert len(venue.rejected) > 6  # it runs into the venue's limit in every window
    assert all(count == 70 for index, count in venue.counted.items() if index < fleet.now // SPAN)
    for window in range(6):  # and what the breach found is the end of that window
        index = START // SPAN + window
        first = next(at for at in venue.rejected if at // SPAN == index)
        assert not [at for at in fleet.sent_at if at // SPAN == index and at > first + fleet.way_ns]


@pytest.mark.parametrize("skew_ms", [-90, 90])
def test_clocks_that_disagree_within_the_guard_cause_no_breach(skew_ms):
    venue = Venue(STATED, skew_ns=skew_ms * 1_000_000)
    Fleet(venue, way_ns=100_000_000).run(120)
    assert venue.rejected == []


def test_clocks_that_disagree_by_more_end_in_a_working_limit_all_the_same():
    venue = Venue(STATED, skew_ns=-3 * SECOND)
    fleet = Fleet(venue).run(600)
    assert venue.accepted >= 0.6 * STATED * 60
    assert len(venue.rejected) <= 0.05 * len(fleet.sent_at)


def test_rejects_of_one_burst_are_one_breach():
    window = AlignedWindow(STATED, SPAN)
    throttle = Throttle(window)
    marks = []
    for _ in range(60):
        marks.append(window.charge(1, START))
        throttle.sent(START)
    for mark in marks[:40]:
        window.settle(mark, 1, START, -1, START + SECOND)
        throttle.answered(-1, START, START + SECOND, START + SECOND)
    for _ in range(20):
        window.refund(1, START, START + SECOND)
        throttle.dropped(START + SECOND)
        throttle.breached(START, START, START + SECOND, START + SECOND)
    assert throttle.breaches == 1
    assert throttle.usable == 50, "one breach takes no more than half"
    assert window.used(START + SECOND) == 40


def test_a_request_without_an_answer_is_not_waited_for_forever():
    limits = Limits(binance_spot(RULES), GUARD)
    now = START + SECOND
    for _ in range(3 * STATED):
        assert limits.wait_ns(Operation.PLACE, "BTCUSDT", now, now) == 0
        charge = limits.charge(Operation.PLACE, "BTCUSDT", now, now)
        limits.settle(charge, [], now, now)  # a timeout
        now += SPAN // 50
