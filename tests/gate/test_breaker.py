"""A venue that answers no orders: when new ones wait, and what lets them go again."""

from hive.gate.breaker import FAILURES, FIRST_NS, LONGEST_NS, PROBE_NS, Breaker

SECOND = 1_000_000_000


def opened(at_ns: int = 0) -> Breaker:
    breaker = Breaker()
    assert [breaker.failed(at_ns) for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]
    return breaker


def test_single_orders_without_an_answer_hold_nobody_up():
    breaker = Breaker()
    for _ in range(10):
        breaker.failed(0)
        breaker.answered()
    assert breaker.wait_ns(0) == 0
    assert not breaker.open


def test_several_in_a_row_hold_new_orders_back_for_a_while():
    breaker = opened()
    assert breaker.wait_ns(0) == FIRST_NS
    assert breaker.wait_ns(FIRST_NS) == 0


def test_one_order_tries_the_venue_and_the_others_wait_for_its_answer():
    breaker = opened()
    breaker.sent(FIRST_NS)
    assert breaker.wait_ns(FIRST_NS) == PROBE_NS
    assert breaker.answered()
    assert breaker.wait_ns(FIRST_NS) == 0


def test_each_try_that_fails_makes_the_pause_longer_up_to_a_limit():
    breaker = opened()
    now, pauses = 0, []
    for _ in range(8):
        now += breaker.wait_ns(now)
        breaker.sent(now)
        assert not breaker.failed(now)
        pauses.append(breaker.wait_ns(now))
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_NS


def test_after_an_answer_the_count_begins_anew():
    breaker = opened()
    assert breaker.answered()
    assert not breaker.answered()
    assert not breaker.failed(0)
    assert breaker.wait_ns(0) == 0
