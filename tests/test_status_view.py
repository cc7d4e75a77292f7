"""What `hive status` says in words below its tables."""

from dataclasses import replace

import synthetic
from hive.report import build
from hive.status_view import notices


def told(*, errors: int = 0, **strategy: str) -> list[str]:
    sample = synthetic.sample()
    worker = sample.counters["worker"]
    counted = {**worker.values, ("errors", (("strategy", "pmm-1"),)): errors}
    sample = replace(sample, counters={**sample.counters, "worker": replace(worker, values=counted)})
    sample.fleet["strategies"][1].update(strategy)
    return notices(build(sample))


def test_a_strategy_that_just_runs_is_not_mentioned():
    assert told() == []


def test_a_strategy_with_errors_is_told_with_where_to_read_them():
    assert told(errors=1) == ["STRATEGY pmm-1 running on worker 1; 1 error, see `hive logs pmm-1`"]
    assert told(errors=3, state="paused", message="too many errors") == [
        "STRATEGY pmm-1 paused on worker 1: too many errors; 3 errors, see `hive logs pmm-1`"
    ]


def test_a_strategy_that_does_not_run_is_told_with_its_reason():
    assert told(state="failed", message="no such pair") == ["STRATEGY pmm-1 failed on worker 1: no such pair"]
