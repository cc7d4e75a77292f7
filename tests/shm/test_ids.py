"""Client order ids carry their fleet and their strategy."""

import re

import pytest

from hive.shm.ids import fleet_id, order_prefix, parse_order_id, strategy_tag


def test_an_id_names_its_fleet_and_strategy():
    prefix = order_prefix(fleet_id("demo"), strategy_tag("pmm-1"))
    assert len(prefix) == 13
    assert re.fullmatch(r"hv[a-z2-7]{10}-", prefix)
    assert parse_order_id(prefix + "BBCUT1a2b3c") == (fleet_id("demo"), strategy_tag("pmm-1"))
    assert parse_order_id(prefix) == (fleet_id("demo"), strategy_tag("pmm-1"))


def test_names_are_stable_and_the_two_kinds_differ():
    assert fleet_id("demo") == fleet_id("demo") != strategy_tag("demo")
    assert len({strategy_tag(f"s{i}") for i in range(1000)}) >= 998


@pytest.mark.parametrize(
    "foreign",
    ["", "x-ABC", "hvabcdefghij", "hvABCDEfghij-1", "hvabcde1ghij-1", "hvabcdefghij-ä", "hvabcdefghij-" + "x" * 24],
)
def test_foreign_ids_are_not_ours(foreign):
    assert parse_order_id(foreign) is None


def test_a_prefix_needs_real_parts():
    with pytest.raises(ValueError, match="5 characters"):
        order_prefix("abc", "abcde")
