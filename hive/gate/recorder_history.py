"""What earlier lives of a strategy left, read for its next one: pages of rows as a request's answer carries them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

PAGE_ROWS = 100
START = ("MarketState", "Executors", "Position", "InventoryCost")

type Page = dict[str, Any]


def history(path: Path) -> Iterator[Page]:
    """Yield what a strategy reads when it starts: market states, executors, positions, costs; sqlite3.Error."""
    for table in START:
        yield from _pages(path, table, f'SELECT * FROM "{table}"', ())


def trades(path: Path, config_file_path: str, since_ms: int) -> Iterator[Page]:
    """Yield a strategy's fills from a time on, oldest first; sqlite3.Error."""
    query = "SELECT * FROM TradeFill WHERE config_file_path = ? AND timestamp >= ? ORDER BY timestamp"
    yield from _pages(path, "TradeFill", query, (config_file_path, since_ms))


def _pages(path: Path, table: str, query: str, values: tuple[object, ...]) -> Iterator[Page]:
    # A connection of its own: the one that writes may be closed, or write, between two pages.
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        cursor = connection.execute(query, values)
        columns = [name for name, *_ in cursor.description]
        while rows := cursor.fetchmany(PAGE_ROWS):
            yield {"table": table, "columns": columns, "rows": [list(row) for row in rows]}
