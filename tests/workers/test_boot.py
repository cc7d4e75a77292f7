"""Boot messages and affinity."""

import os

import pytest

from hive.workers.affinity import allowed_cpus, pin
from hive.workers.boot import ServerBoot, WorkerBoot
from hive.workers.errors import BootError

RAW = {
    "type": "boot",
    "run": "0badcafe",
    "fleet": "demo",
    "fleet_id": "abcde",
    "epoch": 2,
    "index": 0,
    "run_dir": "/run/hive/demo",
    "tick_interval_ms": 250,
    "scheduler": "priority_based",
    "strategies": [
        {"id": "a", "tag": "aaaaa", "index": 0, "kind": "v1", "name": "pmm", "priority": 3, "quota": {"x": 1}},
        {"id": "b", "tag": "bbbbb", "index": 1, "kind": "script", "name": "simple", "config": {"pair": "BTC-USDT"}},
    ],
    "venues": [{"index": 0, "name": "binance"}],
}


def test_a_boot_message_becomes_values_and_the_host_gets_what_a_worker_does_not_know():
    boot = WorkerBoot.from_dict(RAW)
    assert (boot.tick_interval_ns, boot.scheduler, boot.epoch) == (250_000_000, "priority_based", 2)
    assert [spec.priority for spec in boot.strategies] == [3, 0]
    assert boot.strategies[0].extra == {"quota": {"x": 1}}
    assert (boot.venue_index("binance"), boot.venue_index(0), boot.venue_name(0)) == (0, 0, "binance")
    with pytest.raises(KeyError):
        boot.venue_index("kraken")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"tick_interval_ms": 0}, "boot: tick_interval_ms must be positive, was 0"),
        ({"scheduler": "lottery"}, "boot: scheduler must be one of round_robin, priority_based, fair, was lottery"),
        ({"run": None}, "boot: run must be str, was None"),
        ({"strategies": [{"id": "a"}]}, "boot: strategies: a: tag is missing"),
        (
            {"strategies": [RAW["strategies"][0], {**RAW["strategies"][1], "tag": "aaaaa"}]},
            "boot: strategies: every tag must be there once",
        ),
    ],
)
def test_a_wrong_boot_message_says_which_rule_it_breaks(changes, rule):
    with pytest.raises(BootError, match=rule):
        WorkerBoot.from_dict({**RAW, **changes})


def test_a_server_needs_a_host():
    with pytest.raises(BootError, match="boot: host must be str, was None"):
        ServerBoot.from_dict({})


def test_pinning_to_a_cpu_that_is_not_there_says_so_and_changes_nothing():
    before = os.sched_getaffinity(0)
    assert pin(None) == ""
    assert "not pinned to CPU 4095" in pin(4095)
    assert os.sched_getaffinity(0) == before
    assert allowed_cpus() == sorted(before)
