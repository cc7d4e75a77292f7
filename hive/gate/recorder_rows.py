"""Rows that a strategy's own process hands over: its executors, controllers, positions and what else it alone knows.

    {"how": "insert", "table": T, "values": {column: value}}
    {"how": "keep", ...}      the same, unless a row with its primary key is there
    {"how": "upsert", ..., "key": [columns], "update": [columns]}    update the row with this key, or insert one

Each carries the life of the strategy that made it and a number, from 1 on. How far the rows of a life are written is
kept in Metadata, which Hummingbot looks into for its own key only, in the same transaction: a row that comes again is
not written again.
"""

import sqlite3
from collections.abc import Mapping
from typing import Any

PREFIX = "hive_rows:"
LIVES_KEPT = 32

_REFUSALS = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    KeyError,
    TypeError,
    OverflowError,  # a number beyond 64 bits
    UnicodeError,  # half of a surrogate pair
)
_METADATA = "SELECT value FROM Metadata WHERE key = ?"


class RowError(ValueError):
    """A row that cannot be written, whenever it is tried."""


def write_row(connection: sqlite3.Connection, life: str, number: int, row: Mapping[str, Any]) -> bool:
    """Write one row in the transaction that the caller has begun; returns False when it was written before.

    Raises:
        RowError: there is no such table or column, or the database does not take the values.
        sqlite3.Error: the database cannot be written to.
    """
    key = PREFIX + life
    written = connection.execute(_METADATA, (key,)).fetchone()
    if written is not None and number <= int(written[0]):
        return False
    connection.execute("SAVEPOINT one_row")
    refused: Exception | None = None
    try:
        _write(connection, row)
    except _REFUSALS as error:
        connection.execute("ROLLBACK TO one_row")
        refused = error
    connection.execute("RELEASE one_row")
    connection.execute("INSERT OR REPLACE INTO Metadata (key, value) VALUES (?, ?)", (key, str(number)))
    if refused is not None:
        raise RowError(f"a row of {row.get('table')}: {type(refused).__name__}: {refused}") from refused
    return True


def forget_lives(connection: sqlite3.Connection) -> None:
    """Drop how far the rows of lives long gone are written; called when a new life begins."""
    query = (
        f"DELETE FROM Metadata WHERE key LIKE '{PREFIX}%' AND rowid NOT IN "
        f"(SELECT rowid FROM Metadata WHERE key LIKE '{PREFIX}%' ORDER BY rowid DESC LIMIT {LIVES_KEPT})"
    )
    connection.execute(query)


def _write(connection: sqlite3.Connection, row: Mapping[str, Any]) -> None:
    table, values = row["table"], row["values"]
    _check(connection, table, [*values, *row.get("key", ()), *row.get("update", ())])
    if row["how"] == "upsert":
        update, key = row["update"], row["key"]
        query = (
            f'UPDATE "{table}" SET {", ".join(f"{name} = ?" for name in update)} '
            f"WHERE {' AND '.join(f'{name} IS ?' for name in key)}"
        )
        if connection.execute(query, [values[name] for name in (*update, *key)]).rowcount:
            return
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    conflict = " ON CONFLICT DO NOTHING" if row["how"] == "keep" else ""
    connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks}){conflict}', list(values.values()))


def _check(connection: sqlite3.Connection, table: str, columns: list[str]) -> None:
    """Refuse names that the database does not have, before they become part of a statement."""
    known = {name for _, name, *_ in connection.execute("SELECT * FROM pragma_table_info(?)", (table,))}
    strange = sorted({*columns} - known)
    if not known or strange:
        raise KeyError(f"no such table or column: {table} {' '.join(strange)}".rstrip())
