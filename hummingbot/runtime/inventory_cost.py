"""What a strategy's inventory has cost it (pure_market_making with `price_type: inventory_cost`), kept in memory.

Hummingbot's delegate asks the database at every tick and writes into it at every fill. Here its own code works on
`InventoryCosts`: read with the strategy's history, and handed to the recorder as a row whenever it changes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from hummingbot.model.inventory_cost import InventoryCost
from hummingbot.strategy import pure_market_making
from hummingbot.strategy.pure_market_making import inventory_cost_price_delegate

from hummingbot.runtime.rows import read_rows

KEY = ("base_asset", "quote_asset")
VOLUMES = ("base_volume", "quote_volume")

_Delegate = inventory_cost_price_delegate.InventoryCostPriceDelegate


class InventoryCosts:
    """A strategy's costs, where Hummingbot's delegate expects what makes sessions, and the session too.

    Args:
        rows: as the database has them
        store: is given a row that has changed
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], store: Callable[[dict[str, Any]], None]) -> None:
        self._rows = {tuple(row[name] for name in KEY): {name: row[name] for name in (*KEY, *VOLUMES)} for row in rows}
        self._store = store

    @contextmanager
    def get_new_session(self) -> Iterator["InventoryCosts"]:
        """Give a session."""
        yield self

    begin = get_new_session

    def record(self, base_asset: str, quote_asset: str) -> InventoryCost | None:
        """Return the row of a pair, None when there is none."""
        row = self._rows.get((base_asset, quote_asset))
        if row is None:
            return None
        (values,) = read_rows(InventoryCost, {InventoryCost.__tablename__: [row]})
        return InventoryCost(**values)

    def add(self, base_asset: str, quote_asset: str, base_volume: Decimal, quote_volume: Decimal) -> None:
        """Add volumes to the row of a pair, as SQLite does: in floating point."""
        key = (base_asset, quote_asset)
        row = self._rows.setdefault(key, dict(zip((*KEY, *VOLUMES), (*key, 0.0, 0.0), strict=True)))
        row["base_volume"] += float(base_volume)
        row["quote_volume"] += float(quote_volume)
        self._store(dict(row))


class _InMemory:
    """Stands for the class of the table in the delegate's module."""

    @staticmethod
    def get_record(session: InventoryCosts, base_asset: str, quote_asset: str) -> InventoryCost | None:
        return session.record(base_asset, quote_asset)

    @staticmethod
    def add_volume(
        session: InventoryCosts, base_asset: str, quote_asset: str, base_volume: Decimal, quote_volume: Decimal
    ) -> None:
        session.add(base_asset, quote_asset, base_volume, quote_volume)


class MemoryInventoryCostPriceDelegate(_Delegate):
    """Hummingbot's delegate over the costs of a strategy's database object (`StrategyDatabase.costs`)."""

    def __init__(self, sql: Any, trading_pair: str) -> None:
        super().__init__(sql.costs, trading_pair)


def install() -> None:
    """Stand in for Hummingbot's delegate; before its starter is imported."""
    inventory_cost_price_delegate.InventoryCost = _InMemory
    pure_market_making.InventoryCostPriceDelegate = MemoryInventoryCostPriceDelegate
