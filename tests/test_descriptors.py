"""How many descriptors a fleet needs, and what is said when a process may not have so many."""

import resource

import pytest

from hive import descriptors
from hive.descriptors import SPARE, open_files, too_few
from hive.fleet import SimVenue
from hive.gate import recorder_database
from hive.workers import strategy_logs
from made_fleets import fleet, strategy


def made(strategies: int, venues: int = 1):
    names = ["binance", "kucoin", "okx"][:venues]
    return fleet(
        *(strategy(f"s{number}") for number in range(strategies)),
        venues=tuple(SimVenue(name, "binance") for name in names),
    )


def test_each_worker_costs_the_gate_three_and_the_supervisor_two():
    few, many = (open_files(made(400), [400 // workers] * workers) for workers in (4, 400))
    assert many["gate"] - few["gate"] == 3 * 396
    assert many["supervisor"] - few["supervisor"] == 2 * 396
    assert many["gate"] == max(many.values()) > 1024


def test_databases_and_logs_stay_open_up_to_their_own_limits():
    assert (descriptors.DATABASES_MAX, descriptors.LOGS_MAX) == (recorder_database.OPEN_MAX, strategy_logs.OPEN_MAX)
    hundred, thousand = (open_files(made(count), [count]) for count in (100, 1000))
    assert hundred["recorder"] == thousand["recorder"]
    assert thousand["worker"] - hundred["worker"] == strategy_logs.OPEN_MAX - 100


def test_what_is_said_has_the_process_both_numbers_and_the_rule():
    needed = {"feed": SPARE + 9, "gate": 300}
    assert too_few(needed, 300) == too_few(needed, None) == ""
    said = too_few(needed, 299)
    assert said.startswith("open files: a process may have 299, this fleet's gate needs 300: raise the hard limit")


@pytest.fixture
def limits():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_becomes_the_hard_one(limits):
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
    descriptors.allow_all()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (limits[1], limits[1])
    assert descriptors.allowed() == (None if limits[1] == resource.RLIM_INFINITY else limits[1])
