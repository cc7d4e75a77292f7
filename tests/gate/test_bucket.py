"""The buckets against slow, obvious ones on a fake clock, and against a venue that counts where it hurts most."""

import math
import random

import pytest

from hive.gate.bucket import AlignedWindow, RateMeter, TokenBucket

SECOND = 1_000_000_000


class SlowWindow:
    """Remembers every charge and counts those of the window."""

    def __init__(self, limit: int, window: int) -> None:
        self.limit = limit
        self.window = window
        self.charges: list[tuple[int, int]] = []

    def used(self, now: int) -> int:
        return sum(cost for at, cost in self.charges if at // self.window == now // self.window)

    def fits(self, cost: int, now: int) -> bool:
        return self.used(now) + cost <= self.limit


def test_a_window_grants_exactly_what_a_slow_one_grants():
    rng = random.Random(1)
    window, slow = AlignedWindow(20, 10 * SECOND), SlowWindow(20, 10 * SECOND)
    now = 1_700_000_000 * SECOND
    for _ in range(20_000):
        now += rng.choice((0, rng.randrange(SECOND), rng.randrange(20 * SECOND)))
        cost = rng.choice((1, 1, 1, 4, 20))
        assert window.fits(cost, now) == slow.fits(cost, now)
        assert window.used(now) == slow.used(now)
        if slow.fits(cost, now):
            window.charge(cost, now)
            slow.charges.append((now, cost))
            slow.charges = slow.charges[-40:]


def test_what_is_granted_after_the_wait_is_not_granted_before():
    rng = random.Random(2)
    for _ in range(300):
        window = AlignedWindow(5, 10 * SECOND, SECOND)
        now = 10 * SECOND * rng.randrange(1000) + rng.randrange(10 * SECOND)
        for _ in range(60):
            wait = window.wait_ns(2, now)
            assert wait >= 0
            if wait == 0:
                window.charge(2, now)
                now += rng.randrange(SECOND)
            else:
                assert not window.fits(2, now + wait - 1)
                now += wait


def test_a_cost_above_the_limit_never_fits():
    window = AlignedWindow(5, SECOND)
    assert window.wait_ns(6, 0) == -1
    assert not window.fits(6, 0)


@pytest.mark.parametrize("settling", [False, True])
def test_a_venue_that_counts_up_to_the_guard_early_or_late_never_refuses(settling):
    rng = random.Random(3)
    guard, span, limit = SECOND // 5, 10 * SECOND, 12
    for _ in range(60):
        window = AlignedWindow(limit, span, guard)
        skew = rng.randrange(-guard // 2, guard // 2)  # of the venue's clock
        counted: dict[int, int] = {}
        answers: list[tuple[int, int, int, int]] = []  # due, mark, charged at, count
        now = 1_000 * span + rng.randrange(span)
        for _ in range(2_000):
            now += rng.choice((0, 0, rng.randrange(SECOND // 2)))
            while settling and answers and answers[0][0] <= now:
                due, mark, at, count = answers.pop(0)
                window.settle(mark, 1, at, count, max(due, now))
            if window.fits(1, now):
                mark = window.charge(1, now)
                seen = now + skew + rng.randrange(-guard // 2 + 1, guard // 2)
                counted[seen // span] = counted.get(seen // span, 0) + 1
                assert counted[seen // span] <= limit
                answers.append((now + rng.randrange(SECOND), mark, now, counted[seen // span]))
                answers.sort()
        assert max(counted.values()) >= limit - 2  # and it is used, not just safe


def test_a_refund_that_the_venue_reports_can_be_spent_again():
    window = AlignedWindow(3, 10 * SECOND)
    first, second = window.charge(1, 0), window.charge(1, 0)
    window.settle(first, 1, 0, 1, SECOND)
    window.settle(second, 1, 0, 2, SECOND)
    third = window.charge(1, SECOND)
    assert not window.fits(1, SECOND)
    window.settle(third, 1, SECOND, 0, 2 * SECOND)  # all three were filled, and refunded
    assert window.used(2 * SECOND) == 0
    assert window.fits(3, 2 * SECOND)


def test_an_older_and_lower_count_does_not_undo_a_newer_one():
    window = AlignedWindow(10, 10 * SECOND)
    first, second = window.charge(1, 0), window.charge(1, 0)
    window.settle(second, 1, 0, 7, SECOND)
    assert window.used(SECOND) == 8  # seven counted, and the first still on its way
    window.settle(first, 1, 0, 6, SECOND)
    assert window.used(SECOND) == 7  # six before it, and the second
    assert window.used(11 * SECOND) == 0


def test_others_use_of_the_same_limit_is_seen_in_the_counts():
    window = AlignedWindow(10, 10 * SECOND)
    mark = window.charge(1, 0)
    window.settle(mark, 1, 0, 9, SECOND)
    assert window.fits(1, SECOND)
    assert not window.fits(2, SECOND)


def test_answers_that_overtake_each_other_do_not_use_up_a_window():
    rng = random.Random(5)
    for _ in range(200):
        window = AlignedWindow(100, 10 * SECOND)
        sent = rng.randrange(1, 60)
        answers = [(window.charge(1, SECOND), count) for count in range(1, sent + 1)]
        rng.shuffle(answers)
        for mark, count in answers:
            window.settle(mark, 1, SECOND, count, 2 * SECOND)
            assert window.used(2 * SECOND) == sent
        assert window.drift == 0


def test_a_refund_can_be_spent_when_no_later_count_may_hold_it_already():
    window = AlignedWindow(3, 10 * SECOND, SECOND)
    marks = [window.charge(1, 2 * SECOND) for _ in range(3)]
    for count, mark in enumerate(marks, 1):
        window.settle(mark, 1, 2 * SECOND, count, 3 * SECOND)
    window.credit(1, 2 * SECOND, 3 * SECOND)  # the last count came after that fill
    assert window.used(8 * SECOND) == 3
    window.credit(1, 4 * SECOND, 4 * SECOND)
    assert not window.fits(1, 5 * SECOND - 1)
    assert window.wait_ns(1, 4 * SECOND) == SECOND
    assert window.fits(1, 5 * SECOND)
    assert not window.fits(2, 5 * SECOND)
    window.credit(1, 5 * SECOND, 5 * SECOND)
    mark = window.charge(1, 5 * SECOND)
    window.settle(mark, 1, 5 * SECOND, 2, 6 * SECOND)  # a count takes the refund's place
    assert window.used(8 * SECOND) == 2
    for _ in range(9):
        window.credit(1, 7 * SECOND, 7 * SECOND)
    assert window.used(8 * SECOND) == 0, "never below zero"


def test_a_window_that_is_in_doubt_lets_one_at_a_time_through_until_a_count_comes():
    window = AlignedWindow(10, 10 * SECOND)
    window.doubt(SECOND)
    assert window.used(SECOND) == 10
    for _ in range(3):  # answers without a count
        assert window.fits(1, SECOND)
        mark = window.charge(1, SECOND)
        assert 0 < window.wait_ns(1, SECOND) < SECOND
        window.settle(mark, 1, SECOND, -1, SECOND)
    mark = window.charge(1, 2 * SECOND)
    window.settle(mark, 1, 2 * SECOND, 6, 2 * SECOND)
    assert (window.used(2 * SECOND), window.drift) == (6, 0)
    assert window.fits(4, 2 * SECOND)
    window.doubt(2 * SECOND)
    window.assume(7, 2 * SECOND)
    assert window.used(2 * SECOND) == 7
    window.doubt(2 * SECOND)
    assert not window.doubtful(10 * SECOND)
    assert window.fits(10, 10 * SECOND)


def test_what_is_taken_back_was_never_there():
    for at in (5 * SECOND, 10 * SECOND - 1, 10 * SECOND):  # in the middle, near the end, near the start
        window = AlignedWindow(3, 10 * SECOND, SECOND)
        window.charge(3, at)
        window.refund(3, at, at)
        assert window.fits(3, at)
        window.charge(3, at)
        window.refund(3, at, at + SECOND)
        assert window.used(at + SECOND) == 0


def test_drift_is_what_the_venue_counts_beyond_our_own_charges():
    window = AlignedWindow(100, 10 * SECOND)
    for count, drift in ((1, 0), (2, 0), (10, 7), (8, 4), (5, 0)):
        mark = window.charge(1, SECOND)
        window.settle(mark, 1, SECOND, count, SECOND)
        assert window.drift == window.drifting(SECOND) == drift
    window.settle(window.charge(1, 2 * SECOND), 1, 2 * SECOND, 16, 2 * SECOND)
    assert (window.drift, window.drifting(2 * SECOND), window.drifting(11 * SECOND)) == (10, 10, 0)


# --- clocks that are wrong


@pytest.mark.parametrize("length", [10 * SECOND, 60 * SECOND, 86_400 * SECOND])
def test_windows_and_the_day_turn_where_the_venues_clock_says(length):
    window = AlignedWindow(4, length)
    turn = 20_000 * 86_400 * SECOND  # a midnight in UTC
    for at in (turn - length, turn - 1):
        window.charge(2, at)
    assert not window.fits(1, turn - 1)
    assert window.wait_ns(1, turn - 1) == 1
    assert window.fits(4, turn)


@pytest.mark.parametrize("jump", [-1, 1])
@pytest.mark.parametrize("length", [10 * SECOND, 86_400 * SECOND])
def test_a_clock_that_jumps_neither_opens_a_window_twice_nor_blocks_it_for_long(length, jump):
    rng = random.Random(6)
    for _ in range(200):
        window = AlignedWindow(5, length, SECOND // 5)
        now = 20_000 * length + rng.randrange(length)
        skew = jump * rng.randrange(1, 50 * length)  # of our clock, put right after a while
        for _ in range(rng.randrange(1, 8)):
            if window.fits(1, now + skew):
                window.charge(1, now + skew)
        spent = window.used(now + skew)
        if jump > 0:
            assert window.used(now) >= spent, "what was spent counts on, whichever window it was in"
        waited = 0
        while (wait := window.wait_ns(1, now)) > 0:
            now += wait
            waited += wait
        assert waited <= 2 * length


def test_a_clock_that_is_set_back_a_little_stays_in_its_window():
    window = AlignedWindow(2, 10 * SECOND)
    window.charge(2, 10 * SECOND + 1)
    assert not window.fits(1, 10 * SECOND - 1)
    assert window.wait_ns(1, 10 * SECOND - 1) == 10 * SECOND + 1
    assert window.fits(2, 20 * SECOND)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((0, SECOND), "limit must be >= 1, was 0"),
        ((1, 0), "window_ns must be >= 1, was 0"),
        ((1, 10, 5), "guard_ns must be >= 0 and below half of window_ns 10, was 5"),
    ],
)
def test_a_window_names_the_rule_that_was_broken(arguments, rule):
    with pytest.raises(ValueError, match=rule):
        AlignedWindow(*arguments)


def test_a_token_bucket_lets_no_more_through_than_its_rate_and_burst():
    rng = random.Random(4)
    for rate, burst in ((1.0, 1.0), (10.0, 10.0), (0.5, 1.0), (3.3, 3.3)):
        bucket, taken, now = TokenBucket(rate, burst), [], 5 * SECOND
        start = now
        for _ in range(3_000):
            now += rng.randrange(SECOND // 3)
            if bucket.has(1, now):
                bucket.take(1, now)
                taken.append(now)
            assert len(taken) <= burst + rate * (now - start) * 1e-9 + 1e-6
        assert len(taken) >= 0.8 * min(rate, 6) * (now - start) * 1e-9  # asked about six times a second


def test_a_token_is_there_after_the_wait_and_not_before():
    bucket = TokenBucket(4.0, 1.0)
    bucket.take(1, SECOND)
    wait = bucket.wait_ns(1, SECOND)
    assert wait == pytest.approx(SECOND // 4, abs=2)
    assert not bucket.has(1, SECOND + wait // 2)
    assert bucket.has(1, SECOND + wait)


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0), (1.0, 0.5)])
def test_a_token_bucket_refuses_rates_that_make_no_sense(rate, burst):
    with pytest.raises(ValueError, match="must be"):
        TokenBucket(rate, burst)


def test_a_rate_decays_and_a_steady_one_is_told():
    meter = RateMeter(10 * SECOND)
    assert meter.per_second(5 * SECOND) == 0.0
    for tenth in range(1000):
        meter.add(2, tenth * SECOND // 10)
    assert meter.per_second(100 * SECOND) == pytest.approx(20, rel=0.02)
    assert meter.per_second(110 * SECOND) == pytest.approx(meter.per_second(100 * SECOND) / math.e)
    assert meter.per_second(90 * SECOND) == meter.per_second(99 * SECOND)  # before the last of them: nothing decays
    with pytest.raises(ValueError, match="tau_ns must be > 0, was 0"):
        RateMeter(0)
