"""A fleet whose strategies have capital, roots and log files of their own, through the deaths of gate and worker."""

import json
import os
import signal
from decimal import Decimal
from pathlib import Path

import pytest

from fleet_run import EXAMPLES, FleetRun, wait_until
from hive.shm.ids import strategy_tag

EXCHANGE = ("--rate", "200", "--symbols", "30")
GIVEN = {"USDT": Decimal(500), "BTC": Decimal("0.02")}
TELLS = """
    PLACE = {place!r}

    def on_tick(self):
        \"\"\"Tell what the strategy sees of its money, and trade.\"\"\"
        connector = self.connectors[self.config.exchange]
        seen = {{asset: [str(connector.get_balance(asset)), str(connector.get_available_balance(asset))]
                for asset in ("USDT", "BTC", "BNB")}}
        self.logger().info("sees %s", json.dumps([self.PLACE, seen]))
        self.trade()

    def trade(self):
"""


def make_root(root: Path) -> Path:
    """Make a root with a script `teller`, which trades as touch_maker does and logs its balances at every tick."""
    (root / "scripts").mkdir(parents=True)
    text = (EXAMPLES / "scripts" / "touch_maker.py").read_text().replace("touch_maker.py", "teller.py")
    text = text.replace("    def on_tick(self):\n", TELLS.format(place=root.name).lstrip("\n"))
    (root / "scripts" / "teller.py").write_text(text.replace("from decimal import", "import json\nfrom decimal import"))
    return root


@pytest.fixture
def run(tmp_path, exchange):
    def strategy(name, **more):
        values = {"refresh_seconds": 1, "spread": "0.0001"}
        root = make_root(tmp_path / f"root-{name}")
        return {"id": name, "script": "teller", "root": str(root), "set": values, **more}

    capital = {asset: str(amount) for asset, amount in GIVEN.items()}
    strategies = [strategy("held", capital=capital), strategy("sharing")]
    risk = {"self_trade": "allow"}
    run = FleetRun(tmp_path, exchange, strategies, logs={"max_mb": 0.1, "keep": 2}, risk=risk)
    yield run
    run.close()


def last_seen(run, name):
    """Return what a strategy's own log file says last: its root, and (total, free) by asset."""
    path = run.folder / "state" / "hive" / run.name / "logs" / "strategies" / f"{name}.log"
    lines = [line for line in path.read_text().splitlines() if " sees " in line] if path.exists() else []
    if not lines:
        return None
    assert f" {name} " in lines[-1]
    place, seen = json.loads(lines[-1].split(" sees ")[1])
    return place, {asset: tuple(map(Decimal, both)) for asset, both in seen.items()}


def counted(run, name):
    """Return the same from the exchange's records, with no order open."""
    totals = {asset: GIVEN.get(asset, Decimal(0)) for asset in ("USDT", "BTC", "BNB")}
    for order in run.recorded_orders().get(strategy_tag(name), []):
        sign = 1 if order["side"] == "BUY" else -1
        for fill in order["fills"]:
            price, amount = Decimal(fill["price"]), Decimal(fill["qty"])
            totals["BTC"] += sign * amount
            totals["USDT"] -= sign * price * amount
            totals[fill["commissionAsset"]] -= Decimal(fill["commission"])
    return {asset: (total, total) for asset, total in totals.items()}


def fills(run, name):
    return sum(len(order["fills"]) for order in run.recorded_orders().get(strategy_tag(name), []))


def test_capital_roots_and_logs_are_each_strategys_own_through_kills(run):
    run.up(workers=1)
    run.wait_running()
    wait_until(lambda: fills(run, "held"), "a fill")
    for role in ("gate", "worker"):
        os.kill(run.pids(role)[0], signal.SIGKILL)
        before = fills(run, "held")
        wait_until(lambda before=before: fills(run, "held") > before, f"a fill after the {role} was killed")
    assert run.hive("halt", run.name).returncode == 0
    wait_until(lambda: run.hive("flat", run.name, "--cancel-all").returncode == 0, "no order open")
    expected = counted(run, "held")
    wait_until(
        lambda: last_seen(run, "held") == ("root-held", expected),
        "the strategy sees what the exchange's records give",
    )
    place, seen = last_seen(run, "sharing")
    assert place == "root-sharing"
    assert seen["USDT"][0] > 10 * GIVEN["USDT"]  # the account's
    assert run.stop() == 0, run.text()
    logs = run.folder / "state" / "hive" / run.name / "logs"
    kept = sorted(path.name for path in (logs / "strategies").iterdir())
    assert set(kept) <= {"held.log", "held.log.1", "sharing.log", "sharing.log.1"}
    assert all((logs / "strategies" / name).stat().st_size <= 100_000 * 1.1 for name in kept)
    assert " held " in (logs / "worker0.log").read_text()
