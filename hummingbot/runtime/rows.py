"""Rows of Hummingbot's tables as SQLite has their values, and as the attributes of Hummingbot's classes have them."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from sqlalchemy.dialects import sqlite

DIALECT = sqlite.dialect()


def read_rows(model: type, tables: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return a table's rows, with values as the model's attributes have them."""
    readers = _converters(model, "result")
    return [
        {name: readers[name](value) if name in readers else value for name, value in row.items()}
        for row in tables.get(model.__tablename__, ())
    ]


def bound(model: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's values as they are stored."""
    writers = _converters(model, "bind")
    return {name: writers[name](value) if name in writers else value for name, value in values.items()}


@cache
def _converters(model: type, way: str) -> dict[str, Callable[[Any], Any]]:
    """Return what makes a column's value one of SQLite's ("bind"), or the other way round ("result"), where needed."""
    found = {}
    for column in model.__table__.columns:
        kind = column.type.dialect_impl(DIALECT)
        convert = kind.bind_processor(DIALECT) if way == "bind" else kind.result_processor(DIALECT, None)
        if convert is not None:
            found[column.name] = convert
    return found
