"""perf/chaos.py in small: processes of a trading fleet killed 50 times in random order lose and double nothing."""

import pytest

from hive.pure import COMPILED, implementation

if implementation() != COMPILED:
    pytest.skip("this many kills under load need the compiled modules", allow_module_level=True)

import chaos

KILLS = 50
WITHIN_S = 30.0  # other tests may run beside it


def test_fifty_kills_under_load_lose_double_and_misdirect_nothing():
    tally = chaos.play(KILLS, seed=11, within_s=WITHIN_S)
    story = "\n".join(tally.lines())
    verdict = tally.verdict
    assert verdict.lost == [], story
    assert verdict.doubled == [], story
    assert verdict.misattributed == [], story
    assert tally.wedged == [], story
    assert tally.leaked == [], story
    assert tally.throttled == 0, story
    assert tally.exit_code == 0, story
    assert tally.kills.total() == KILLS
    assert min(tally.kills[what] for what in ("gate", "worker", "feed", "supervisor")) > 0, "choose another seed"
    assert verdict.orders > 10 * KILLS, "hardly a load: the test proves nothing"
    assert verdict.fills > KILLS
