"""Run a fleet on several simulated exchanges, each under another of Hummingbot's connector names."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet_run import EXAMPLES, FleetRun
from gate.bench import Exchange
from hive.shm.ids import parse_order_id

STRATEGIES_ROOT = Path(__file__).with_name("strategies_root")


class VenuesRun(FleetRun):
    """A `FleetRun` whose venues are `exchanges` by connector name, all speaking Binance's protocol.

    Its root is a copy of the examples with the files of tests/strategies_root added.
    """

    def __init__(
        self,
        folder: Path,
        exchanges: Mapping[str, Exchange],
        strategies: list[dict],
        name: str = "trial",
        **sections: Any,
    ):
        self.exchanges = dict(exchanges)
        self.root = folder / "root"
        if not self.root.exists():
            shutil.copytree(EXAMPLES, self.root)
            shutil.copytree(STRATEGIES_ROOT, self.root, dirs_exist_ok=True)
        venues = {one: self._venue(one, exchange) for one, exchange in self.exchanges.items()}
        first = next(iter(self.exchanges.values()))
        super().__init__(folder, first, strategies, name, venues=venues, **sections)
        for one, exchange in self.exchanges.items():
            self.env |= {f"{one.upper()}_KEY": exchange.told["api_key"]}
            self.env |= {f"{one.upper()}_SECRET": exchange.told["api_secret"]}

    @property
    def logs(self) -> Path:
        """The folder of the fleet's log files."""
        return self.folder / "state" / "hive" / self.name / "logs"

    def up(self, *options: str, workers: int = 2) -> None:
        """Start `hive up` on the root of these tests; its output goes to a file."""
        super().up("--root", str(self.root), *options, workers=workers)

    def orders_by_venue(self) -> dict[str, dict[str, list[dict]]]:
        """Return each exchange's orders by strategy tag, oldest first; a tag without orders has an empty list."""
        found: dict[str, dict[str, list[dict]]] = {}
        for venue, exchange in self.exchanges.items():
            for order in exchange.orders():
                parsed = parse_order_id(order["clientOrderId"])
                found.setdefault(parsed[1] if parsed else "?", {name: [] for name in self.exchanges})
                found[parsed[1] if parsed else "?"][venue].append(order)
        return found

    def open_orders(self) -> list[dict]:
        """Return what is open at any of the exchanges."""
        return [order for exchange in self.exchanges.values() for order in exchange.open_orders()]

    def executor_ends(self, strategy: str) -> list[tuple[str, int | None, float]]:
        """Return (type, close type's number, filled amount) of a strategy's executors, oldest first."""
        return self._select(strategy, "SELECT type, close_type, filled_amount_quote FROM Executors ORDER BY timestamp")

    @staticmethod
    def _venue(name: str, exchange: Exchange) -> dict[str, Any]:
        urls = {key: exchange.told[key] for key in ("rest_url", "ws_url", "ws_api_url")}
        keys = {"api_key_env": f"{name.upper()}_KEY", "api_secret_env": f"{name.upper()}_SECRET"}
        return {"mode": "live", "kind": "binance", **urls, **keys}
