"""Keep each strategy's trades in the SQLite file that a stock instance of it would write.

The databases are stock Hummingbot's, so an operator can go back to a stock instance with its history. They are
journaled ahead (WAL), and what is in the journal is moved into the database from another thread: recording an event on
the event loop never waits for the disk. After a power cut the last events may be missing here, never at the venue.
"""

import logging
import sqlite3

from hummingbot.client.config.config_helpers import ClientConfigAdapter
from hummingbot.connector.markets_recorder import MarketsRecorder
from hummingbot.model import get_declarative_base
from hummingbot.model.sql_connection_manager import SQLConnectionManager, SQLConnectionType
from sqlalchemy import event
from sqlalchemy.engine import Engine

from hummingbot.runtime.singletons import claim_recorder_slot

log = logging.getLogger(__name__)

PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=0", "temp_store=MEMORY", "cache_size=-256")


@event.listens_for(Engine, "connect")
def _tune(connection, record) -> None:
    if isinstance(connection, sqlite3.Connection):
        cursor = connection.cursor()
        for pragma in PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()


def checkpoint(path: str) -> None:
    """Move a database's journal into it, but for parts in use. Waits for the disk: never call it on the event loop."""
    connection = sqlite3.connect(path, timeout=1.0)
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    except sqlite3.OperationalError as error:
        log.warning("%s: %s", path, error)
    finally:
        connection.close()


def warm_up(config: ClientConfigAdapter) -> None:
    """Open and read an empty database once, before the fork, so that workers share what SQLAlchemy builds for that."""
    manager = SQLConnectionManager(config, SQLConnectionType.TRADE_FILLS, db_path=":memory:")
    with manager.get_new_session() as session:
        for mapper in get_declarative_base().registry.mappers:
            session.query(mapper.class_).first()
    manager.engine.dispose()


class StrategyRecorder(MarketsRecorder):
    """A `MarketsRecorder` that leaves the process-wide slot to the forwarder."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        claim_recorder_slot()
