"""Strategies that bring their worker down, beside others that do not: who comes back, where, and what is said of it."""

import time

import pytest

from fleet_run import FleetRun, fills_of, tags, wait_until
from hive.state import FleetDir

EXCHANGE = ("--rate", "100")
CULPRIT = """
import collections
import ctypes
import itertools
from pathlib import Path

from hummingbot.client.hummingbot_application import HummingbotApplication
from hummingbot.core.data_type.common import MarketDict
from hummingbot.strategy.strategy_v2_base import StrategyV2Base, StrategyV2ConfigBase


class CulpritConfig(StrategyV2ConfigBase):
    script_file_name: str = "culprit.py"
    how: str = ""
    after: int = 20
    once: str = ""
    waits_for: str = ""

    def update_markets(self, markets: MarketDict) -> MarketDict:
        return markets.add_or_update("binance", "BTC-USDT")


class Culprit(StrategyV2Base):
    def __init__(self, connectors, config: CulpritConfig):
        super().__init__(connectors, config)
        self.ticks = 0

    def on_tick(self):
        self.ticks += 1
        if self.ticks < self.config.after or (self.config.once and Path(self.config.once).exists()):
            return
        if self.config.waits_for and not Path(self.config.waits_for).exists():
            return
        if self.config.once:
            Path(self.config.once).touch()
        getattr(self, self.config.how)()

    def ask_to_be_stopped(self):
        HummingbotApplication.main_application().stop()

    def leave(self):
        ctypes.CDLL(None)._exit(7)  # in C, where nothing of Python's can refuse it

    def fault(self):
        ctypes.string_at(0)

    def hang(self):
        collections.deque(itertools.repeat(None), maxlen=0)  # in C, where no signal handler of Python's runs
"""
NEIGHBOURS = {"left": "ETH-USDT", "right": "BNB-USDT"}
CULPRITS = {"leaves": "leave", "faults": "fault", "hangs": "hang"}
STOPPED = "has-had-enough"  # before its worker dies
HOW = {**CULPRITS, STOPPED: "ask_to_be_stopped"}
LADDER = {"id": "ladder", "script": "controllers_runner", "set": {"controllers_config": ["ladder_btc.yml"]}}
EXECUTORS_LIVE = "executors.live"
TOLD_WITHIN_S = 3.0  # executors are told once a second


@pytest.fixture
def run(tmp_path, exchange):
    bad = tmp_path / "bad"
    (bad / "scripts").mkdir(parents=True)
    (bad / "scripts/culprit.py").write_text(CULPRIT)
    (bad / "conf/scripts").mkdir(parents=True)
    (bad / "conf/scripts/culprit.yml").write_text("script_file_name: culprit.py\n")

    def culprit(name: str, after: int) -> dict:
        once = "" if name in ("leaves", STOPPED) else str(tmp_path / f"{name}.once")
        waits_for = str(tmp_path / EXECUTORS_LIVE) if name == "faults" else ""
        values = {"how": HOW[name], "after": after, "once": once, "waits_for": waits_for}
        return {"id": name, "script": "culprit", "config": "culprit.yml", "root": str(bad), "set": values}

    neighbours = [
        {
            "id": name,
            "script": "touch_maker",
            "config": "touch_maker.yml",
            "set": {"trading_pair": pair, "refresh_seconds": 1, "spread": 0.002},
        }
        for name, pair in NEIGHBOURS.items()
    ]
    # As many to each worker, in this order: the ladder is beside `faults`.
    strategies = [*neighbours, culprit("leaves", 20), culprit("faults", 90), culprit("hangs", 160), LADDER]
    strategies.append(culprit(STOPPED, 5))
    made = FleetRun(tmp_path, exchange, strategies, runtime={"restart_wait_max_s": 0.5})
    made.up()
    yield made
    made.close()


def test_culprits_are_isolated_or_stopped_with_a_reason_and_their_neighbours_trade_on(run):
    def judged() -> dict[str, dict] | None:
        assert run.process.poll() is None, run.text()
        fleet = FleetDir.of(run.name).read()
        found = {one["id"]: one for one in fleet["strategies"]} if fleet else {}
        if found.get("leaves", {}).get("state") != "stopped" or not all(found[one]["reason"] for one in CULPRITS):
            return None
        running = {one for one in found if found[one]["state"] == "running"}
        return found if found.keys() - running == {"leaves", STOPPED} else None

    (ladder,) = tags(["ladder"]).values()
    wait_until(lambda: len(run.recorded_orders().get(ladder, ())) >= 2, "orders of executors")
    time.sleep(TOLD_WITHIN_S)
    (run.folder / EXECUTORS_LIVE).touch()
    found = wait_until(judged, "every culprit is judged", 120.0)
    assert found["leaves"]["worker"] is None
    stopped = (found[STOPPED]["state"], found[STOPPED]["message"])
    assert stopped == ("paused", "the strategy asked to be stopped")  # nobody has lifted that
    assert found["leaves"]["reason"].endswith("in quarantine, 3 times")
    alone = [found[one]["worker"] for one in ("faults", "hangs")]
    assert min(alone) >= 2
    assert alone[0] != alone[1]
    processes = FleetDir.of(run.name).read()["processes"]
    niceness = {one["index"]: one["nice"] for one in processes if one["role"] == "worker"}
    assert min(niceness[one] for one in alone) > max(niceness[0], niceness[1])
    assert "was killed by SIGSEGV while it was running" in found["faults"]["reason"]
    assert "hung and was killed while it was running" in found["hangs"]["reason"]
    assert {found[one]["worker"] for one in NEIGHBOURS} <= {0, 1}
    assert [found[one]["reason"] for one in NEIGHBOURS] == ["", ""]
    owners = tags(list(NEIGHBOURS))
    before = {name: len(run.recorded_orders()[tag]) for name, tag in owners.items()}
    wait_until(
        lambda: all(len(run.recorded_orders()[tag]) > before[name] for name, tag in owners.items()),
        f"the neighbours trade on\n{run.text()}",
    )
    blasts = run.status()["blasts"]
    assert {one["culprit"] for one in blasts if one["worker"] in (0, 1)} >= set(CULPRITS)
    lost = next(one for one in blasts if one["culprit"] == "faults")["at_stake"]["ladder"]["executors"]
    assert {one["kind"] for one in lost} == {"position_executor"}
    assert {(market["venue"], market["pair"]) for one in lost for market in one["markets"]} == {("binance", "BTC-USDT")}
    assert "lost executors: position_executor binance BTC-USDT" in run.text()
    shown = run.hive("status").stdout
    assert "STRATEGY leaves stopped: its worker ended with exit code 7, in quarantine, 3 times" in shown
    assert "by hangs: " in shown
    again = run.hive("restart", "leaves")
    assert again.returncode == 0, again.stderr
    wait_until(
        lambda: next(one for one in FleetDir.of(run.name).read()["strategies"] if one["id"] == "leaves")["reason"],
        f"it is judged anew\n{run.text()}",
    )
    assert run.stop() == 0, run.text()
    assert run.exchange.open_orders() == []
    recorded = run.recorded_orders()
    for name, tag in owners.items():
        assert run.seen_fills(name) == fills_of(recorded[tag]), name
