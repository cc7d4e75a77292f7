"""The database of one strategy: data/ID.sqlite, in Hummingbot's schema, written in whole transactions.

It is journaled ahead (WAL), so that others read while it is written. A commit is safe from the death of this process;
`settle` puts everything that is committed on the disk, which a loss of power does not take. Open databases cost memory,
and opening one costs more than a transaction, so some stay open, for as long as they are used between two calls of
`retire`; the others are closed after each use, and should be used seldom.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from hive.gate.errors import GateError
from hive.gate.recorder_orders import OrderRows
from hive.gate.recorder_owners import Owner
from hive.gate.recorder_rows import forget_lives
from hive.gate.recorder_schema import STATEMENTS, VERSION, VERSION_KEY

OPEN_MAX = 24  # each costs some 100 KB; to open one more for each round, 0.6 ms of CPU
BUSY_S = 1.0  # that another program may hold a database's lock
# A transaction's pages, each of which a smaller cache would write, and sum up, several times. Between two transactions
# there are none: the system keeps the file in memory anyway.
PRAGMAS = ("cache_size=100", "synchronous=NORMAL", "wal_autocheckpoint=100", "temp_store=MEMORY")


class WrongVersion(GateError):
    """A database of another version of the schema."""


class Database:
    """One strategy's database.

    Args:
        path: of the file; made when it is not there
        owner: the strategy

    Raises:
        sqlite3.Error, OSError: it cannot be opened or made.
        WrongVersion: it is there, and of another version.
    """

    def __init__(self, path: Path, owner: Owner) -> None:
        self.owner = owner
        self.path = path
        self.dirty = False  # something is committed that may not be on the disk
        self.used = False  # since Databases.retire
        self._orders: dict[str, OrderRows] = {}
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._make(path)
        self.connection = _connect(path)
        try:
            version = _version(self.connection)
            if not version:  # it was begun, and not made
                self._make(path)
                version = _version(self.connection)
            if version != VERSION:
                raise WrongVersion(f"{path} must be of version {VERSION}, was {version}")
        except BaseException:
            self.connection.close()
            raise

    def _make(self, path: Path) -> None:
        _make(path)  # over a connection of its own, whose memory is twice that of one to a database that is there
        self.dirty = True

    def orders(self, market: str, find: Callable[[str], bytes | None]) -> OrderRows:
        """Return the rows of the strategy's orders on a market."""
        rows = self._orders.get(market)
        if rows is None:
            rows = self._orders[market] = OrderRows(self.connection, self.owner, market, find)
        return rows

    def begin(self) -> None:
        """Begin a transaction, as the only writer."""
        self.used = True
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End the transaction, with the state of the markets that changed in it."""
        for rows in self._orders.values():
            rows.write_state(time.time_ns())
        self.connection.execute("COMMIT")
        self.dirty = True

    def rest(self) -> None:
        """Take no memory that is not needed before the next transaction."""
        self.connection.execute("PRAGMA shrink_memory")

    def begin_life(self) -> None:
        """Note that the strategy starts anew."""
        forget_lives(self.connection)

    def close(self, *, whole: bool = False) -> None:
        """Close it; repeating is harmless. `whole` moves all of the journal into it, and takes time."""
        self._orders.clear()
        with suppress(sqlite3.Error):
            self.connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, not whole)
        self.connection.close()


class Databases:
    """Every strategy's database, opened when it is needed.

    Args:
        folder: where they are
        open_max: how many stay open
    """

    def __init__(self, folder: Path, open_max: int = OPEN_MAX) -> None:
        self._folder = folder
        self._open_max = open_max
        self._open: dict[str, Database] = {}
        self._visited: dict[str, Owner] = {}  # every one that was open, and is perhaps not one file
        self._unsettled: set[str] = set()  # closed, and perhaps not on the disk

    @property
    def are_few(self) -> bool:
        """Return whether all that were ever used can stay open."""
        return len(self._visited) <= self._open_max

    @contextmanager
    def visited(self, owner: Owner) -> Iterator[Database]:
        """Give a strategy's database for one use, after which it is closed unless it is at hand.

        Raises what `Database` raises. When the use itself fails, the database must be dropped.
        """
        database = self._open.get(owner.id)
        if database is not None and database.owner != owner:
            self._leave(database)
            database = None
        if database is None:
            database = Database(self._path(owner), owner)
            self._visited[owner.id] = owner
            if len(self._open) >= self._open_max:
                try:
                    yield database
                finally:
                    self._leave(database)
                return
            self._open[owner.id] = database
        yield database
        database.rest()

    def drop(self, owner: Owner) -> None:
        """Close a database whose transaction failed, without its end: the next use opens it anew."""
        database = self._open.pop(owner.id, None)
        if database is not None:
            self._leave(database)

    def settle(self) -> None:
        """Put what is committed on the disk; OSError when that cannot be done, and then not all of it is there."""
        unsettled = [database for database in self._open.values() if database.dirty]
        if not unsettled and not self._unsettled:
            return
        for strategy in list(self._unsettled):
            _sync(self._path(self._visited[strategy]))
        for database in unsettled:
            _sync(database.path)
        _sync_file(self._folder, os.fsync)  # the names of new files
        self._unsettled.clear()
        for database in unsettled:
            database.dirty = False

    def retire(self) -> None:
        """Close what was not used since the last time."""
        for database in list(self._open.values()):
            if not database.used:
                self._leave(database)
            database.used = False

    def close(self) -> None:
        """Leave each database as one file, as far as that can be done; repeating is harmless."""
        for owner in self._visited.values():
            if owner.id not in self._open:
                with suppress(sqlite3.Error, OSError, WrongVersion):
                    Database(self._path(owner), owner).close(whole=True)
        for database in self._open.values():
            database.close(whole=True)
        self._open.clear()
        self._visited.clear()
        self._unsettled.clear()

    def _path(self, owner: Owner) -> Path:
        return self._folder / f"{owner.id}.sqlite"

    def _leave(self, database: Database) -> None:
        strategy = database.owner.id
        self._open.pop(strategy, None)
        if database.dirty:
            self._unsettled.add(strategy)
        database.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _sync(path: Path) -> None:
    """Put on the disk what is committed: what is in the journal beside the file; the file itself is there before."""
    with suppress(FileNotFoundError):  # moved into the file, by whoever closed it last
        _sync_file(f"{path}-wal", os.fdatasync)  # as SQLite does


def _sync_file(path: Path | str, sync: Callable[[int], None]) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)


def _version(connection: sqlite3.Connection) -> str:
    """Return the version of a database, "" when it is not made yet."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'Metadata'").fetchone() is None:
        return ""
    row = connection.execute("SELECT value FROM Metadata WHERE key = ?", (VERSION_KEY,)).fetchone()
    return "" if row is None else row[0]


def _make(path: Path) -> None:
    script = STATEMENTS.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")
    script = script.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS")
    with closing(_connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in filter(None, map(str.strip, script.split(";"))):
            connection.execute(statement)
        query = "INSERT INTO Metadata (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING"
        connection.execute(query, (VERSION_KEY, VERSION))
        connection.execute("COMMIT")
