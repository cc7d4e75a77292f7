"""The venue's clock."""

from hive.gate.server_time import ServerClock

MS = 1_000_000


def test_the_median_of_a_round_is_not_moved_by_one_slow_answer():
    now = [0]
    clock = ServerClock(lambda: now[0])
    # the venue is 5,000 ms ahead; each question takes 10 ms, one takes a second on its way back
    samples = [(at * MS, 5_000 + at + 5, (at + 10) * MS) for at in (0, 20, 40, 60)]
    samples.append((80 * MS, 5_085, 1_080 * MS))
    clock.set_round(samples)
    now[0] = 2_000 * MS
    assert abs(clock.venue_ns() - 7_000 * MS) <= MS
    assert abs(clock.timestamp_ms() - 7_000) <= 1


def test_a_later_round_replaces_an_earlier_one():
    now = [0]
    clock = ServerClock(lambda: now[0])
    clock.set_round([(0, 1_000, 0)])
    clock.set_round([(0, 9_000, 0)])
    assert clock.timestamp_ms() == 9_000
