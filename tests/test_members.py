"""Who lives where: places, further workers, and lives whose numbers only grow."""

from dataclasses import replace

import pytest

from hive.config import load_fleet
from hive.members import NOWHERE, Members
from hive.plan import place


@pytest.fixture
def members(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/x.py").touch()
    (tmp_path / "fleet.yml").write_text(
        "runtime: {max_strategies_per_container: 2}\n"
        "venues: {binance: {mode: sim}}\nstrategies: [{script: x, count: 3}]\n"
    )
    fleet = load_fleet(tmp_path / "fleet.yml")
    return Members(fleet, place(fleet.strategies, workers=2, cpus=(0, 1), limit=2))


def another(members, name, **changes):
    return replace(next(iter(members)).config, id=name, tag=name[:5].ljust(5, "a"), **changes)


def test_a_strategy_that_comes_goes_where_there_is_room_and_least_to_do(members):
    first = members.add(another(members, "first"))
    worker = members.place(first.config)
    assert len(members.on(worker)) == 1
    members.begin(first, worker)
    assert members.place(another(members, "second")) == 2  # both are full: a worker of its own
    assert members.workers() == [0, 1, 2]


def test_a_dedicated_strategy_gets_a_worker_of_its_own_whose_number_is_not_used_again(members):
    one = members.add(another(members, "alone", worker="dedicated"))
    members.begin(one, members.place(one.config))
    assert one.worker == 2
    assert not members.drop_if_empty(2)  # it is there
    one.worker = None
    assert members.drop_if_empty(2)
    assert members.workers() == [0, 1]
    assert members.new_worker() == 3
    assert not members.drop_if_empty(0)  # placed workers stay


def test_every_further_life_has_a_greater_number_wherever_it_is(members):
    members.begin_all(0)
    members.begin_all(1)
    one = next(iter(members))
    seen = [one.life]
    for worker in (1, 0, 1):
        members.begin(one, worker)
        seen.append(one.life)
    members.begin_all(0)
    members.begin_all(1)
    seen.append(one.life)
    assert seen == sorted(set(seen))
    assert one.life == members.lives()[one.config.id] == members.lives_on(1)[one.config.tag]


def test_a_strategy_between_two_workers_is_nowhere_and_still_the_fleets(members):
    one = next(iter(members))
    one.worker = None
    assert [plan.index for plan in members.plans()] == [0, 1, NOWHERE]
    assert [config.id for config in members.plans()[-1].strategies] == [one.config.id]
    assert len(members.fleet().strategies) == 3


def test_a_number_in_a_counter_names_one_strategy_for_ever(members):
    ids = members.ids()
    members.discard(ids[0])
    newcomer = members.add(another(members, "newcomer"))
    assert newcomer.number == 3
    assert members.by_number(0) is None
    assert members.add(another(members, ids[0])).number == 0
    assert members.by_number(3) is newcomer


def test_where_a_strategy_may_not_go_is_said(members):
    full = next(index for index in (0, 1) if len(members.on(index)) == 2)
    assert "at most 2 strategies" in members.why_not(full)
    assert members.why_not(1 - full) == ""
    assert members.why_not(7) == "worker must be one of 0, 1, or new for one of its own, was 7"
    alone = members.new_worker(quarantine=True)
    assert "quarantine" in members.why_not(alone)
