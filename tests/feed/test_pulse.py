"""Pulse: what pongs prove, on a clock of the test's."""

from hive.feed.pulse import NEVER_NS, Patience, Pulse

S = 1_000_000_000


def pulse():
    made = Pulse(Patience(ping_interval_s=1.0, pong_within_s=1.0, lost_after_s=5.0))
    made.reset(0)
    return made


def test_a_ping_is_due_an_interval_after_the_last_one():
    one = pulse()
    assert one.due_ns == S
    one.ping(S)
    assert one.due_ns == 2 * S


def test_without_a_ping_nothing_is_missing():
    one = pulse()
    assert one.look(100 * S) >= NEVER_NS
    assert not one.late


def test_a_pong_in_time_is_measured_and_proves_everything_up_to_it():
    one = pulse()
    first, second = one.ping(0), one.ping(S)
    assert not one.answered(first)
    assert one.pong(second, S + 7) == 7
    assert one.answered(first)
    assert one.pong(first, S + 8) is None


def test_a_missing_pong_is_late_after_its_time_and_lost_after_more():
    one = pulse()
    one.ping(0)
    assert one.look(S - 1) == S
    assert not one.late
    assert one.look(S) == 5 * S
    assert one.late
    assert one.look(5 * S - 1) == 5 * S
    assert one.look(5 * S) is None


def test_a_late_pong_proves_nothing_about_now_and_the_next_one_in_time_does():
    one = pulse()
    first = one.ping(0)
    one.look(S)
    second = one.ping(S)
    assert one.pong(first, 3 * S) == 3 * S
    assert one.late
    third = one.ping(3 * S)
    assert one.pong(second, 3 * S) == 2 * S
    assert one.late
    one.pong(third, 3 * S + 1)
    assert not one.late


def test_a_doubt_ends_with_its_own_pong_and_with_no_earlier_one():
    one = pulse()
    before = one.ping(0)
    doubt = one.doubt(30 * S)
    assert one.look(30 * S) == 31 * S  # the time before does not count against the venue
    assert one.late
    assert one.pong(before, 30 * S) is None
    assert one.late
    one.pong(doubt, 30 * S + 5)
    assert not one.late


def test_two_doubts_end_with_the_second():
    one = pulse()
    first, second = one.doubt(0), one.doubt(1)
    assert one.pong(first, 2) is None
    assert one.late
    one.pong(second, 3)
    assert not one.late


def test_a_new_connection_begins_without_doubts_and_without_the_pongs_of_the_old_one():
    one = pulse()
    number = one.doubt(0)
    one.look(2 * S)
    one.reset(3 * S)
    assert not one.late
    assert one.pong(number, 3 * S) is None
    assert one.due_ns == 4 * S


def test_a_pong_that_nobody_asked_for_is_ignored():
    assert pulse().pong(17, 0) is None
