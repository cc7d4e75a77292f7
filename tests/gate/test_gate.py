"""What a gate does with what it is told, before it runs."""

import logging
import secrets
import time
from pathlib import Path

import pytest

from gate.made_orders import BUY, SELL, Desk
from gate.test_settings import BOOT
from hive.gate.budgets import VenueBudgets
from hive.gate.figures import room
from hive.gate.gate import Gate
from hive.gate.settings import GateSettings, Halt
from hive.shm.channel import Channel
from hive.shm.counters import Counters, counters_size
from hive.shm.segment import Segment, segment_name
from hive.shm.wake import WakeReceiver

TAG = BOOT["strategies"][0]["tag"]


@pytest.fixture
def gate(tmp_path: Path):
    run = secrets.token_hex(4)
    boot = {**BOOT, "run": run, "run_dir": str(tmp_path), "state_dir": str(tmp_path), "stale_after_ms": None}
    settings = GateSettings.from_boot({**boot, "risk": {"loss_limit": {"USDT": "10"}}})
    name = segment_name(run, "counters.gate", settings.epoch)
    capacity, histograms = room(1, 1)
    segment = Segment.create(name, counters_size(capacity, histograms), kind="counters", epoch=settings.epoch)
    segment.unlink()
    budgets = VenueBudgets(run, settings.epoch, settings.venues, 0.4, time.time_ns())
    budgets.unlink()
    wake = WakeReceiver(tmp_path / "wake")
    channel, other = Channel.pair()
    log = logging.getLogger("gate")
    made = Gate(settings, channel, Counters.create(segment, capacity), name, budgets, wake, log)
    yield made
    for account in made._accounts.values():
        account.journal.close()
    wake.close()
    channel.close()
    other.close()


def lose(gate: Gate, desk: Desk, amount: str) -> list[str]:
    """Let the strategy buy and sell again, with a loss; return what is said of limits that this has passed."""
    for side, price in ((BUY, str(100 + int(amount))), (SELL, "100")):
        order = desk.order(side, "1", price, TAG)
        gate._accounts[0].guards.filled(order, desk.fill(order, "1", price))
    return [trip.text for trip in gate._guards.losses(time.time_ns(), time.monotonic_ns())]


def test_to_resume_a_strategy_that_it_does_not_know_forgives_nobody_anything(gate: Gate, caplog):
    desk = Desk()
    assert lose(gate, desk, "6") == []
    gate._halting.resume(Halt("never-began", None, ""))
    assert "no strategy has the id never-began" in caplog.text
    assert lose(gate, desk, "6") == ["fleet loss_limit must be <= 10 USDT, was 12"]
