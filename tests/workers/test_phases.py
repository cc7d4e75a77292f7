"""Where strategies and their timers meet: at pulses, as evenly as they can."""

import asyncio
from collections import Counter

import pytest

from hive.workers.clock import CallbackCounter
from hive.workers.loop import BEHIND_NS, EARLY_NS, at_pulse_ns, new_loop
from hive.workers.phases import LONG_PULSE_NS, PULSE_NS, offset_ns, phase_ns, pulse_phase_ns

MS = 1_000_000
SECOND = 1000 * MS


def taken_by(count, interval_ns, gone=(), offset=0):
    """Return the phases of `count` strategies, of which those in `gone` left again before the next came."""
    phases = {}
    for k in range(count):
        phases[k] = pulse_phase_ns(k, interval_ns, phases.values(), offset)
        if k in gone:
            del phases[k]
    return phases


@pytest.mark.parametrize(
    ("interval_ns", "places", "apart_ns"),
    [(10 * MS, 1, PULSE_NS), (100 * MS, 10, PULSE_NS), (SECOND, 20, LONG_PULSE_NS), (1025 * MS, 41, 25 * MS),
     (60 * SECOND, 100, 600 * MS)],
)
@pytest.mark.parametrize("count", [1, 7, 50, 130])
def test_strategies_meet_at_pulses_and_no_pulse_has_two_more_than_another(interval_ns, places, apart_ns, count):
    phases = taken_by(count, interval_ns)
    at = Counter(phases.values())
    assert all(phase in range(0, interval_ns, apart_ns) for phase in at)
    assert len(at) == min(count, places)
    assert max(at.values()) - min(at.values()) <= 1


@pytest.mark.parametrize("interval_ns", [10 * MS, 100 * MS, SECOND])
def test_the_pulses_of_a_worker_lie_between_those_of_another_and_its_timers_with_them(interval_ns):
    offsets = [offset_ns(worker) for worker in range(8)]
    assert len(set(offsets)) == 8
    assert all(0 <= offset < PULSE_NS for offset in offsets)
    for offset in offsets:
        plain, moved = taken_by(60, interval_ns), taken_by(60, interval_ns, offset=offset)
        assert moved == {k: phase + offset for k, phase in plain.items()}
        assert max(moved.values()) < interval_ns
        assert (at_pulse_ns(SECOND, -offset) - BEHIND_NS - offset) % PULSE_NS == 0


def test_who_comes_takes_the_place_of_who_is_gone():
    phases = taken_by(30, SECOND, gone=range(0, 20, 2))
    assert set(Counter(phases.values()).values()) == {1}


def test_an_interval_that_no_pulse_divides_has_its_strategies_spread():
    phases = taken_by(20, 15 * MS)
    assert list(phases.values()) == [phase_ns(k, 15 * MS) for k in range(20)]


def test_phases_stay_spread_however_many_strategies_there_are():
    interval_ns = 100 * MS
    for count in range(2, 130):
        phases = sorted(phase_ns(k, interval_ns) for k in range(count))
        gaps = [late - early for early, late in zip(phases, [*phases[1:], phases[0] + interval_ns], strict=True)]
        assert max(gaps) <= 2.62 * min(gaps) + 2
        assert max(gaps) <= 1.62 * interval_ns / count * 1.2


@pytest.mark.parametrize("offset_ns", [0, 1_700_000_000_123_456_789, -7])
@pytest.mark.parametrize("past_ns", [0, 1, EARLY_NS, EARLY_NS + 1, LONG_PULSE_NS - 1])
def test_a_timer_waits_for_the_pulse_of_the_wall_clock_that_is_next_or_has_just_been(offset_ns, past_ns):
    asked_ns = 10**9 * LONG_PULSE_NS - offset_ns % LONG_PULSE_NS + past_ns
    due_ns = at_pulse_ns(asked_ns, offset_ns)
    assert (due_ns + offset_ns) % LONG_PULSE_NS == BEHIND_NS
    assert -EARLY_NS <= due_ns - BEHIND_NS - asked_ns < LONG_PULSE_NS - EARLY_NS


def test_timers_of_strategies_that_are_far_away_come_together_and_others_when_they_were_asked_for(idle_strategies):
    loop = new_loop(CallbackCounter())
    idle_strategies.loop = loop
    context = idle_strategies.new("a")
    now = loop.time()
    asked = [now + 1.001, now + 1.0011]
    far = [loop.call_at(when, print, context=context.pycontext) for when in asked]
    near = loop.call_at(now + 0.4, print, context=context.pycontext)
    before = loop.time()
    inside = context.run(loop.call_later, 1.0, print)
    after = loop.time()
    others = [loop.call_at(when, print) for when in asked]
    assert near.when() == now + 0.4
    assert [one.when() for one in others] == asked
    for timer, earliest, latest in (*zip(far, asked, asked, strict=True), (inside, before + 1.0, after + 1.0)):
        assert earliest - 0.0101 <= timer.when() <= latest + 0.0401
    for timer in (*far, near, inside, *others):
        timer.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
