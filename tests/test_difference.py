"""What separates two fleets: which strategies come, go, start anew or only get other limits, and what is refused."""

from dataclasses import replace
from decimal import Decimal

import pytest

from hive.config import load_fleet
from hive.difference import difference
from hive.fleet import Quota, StrategyRisk

FILE = """
name: trial
venues: {binance: {mode: sim, seed: 3}}
strategies:
  - {id: one, script: x}
  - {id: two, script: x}
  - {id: three, script: x}
"""


@pytest.fixture
def fleet(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/x.py").touch()
    (tmp_path / "fleet.yml").write_text(FILE)
    return load_fleet(tmp_path / "fleet.yml")


def changed(fleet, **changes):
    """Return the fleet with fields of the strategy `one` changed."""
    one, *others = fleet.strategies
    return replace(fleet, strategies=(replace(one, **changes), *others))


def test_a_fleet_does_not_differ_from_itself(fleet):
    found = difference(fleet, fleet)
    assert not found
    assert found.lines() == []


def test_strategies_that_come_and_go_are_named_and_the_others_are_not(fleet):
    fewer = replace(fleet, strategies=fleet.strategies[1:])
    assert difference(fleet, fewer).removed == ("one",)
    assert [one.id for one in difference(fewer, fleet).added] == ["one"]
    assert difference(fewer, fleet).lines() == ["add one"]
    assert difference(fleet, fewer).lines() == ["remove one"]


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"config": {"spread": 2}}, "config"),
        ({"tick_interval_ms": 500}, "tick_interval_ms"),
        ({"capital": {"USDT": Decimal(100)}}, "capital"),
        ({"worker": "dedicated"}, "worker"),
        ({"quota": Quota(weight=2.0), "priority": 3}, "priority, quota"),
    ],
)
def test_a_strategy_whose_configuration_has_changed_starts_anew(fleet, changes, keys):
    found = difference(fleet, changed(fleet, **changes))
    assert [one.id for one in found.restarted] == ["one"]
    assert (found.added, found.removed, found.adjusted, found.refused) == ((), (), (), ())
    assert found.lines() == [f"restart one: {keys}"]


@pytest.mark.parametrize("changes", [{"quota": Quota(weight=2.0)}, {"risk": StrategyRisk(max_open_orders=3)}])
def test_limits_that_the_gate_keeps_change_without_a_restart(fleet, changes):
    found = difference(fleet, changed(fleet, **changes))
    assert [one.id for one in found.adjusted] == ["one"]
    assert (found.added, found.removed, found.restarted, found.refused) == ((), (), (), ())


def test_what_only_says_where_a_strategy_is_placed_touches_nothing(fleet):
    assert not difference(fleet, changed(fleet, weight=5.0))


def test_what_cannot_change_while_the_fleet_runs_is_named_by_its_key(fleet):
    (venue,) = fleet.venues
    other = replace(
        fleet,
        name="other",
        runtime=replace(fleet.runtime, tick_interval_ms=50),
        venues=(replace(venue, seed=4), replace(venue, name="second")),
    )
    refused = ("name", "runtime.tick_interval_ms", "venues.binance.seed", "venues.second")
    assert difference(fleet, other).refused == refused
