"""What strategies cost: measured by a run, kept in a file, and used at the next start for the same strategy only."""

from dataclasses import replace

import pytest

import synthetic
from hive.costs import (
    ESTIMATED,
    MEASURED,
    WEIGHT,
    Costs,
    Measured,
    costs_of,
    measured,
    read_costs,
    unchanged,
    write_costs,
)
from hive.processes import ProcessFacts
from made_fleets import fleet, strategy

SECOND = 1_000_000_000


def seen(share: float, **values) -> Measured:
    return replace(Measured(share, 600.0, "v1", "pmm", 100), **values)


def test_without_measurements_the_weights_count_and_say_so():
    made = fleet(strategy("a"), strategy("b", weight=4.0))
    assert costs_of(made, {}) == Costs({"a": 1.0, "b": 4.0}, {"a": WEIGHT, "b": WEIGHT}, in_cpus=False)


def test_what_was_not_measured_is_reckoned_by_weight_from_the_median_of_what_was():
    made = fleet(strategy("a"), strategy("b", weight=2.0), strategy("c", weight=0.5), strategy("new", weight=3.0))
    costs = costs_of(made, {"a": seen(0.01), "b": seen(0.06), "c": seen(0.01), "gone": seen(9.0)})
    assert costs.in_cpus
    assert costs.values == pytest.approx({"a": 0.01, "b": 0.06, "c": 0.01, "new": 3 * 0.02})
    assert costs.sources == {"a": MEASURED, "b": MEASURED, "c": MEASURED, "new": ESTIMATED}


@pytest.mark.parametrize("other", [{"kind": "script"}, {"name": "avellaneda"}, {"tick_interval_ms": 1000}])
def test_what_was_measured_of_another_strategy_or_interval_does_not_count(other):
    made = fleet(strategy("a"))
    assert not costs_of(made, {"a": seen(0.5, **other)}).in_cpus


def test_a_tick_interval_of_ones_own_is_the_one_that_must_be_the_same():
    made = fleet(strategy("a", tick_interval_ms=1000))
    assert costs_of(made, {"a": seen(0.5, tick_interval_ms=1000)}).values == {"a": 0.5}


def sample_of(seconds: float, state: str = "running"):
    sample = synthetic.sample()
    document = {**sample.fleet, "started_wall_ns": sample.wall_ns - round(seconds * SECOND)}
    document["strategies"] = [{**one, "state": state} for one in document["strategies"]]
    return replace(sample, fleet=document, facts={})


def test_what_a_worker_spends_besides_is_shared_equally_by_its_strategies():
    sample = replace(sample_of(100), facts={("worker", 0): ProcessFacts(4 * SECOND, 1, 1)})
    worker = sample.counters["worker"]
    for index, spent in enumerate((1, 1, 2)):  # 0 and 2 are on worker 0
        worker.values["strategy_cpu_ns", (("strategy", f"pmm-{index}"),)] = spent * SECOND
    found = measured(sample, names(3))
    assert [found[f"pmm-{index}"].share for index in range(3)] == pytest.approx([0.015, 0.01, 0.025])
    busy = replace(sample, facts={("worker", 0): ProcessFacts(SECOND, 1, 1)})  # counted a moment earlier
    assert measured(busy, names(3))["pmm-0"].share == pytest.approx(0.01)


def names(count: int):
    return fleet(*(strategy(f"pmm-{index}") for index in range(count)))


def test_a_run_measures_cpu_seconds_per_second_of_each_strategy():
    sample = sample_of(100)
    found = measured(sample, names(3))
    worker = sample.counters["worker"]
    for index in range(3):
        spent = worker.histogram("tick_duration_ns", strategy=f"pmm-{index}").sum
        assert found[f"pmm-{index}"] == Measured(spent / 1e9 / 100, 100.0, "v1", "pmm", 100)


def test_cpu_time_counts_where_it_is_counted_and_ticks_elsewhere():
    sample = sample_of(100)
    worker = sample.counters["worker"]
    worker.values["strategy_cpu_ns", (("strategy", "pmm-1"),)] = 5 * SECOND
    found = measured(sample, names(2))
    assert found["pmm-1"].share == pytest.approx(0.05)
    assert found["pmm-0"].share == pytest.approx(worker.histogram("tick_duration_ns", strategy="pmm-0").sum / 1e11)


def test_short_runs_and_strategies_that_did_not_run_to_the_end_measure_nothing():
    assert measured(sample_of(59), names(3)) == {}
    assert measured(sample_of(100, "failed"), names(3)) == {}
    assert measured(sample_of(100, "paused"), names(3)) == {}
    assert measured(sample_of(100, "stopped"), names(3)) == {}
    assert measured(sample_of(100), fleet(strategy("somebody else"))) == {}


def test_strategies_that_came_or_were_changed_during_a_run_are_not_measured():
    began = fleet(*map(strategy, "abc"))
    now = fleet(strategy("a"), strategy("c", tick_interval_ms=1000), strategy("new"))
    assert [one.id for one in unchanged(began, now).strategies] == ["a"]


def test_the_file_keeps_what_other_runs_measured_of_strategies_that_are_still_there(tmp_path):
    path = tmp_path / "costs.json"
    write_costs(path, {"a": seen(0.1), "b": seen(0.2), "c": seen(0.3)}, fleet(*map(strategy, "abc")))
    write_costs(path, {"a": seen(0.5)}, fleet(*map(strategy, "ab")))
    assert read_costs(path) == {"a": seen(0.5), "b": seen(0.2)}
    assert [file.name for file in tmp_path.iterdir()] == ["costs.json"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"schema": 2, "strategies": {}}', '{"schema": 1}', '{"schema": 1, "strategies": {"a": {}}}'],
)
def test_a_file_that_cannot_be_understood_is_none(tmp_path, text):
    path = tmp_path / "costs.json"
    path.write_text(text)
    assert read_costs(path) == {}
    assert read_costs(tmp_path / "none.json") == {}
