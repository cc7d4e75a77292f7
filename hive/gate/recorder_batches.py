"""Takes what journals and workers bring, and writes it by strategy: all that has come of one, in one transaction.

While there are more databases than can stay open, records wait in the journals for a full round, so that each database
is opened and written to once for many; a worker's rows, what somebody asked for, and the records of a strategy that is
followed do not. What a database does not take waits, in order, and is tried again with the next batch; the others go
on. When much waits, nothing more is read: the journals and the workers keep it. A journal's position is noted only when
nothing waits and everything is on the disk.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hive.gate.journal_format import read_id
from hive.gate.journal_tail import JournalTail
from hive.gate.recorder_database import Databases, WrongVersion
from hive.gate.recorder_orders import ID_IN_TAIL
from hive.gate.recorder_owners import Owner, Owners
from hive.gate.recorder_rows import RowError, write_row
from hive.shm.ids import parse_order_id

READ_MAX = 5_000  # records of a journal at a time
WAITING_MAX = 50_000

_FAULTS = (sqlite3.Error, OSError, WrongVersion)


@dataclass(frozen=True, slots=True)
class _Record:
    tail: bytes
    journal: JournalTail

    def written(self) -> None:
        """Nobody waits for it."""


@dataclass(frozen=True, slots=True)
class _Row:
    life: str
    number: int
    row: Mapping[str, Any]
    written: Callable[[], None]


class Batches:
    """All databases, and what is on its way into them.

    Args:
        databases: where rows go
        owners: whose they are
        journals: where records come from
        complain: is told, once, of what can never be written, and of records that were gone before they were read

    Attributes:
        records, rows: how many were written
    """

    def __init__(
        self, databases: Databases, owners: Owners, journals: list[JournalTail], complain: Callable[[str], None]
    ) -> None:
        self.records = 0
        self.rows = 0
        self._databases = databases
        self._owners = owners
        self._journals = journals
        self._complain = complain
        self._waiting: dict[str, deque[_Record | _Row]] = {}
        self._urgent: set[str] = set()  # strategies whose rows and records do not wait for a full round
        self._followed: set[str] = set()  # the same, always
        self._hurried = False  # the journals do not wait either
        self._behind = False  # the journals may hold more
        self._fault = ""
        self._unsettled = ""
        self._missing = 0

    @property
    def fault(self) -> str:
        """Return why something waits or is not on the disk, "" when nothing does."""
        return self._fault or self._unsettled

    @property
    def are_prompt(self) -> bool:
        """Return whether there are records that do not wait for a full round."""
        return bool(self._followed) or self._databases.are_few

    @property
    def waiting(self) -> int:
        """Return how many records and rows were taken and are not written."""
        return sum(map(len, self._waiting.values()))

    def is_waiting(self, owner: Owner) -> bool:
        """Return whether something of a strategy is, or may be, not written."""
        return owner.id in self._waiting or self._behind

    def take_row(
        self, owner: Owner, life: str, number: int, row: Mapping[str, Any], written: Callable[[], None]
    ) -> None:
        """Take a row of a strategy; `written()` is called when it is committed."""
        self._urgent.add(owner.id)
        self._put(owner, _Row(life, number, row, written))

    def hurry(self, owner: Owner) -> None:
        """Have everything of a strategy written with the next batch."""
        self._urgent.add(owner.id)
        self._hurried = True

    def follow(self, owner: Owner) -> None:
        """Have everything of a strategy written with every batch of its life."""
        self._followed.add(owner.id)

    def step(self, everything: bool = True) -> bool:
        """Read and write a batch; returns whether anything was read, so that there may be more.

        Args:
            everything: whether it is of a full round, in which nothing is left to wait

        Raises:
            JournalError: a journal is of another version.
        """
        faults: list[str] = []
        read = False
        if everything or self._hurried or self.are_prompt:
            read = self._read(faults)
        everything = everything or self._databases.are_few or self.waiting > WAITING_MAX // 2
        for strategy in list(self._waiting if everything else self._waiting.keys() & (self._urgent | self._followed)):
            fault = self._write(self._owners.of(strategy))
            if fault:
                self._urgent.add(strategy)
                faults.append(f"{strategy}: {fault}")
        if not read:
            self._urgent &= self._waiting.keys()
        self._hurried = self._behind
        self._fault = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
        self._tell_missing()
        return read and not faults

    def settle(self) -> None:
        """Put what is written on the disk, and note how far the journals were read unless something waits."""
        self._unsettled = ""
        try:
            self._databases.settle()
            self._owners.save()
            if not self._waiting and not self._fault:
                for journal in self._journals:
                    journal.save()
        except _FAULTS as error:
            self._unsettled = f"not on the disk: {error}"

    def retire(self) -> None:
        """Close the databases that were not used since the last time."""
        self._databases.retire()

    def begin_life(self, owner: Owner) -> str:
        """Prepare the database of a strategy that starts; returns why that cannot be done now, "" when it is."""
        try:
            with self._databases.visited(owner) as database:
                database.begin_life()
            self._owners.save()
        except _FAULTS as error:
            self._databases.drop(owner)
            return str(error)
        self._followed.discard(owner.id)
        return ""

    def close(self) -> None:
        """Close everything; repeating is harmless."""
        self._databases.close()
        for journal in self._journals:
            journal.close()

    def _read(self, faults: list[str]) -> bool:
        """Read a batch of the journals; returns whether there was anything."""
        self._behind = True
        if self.waiting >= WAITING_MAX:
            return False
        read = failed = False
        for journal in self._journals:
            try:
                tails = journal.read(READ_MAX)
            except OSError as error:
                faults.append(f"journal of {journal.venue}: {error}")
                failed = True
                continue
            read = read or bool(tails)
            for tail in tails:
                self._put(self._owner(tail), _Record(tail, journal))
        self._behind = read or failed
        return read

    def _put(self, owner: Owner, item: _Record | _Row) -> None:
        self._waiting.setdefault(owner.id, deque()).append(item)

    def _owner(self, tail: bytes) -> Owner:
        parsed = parse_order_id(read_id(tail[ID_IN_TAIL]))
        return self._owners.of_tag(parsed[1] if parsed else "none")

    def _write(self, owner: Owner) -> str:
        """Write all that waits for one database; returns why that cannot be done, "" when it is."""
        items = self._waiting[owner.id]
        complaints: list[str] = []
        try:
            with self._databases.visited(owner) as database:
                database.begin()
                for item in items:
                    if isinstance(item, _Row):
                        complaints += _written(database.connection, item)
                    else:
                        problem = database.orders(item.journal.venue, item.journal.find).take(item.tail)
                        complaints += [problem] if problem else []
                database.commit()
        except BaseException as error:
            self._databases.drop(owner)
            if not isinstance(error, _FAULTS):
                raise
            return f"{type(error).__name__}: {error}"
        del self._waiting[owner.id]
        for item in items:
            item.written()
        rows = sum(isinstance(item, _Row) for item in items)
        self.rows += rows
        self.records += len(items) - rows
        for complaint in complaints:
            self._complain(f"strategy {owner.id}: {complaint}")
        return ""

    def _tell_missing(self) -> None:
        missing = sum(journal.missing for journal in self._journals)
        if missing > self._missing:
            self._complain(f"{missing - self._missing} records of the journal were gone before they could be recorded")
            self._missing = missing


def _written(connection: sqlite3.Connection, item: _Row) -> list[str]:
    try:
        write_row(connection, item.life, item.number, item.row)
    except RowError as error:
        return [f"dropped {error}"]
    return []
