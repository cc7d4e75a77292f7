"""The recorder's tables are those of the pinned Hummingbot release."""

import re
import sqlite3

from hummingbot.connector import markets_recorder
from hummingbot.model import get_declarative_base, inventory_cost
from hummingbot.model.sql_connection_manager import SQLConnectionManager
from sqlalchemy import create_engine

from hive.gate.recorder_schema import STATEMENTS, VERSION, VERSION_KEY


def tables(connection: sqlite3.Connection) -> dict[str, str]:
    query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
    return {name: re.sub(r"\s+", "", sql) for name, sql in connection.execute(query)}


def test_the_tables_and_indexes_are_those_that_the_release_declares(tmp_path):
    assert {markets_recorder.TradeFill.__tablename__, inventory_cost.InventoryCost.__tablename__} <= set(
        get_declarative_base().metadata.tables
    )
    engine = create_engine(f"sqlite:///{tmp_path}/stock.sqlite")
    get_declarative_base().metadata.create_all(engine)
    engine.dispose()
    ours = sqlite3.connect(":memory:")
    ours.executescript(STATEMENTS)
    with sqlite3.connect(tmp_path / "stock.sqlite") as stock:
        assert tables(ours) == tables(stock)
    stock.close()
    ours.close()


def test_the_version_is_that_which_the_release_takes_as_it_is():
    assert (SQLConnectionManager.LOCAL_DB_VERSION_KEY, SQLConnectionManager.LOCAL_DB_VERSION_VALUE) == (
        VERSION_KEY,
        VERSION,
    )
