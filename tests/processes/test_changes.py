"""Changes to one running fleet: strategies come, go, pause and move, and what the exchange recorded is judged."""

import os
from pathlib import Path

import pytest
import yaml

from fleet_run import FleetRun, ends_of, fills_of, tags, wait_until
from hive.cli_errors import CONFIG, NOT_FOUND, OK
from hive.state import FleetDir

EXCHANGE = ("--rate", "100")
NEIGHBOURS = ["stays", "stays-too"]
BURNERS = ["burns", "burns-too"]
BURNER = """
import time
from pathlib import Path

from hummingbot.core.data_type.common import MarketDict
from hummingbot.strategy.strategy_v2_base import StrategyV2Base, StrategyV2ConfigBase


class BurnerConfig(StrategyV2ConfigBase):
    script_file_name: str = "burner.py"
    when: str = ""

    def update_markets(self, markets: MarketDict) -> MarketDict:
        return markets.add_or_update("binance", "BTC-USDT")


class Burner(StrategyV2Base):
    def on_tick(self):
        until = time.thread_time() + 0.04  # of the 0.1 s between two ticks
        while Path(self.config.when).exists() and time.thread_time() < until:
            pass
"""


def touch(name: str, pair: str, **more) -> dict:
    values = {"trading_pair": pair, "refresh_seconds": 1, "spread": 0.002}
    return {"id": name, "script": "touch_maker", "config": "touch_maker.yml", "set": values, **more}


class Fleet:
    """The fleet, its file, and what the exchange has of it."""

    def __init__(self, run: FleetRun) -> None:
        self.run = run
        self.file = yaml.safe_load(run.file.read_text())

    def save(self) -> None:
        self.run.file.write_text(yaml.safe_dump(self.file))

    def told(self, *words: str, code: int = OK) -> str:
        result = self.run.hive(*words)
        assert result.returncode == code, (words, result.stdout, result.stderr, self.run.text())
        return result.stdout + result.stderr

    def strategies(self) -> dict[str, dict]:
        """Return state, worker and message of each strategy."""
        return {one["id"]: one for one in FleetDir.of(self.run.name).read()["strategies"]}

    def ticks(self) -> dict[str, int]:
        return {one["id"]: one["ticks"] for one in self.run.status()["strategies"]}

    def orders(self, name: str) -> list[dict]:
        return self.run.recorded_orders().get(tags([name])[name], [])

    def open_of(self, name: str) -> set[str]:
        return {one["clientOrderId"] for one in self.orders(name) if one["status"] in ("NEW", "PARTIALLY_FILLED")}

    def wait_for_more(self, *names: str) -> None:
        """Wait until the exchange has got further orders of these strategies."""
        before = {name: len(self.orders(name)) for name in names}
        wait_until(
            lambda: all(len(self.orders(name)) > count for name, count in before.items()),
            f"more orders of {names}\n{self.run.text()}",
        )

    def workers(self) -> dict[int, int]:
        """Return the pid of each worker."""
        processes = FleetDir.of(self.run.name).read()["processes"]
        return {one["index"]: one["pid"] for one in processes if one["role"] == "worker"}


def burner(name: str, folder: Path) -> dict:
    """Return a strategy that trades nothing, and takes much of its worker while the folder has a file `burn`."""
    root = folder / "burner"
    (root / "scripts").mkdir(parents=True, exist_ok=True)
    (root / "scripts/burner.py").write_text(BURNER)
    return {"id": name, "script": "burner", "root": str(root), "set": {"when": str(folder / "burn")}}


@pytest.fixture
def fleet(tmp_path, exchange):
    strategies = [
        touch("stays", "BNB-USDT"),
        touch("stays-too", "XRP-USDT"),
        touch("goes", "BTC-USDT"),
        {"id": "pmm", "strategy": "pure_market_making", "config": "conf/strategies/pmm_btc.yml", "weight": 5},
        *(burner(name, tmp_path) for name in BURNERS),  # by the weights, beside one another
    ]
    strategies[3]["set"] = {"market": "ETH-USDT", "order_amount": 0.05}
    by_itself = {"rebalance": "on", "rebalance_after_s": 6, "loop_share": None}
    run = FleetRun(tmp_path, exchange, strategies, risk={"self_trade": "allow"}, runtime=by_itself)
    run.up()
    yield Fleet(run)
    run.close()


def test_one_fleet_through_every_change_with_its_neighbours_undisturbed(fleet):
    run = fleet.run
    run.wait_running()
    fleet.wait_for_more("stays", "stays-too", "goes", "pmm")
    before, pids, ticks = fleet.strategies(), fleet.workers(), fleet.ticks()

    # paused: it decides nothing, its neighbours do; and it goes on
    fleet.told("pause", "goes", "--reason", "a look")
    paused = fleet.strategies()["goes"]
    assert (paused["state"], paused["message"]) == ("paused", "a look")
    assert "STRATEGY goes paused" in fleet.told("status")
    count = len(fleet.orders("goes"))
    fleet.wait_for_more(*NEIGHBOURS)
    assert len(fleet.orders("goes")) == count
    assert "is running" in fleet.told("resume", "goes")
    fleet.wait_for_more("goes")

    # moved, with its orders at the exchange: to the other worker, to one of its own, and back
    here = before["pmm"]["worker"]
    wait_until(lambda: fleet.open_of("pmm"), "open orders of pmm")
    assert f"is running on worker {1 - here}" in fleet.told("move", "pmm", str(1 - here))
    fleet.wait_for_more("pmm")
    assert "is running on worker 2" in fleet.told("move", "goes", "new", "--orders", "cancel")
    assert set(fleet.workers()) == {0, 1, 2}
    fleet.wait_for_more("goes")
    fleet.told("move", "goes", "0")
    wait_until(lambda: set(fleet.workers()) == {0, 1}, "the worker of its own has ended")
    fleet.told("restart", "goes")
    fleet.wait_for_more("goes", "pmm", *NEIGHBOURS)

    # added from the edited file, and removed: nothing of it is left at the exchange
    fleet.file["strategies"].append(touch("comes", "SOL-USDT"))
    fleet.save()
    assert "comes is running" in fleet.told("add", "comes")
    fleet.wait_for_more("comes")
    fleet.told("remove", "comes")
    wait_until(lambda: not fleet.open_of("comes"), "its orders are cancelled")
    count = len(fleet.orders("comes"))
    assert "comes" not in fleet.strategies()
    assert "`hive apply` would add comes" in fleet.told("status")

    # applied: what differs is touched, nothing else, and what cannot change is refused first
    fleet.file["strategies"][2]["set"]["spread"] = 0.004
    fleet.file["strategies"][0]["quota"] = {"weight": 2.0}
    del fleet.file["strategies"][-1]
    fleet.save()
    steps = "restart goes: config\nadjust stays: quota\n"
    assert fleet.told("apply", str(run.file), "--dry-run") == steps
    assert fleet.told("apply", str(run.file)) == steps
    run.file.write_text(yaml.safe_dump({**fleet.file, "runtime": {**fleet.file["runtime"], "tick_interval_ms": 300}}))
    refused = fleet.told("apply", str(run.file), code=CONFIG)
    assert "runtime.tick_interval_ms: cannot change while the fleet runs; nothing was done" in refused
    fleet.wait_for_more("goes", "pmm", *NEIGHBOURS)
    assert "there is no strategy nobody" in fleet.told("remove", "nobody", code=NOT_FOUND)

    # one that has nothing in the market leaves a worker that is overloaded, by itself; those that trade stay
    crowded = before["burns"]["worker"]
    assert before["burns-too"]["worker"] == crowded
    assert run.status()["moves"] == []
    (run.folder / "burn").touch()
    wait_until(lambda: FleetDir.of(run.name).read()["moves"], f"one moves by itself\n{run.text()}")
    (run.folder / "burn").unlink()
    (moved,) = run.status()["moves"]
    assert (moved["strategy"] in BURNERS, moved["from"], moved["to"]) == (True, crowded, 1 - crowded)
    wait_until(lambda: fleet.strategies()[moved["strategy"]]["state"] == "running", "it runs there")
    assert f"strategy {moved['strategy']} from worker {crowded} to {1 - crowded}: " in fleet.told("status")
    fleet.wait_for_more("goes", "pmm", *NEIGHBOURS)

    # the neighbours went on where they were, in the same processes, and every order is whose it is
    after, ticked = fleet.strategies(), fleet.ticks()
    assert fleet.workers() == pids
    for name in NEIGHBOURS:
        assert after[name]["worker"] == before[name]["worker"]
        assert ticked[name] > ticks[name]
    assert all(os.path.exists(f"/proc/{pid}") for pid in pids.values())
    assert run.stop() == 0, run.text()
    assert run.exchange.open_orders() == []
    assert len(fleet.orders("comes")) == count
    owners = tags([*NEIGHBOURS, "goes", "pmm", "comes"])
    recorded = run.recorded_orders()
    assert set(recorded) == set(owners.values())
    for name, tag in owners.items():
        assert run.seen_fills(name) == fills_of(recorded[tag]), name
    for name in NEIGHBOURS:
        assert run.seen_orders(name) == ends_of(recorded[owners[name]]), name
    report = {one["id"]: one for one in run.report()["strategies"]}
    assert {name: report[name]["errors"] for name in NEIGHBOURS} == dict.fromkeys(NEIGHBOURS, 0)
    assert run.report()["totals"]["context_unresolved"] == 0
    assert "wrong_worker" not in run.report()["totals"]["refusals"]
