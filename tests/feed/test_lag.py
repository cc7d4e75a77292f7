"""LagWatch on clocks that jump."""

import pytest

from hive.feed.lag import SUSPENDED_NS, Beat, LagWatch

MS = 1_000_000
LIMIT_NS = 80 * MS


def test_the_first_beat_is_on_time_whatever_the_clocks_say():
    assert LagWatch(LIMIT_NS).look(10**15, 10**16) is Beat.ON_TIME


@pytest.mark.parametrize(
    ("mono_ns", "boot_ns", "beat"),
    [
        (10 * MS, 10 * MS, Beat.ON_TIME),
        (LIMIT_NS, LIMIT_NS, Beat.ON_TIME),
        (LIMIT_NS + 1, LIMIT_NS + 1, Beat.LATE),
        (5_000 * MS, 5_000 * MS, Beat.LATE),  # stopped
        (10 * MS, 10 * MS + SUSPENDED_NS + 1, Beat.SUSPENDED),
        (10 * MS, 3_600_000 * MS, Beat.SUSPENDED),
        (10 * MS, 110 * MS, Beat.LATE),  # lost the CPU between the two clocks
        (200 * MS, 10 * MS, Beat.LATE),
    ],
)
def test_a_beat_is_judged_by_both_clocks(mono_ns, boot_ns, beat):
    watch = LagWatch(LIMIT_NS)
    watch.look(1_000 * MS, 7_000 * MS)
    assert watch.look(1_000 * MS + mono_ns, 7_000 * MS + boot_ns) is beat
    assert watch.late_ns == max(mono_ns, boot_ns)


def test_after_a_late_beat_the_next_one_is_on_time_again():
    watch = LagWatch(LIMIT_NS)
    watch.look(0, 0)
    watch.look(500 * MS, 500 * MS)
    assert watch.look(510 * MS, 510 * MS) is Beat.ON_TIME


def test_a_limit_must_be_positive():
    with pytest.raises(ValueError, match="limit_ns must be > 0, was 0"):
        LagWatch(0)
