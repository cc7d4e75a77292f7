"""Back-off and pace on a clock of the test's."""

import random

import pytest

from hive.feed.pacing import ConnectPace, backoff_s

S = 1_000_000_000


@pytest.mark.parametrize("failures", [1, 2, 3, 10, 1_000])
def test_back_off_doubles_up_to_a_bound_and_keeps_half_to_chance(failures):
    rng = random.Random(failures)
    waits = [backoff_s(failures, rng) for _ in range(1_000)]
    full = min(0.1 * 2 ** (failures - 1), 30.0)
    assert full / 2 <= min(waits) < full * 0.6
    assert full * 0.9 < max(waits) <= full


def test_a_pace_never_lets_more_through_than_its_window_allows():
    rng = random.Random(3)
    pace, now_ns, opened = ConnectPace(attempts=5, window_ns=10 * S), 0, []
    for _ in range(500):
        now_ns += rng.randrange(2 * S)
        wait_ns = pace.reserve(now_ns)
        recent = [at_ns for at_ns in opened if now_ns - at_ns < 10 * S]
        if wait_ns == 0:
            opened.append(now_ns)
            assert len(recent) < 5
        else:
            assert len(recent) == 5
            assert wait_ns == recent[0] + 10 * S - now_ns


def test_a_venue_that_asks_to_wait_is_not_connected_to_before():
    pace = ConnectPace()
    pace.close(30, 0)
    pace.close(10, 0)  # never shortens
    assert pace.reserve(29 * S) == S
    assert pace.reserve(30 * S) == 0


def test_a_venue_in_maintenance_is_asked_for_little_an_hour():
    rng, pace = random.Random(1), ConnectPace()
    now_ns, failures, attempts = 0, 0, 0
    while now_ns < 3_600 * S:
        wait_ns = pace.reserve(now_ns)
        if wait_ns == 0:
            attempts += 1
            failures += 1
            wait_ns = int(backoff_s(failures, rng) * S)
        now_ns += wait_ns
    assert attempts < 3_600 / 15 + 20
