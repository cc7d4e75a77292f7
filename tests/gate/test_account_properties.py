"""Whatever happens to orders, gates and workers: no order is lost, sent twice, or told wrongly.

Hypothesis interleaves sends, answers, fills, cancels, deaths, duplicates and delays on a fake clock; then everything is
let settle, and what the strategies heard is held against what is true at a model exchange.
"""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from gate.model_steps import check_at_rest, do, lives, settle, steps
from gate.model_worker import strategy_counters
from gate.model_world import World

EXAMPLES = 100
STEPS = 80


@pytest.fixture(scope="module")
def counters():
    return strategy_counters()


@given(st.booleans(), steps(STEPS // 2, STEPS))
@lives(EXAMPLES)
def test_strategies_hear_what_is_true_whatever_happens(counters, cancel_lost, steps):
    log = logging.getLogger("test")
    with TemporaryDirectory() as folder:
        world = World(Path(folder), counters, cancel_lost)
        log.addHandler(world.errors)
        try:
            for step in steps:
                do(world, *step)
            settle(world)
            for name, life in world.placed.items():
                note(f"{name} {[reply.kind.name for reply in life.heard.get(name, ())]}")
            check_at_rest(world)
        finally:
            log.removeHandler(world.errors)
            world.close()
