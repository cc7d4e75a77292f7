"""Beats judged by two clocks."""

import pytest

from hive.feed.lag import SUSPENDED_NS, Beat, judge

MS = 1_000_000
LIMIT_NS = 80 * MS


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
    assert judge(mono_ns, boot_ns, LIMIT_NS) is beat
