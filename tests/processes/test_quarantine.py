"""Strategies that bring their worker down, beside others that do not: who comes back, where, and what is said of it."""

import pytest

from fleet_run import FleetRun, fills_of, tags, wait_until
from gate.bench import Exchange
from hive.state import FleetDir

CULPRIT = """
import collections
import ctypes
import itertools
from pathlib import Path

from hummingbot.core.data_type.common import MarketDict
from hummingbot.strategy.strategy_v2_base import StrategyV2Base, StrategyV2ConfigBase


class CulpritConfig(StrategyV2ConfigBase):
    script_file_name: str = "culprit.py"
    how: str = ""
    after: int = 20
    once: str = ""

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
        if self.config.once:
            Path(self.config.once).touch()
        getattr(self, self.config.how)()

    def leave(self):
        ctypes.CDLL(None)._exit(7)  # in C, where nothing of Python's can refuse it

    def fault(self):
        ctypes.string_at(0)

    def hang(self):
        collections.deque(itertools.repeat(None), maxlen=0)  # in C, where no signal handler of Python's runs
"""
NEIGHBOURS = {"left": "ETH-USDT", "right": "BNB-USDT"}
CULPRITS = {"leaves": "leave", "faults": "fault", "hangs": "hang"}


@pytest.fixture
def exchange():
    exchange = Exchange("--rate", "100")
    yield exchange
    exchange.close()


@pytest.fixture
def run(tmp_path, exchange):
    bad = tmp_path / "bad"
    (bad / "scripts").mkdir(parents=True)
    (bad / "scripts/culprit.py").write_text(CULPRIT)
    (bad / "conf/scripts").mkdir(parents=True)
    (bad / "conf/scripts/culprit.yml").write_text("script_file_name: culprit.py\n")

    def culprit(name: str, after: int) -> dict:
        once = "" if name == "leaves" else str(tmp_path / f"{name}.once")
        values = {"how": CULPRITS[name], "after": after, "once": once}
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
    strategies = [*neighbours, culprit("leaves", 20), culprit("faults", 90), culprit("hangs", 160)]
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
        return found if all(found[one]["state"] == "running" for one in found if one != "leaves") else None

    found = wait_until(judged, "every culprit is judged", 120.0)
    assert found["leaves"]["worker"] is None
    assert found["leaves"]["reason"].endswith("in quarantine, 3 times")
    alone = [found[one]["worker"] for one in ("faults", "hangs")]
    assert min(alone) >= 2
    assert alone[0] != alone[1]
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
