"""A recorder's inside over a real journal and real databases, and what the rows must be, worked out the slow way."""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from gate.journal_rig import VENUE, Clock, Life
from hive.gate.journal import Journal
from hive.gate.journal_tail import JournalTail
from hive.gate.order import State
from hive.gate.recorder_batches import Batches
from hive.gate.recorder_database import Databases
from hive.gate.recorder_owners import Owners

TAG = "qqqqq"  # of the journal rig's orders
STRATEGY = {
    "id": "maker",
    "tag": TAG,
    "strategy": "pure_market_making",
    "config_file_path": "maker.yml",
    "fees": {VENUE: {"BUY": "AddedToCost", "SELL": "DeductedFromReturns"}},
}
CONTROLLER = {"id": "one", "timestamp": 1.5, "type": "generic", "config": "{}"}


class RecorderRig:
    """One life of a recorder after the other; `kill` ends one without its own doing."""

    def __init__(self, folder: Path, open_max: int = 128) -> None:
        self._open_max = open_max
        self.journal = folder / "journal"
        self.data = folder / "data"
        self.complaints: list[str] = []
        self._owners = folder / "strategies.json"
        self.begin()
        self.owners.tell(STRATEGY)
        self.owners.save()

    def begin(self) -> None:
        """Begin a life."""
        self.owners = Owners(self._owners)
        self.tail = JournalTail(self.journal, VENUE)
        self.databases = Databases(self.data, self._open_max)
        self.batches = Batches(self.databases, self.owners, [self.tail], self.complaints.append)

    def kill(self) -> None:
        """End this life, without settling, and begin the next."""
        self.batches.close()
        self.begin()

    def drain(self) -> None:
        """Write everything that is there."""
        while self.batches.step():
            pass

    def rows(self, query: str, strategy: str = "maker") -> list[tuple]:
        """Return what another program sees in a strategy's database."""
        with closing(sqlite3.connect(self.data / f"{strategy}.sqlite")) as connection:
            return connection.execute(query).fetchall()


class WitnessedLife(Life):
    """An order's life that notes which rows it must leave."""

    def __init__(self, one: Journal, order, clock: Clock) -> None:
        super().__init__(one, order, clock)
        self.statuses: list[str] = []

    def step(self, name: str) -> None:
        """Let one thing happen, at a time of its own."""
        self.clock.pass_ns(7_000_000)
        fills = len(self.order.trades)
        getattr(self, name)()
        if name in ("acked", "unknown"):
            self._create()
        for _ in range(fills, len(self.order.trades)):
            self._create()
            self.statuses.append("OrderFilled")
        if name == "ended" and self.order.state is State.CANCELLED:
            self.statuses.append("OrderCancelled")
        elif name == "ended" and self.statuses:
            self.statuses.append("OrderFailure")

    def _create(self) -> None:
        if not self.statuses:
            self.statuses.append("SellOrderCreated")


def assert_rows(rig: RecorderRig, lives: list[WitnessedLife]) -> None:
    """Compare the databases with what the lives must have left: every row once, and no other."""
    lived = [life for life in lives if life.statuses]
    orders = {life.order.client_order_id: life.statuses[-1] for life in lived}
    assert dict(rig.rows('SELECT id, last_status FROM "Order"')) == orders
    statuses = Counter((life.order.client_order_id, status) for life in lived for status in life.statuses)
    assert Counter(rig.rows("SELECT order_id, status FROM OrderStatus")) == statuses
    fills = {(life.order.client_order_id, str(trade)) for life in lived for trade in life.order.trades}
    found = rig.rows("SELECT order_id, exchange_trade_id FROM TradeFill")
    assert len(found) == len(fills)
    assert set(found) == fills


def controller(name: str) -> dict:
    """Return a worker's row of Controllers."""
    return {"how": "insert", "table": "Controllers", "values": {**CONTROLLER, "id": name}}


def hand_over(rig: RecorderRig, life: str, numbers: Iterable[int], written: list[int] | None = None) -> None:
    """Give rows of a worker's life to the recorder; `written` collects the numbers that were acknowledged."""
    done = [] if written is None else written
    owner = rig.owners.of("maker")
    for number in numbers:
        rig.batches.take_row(owner, life, number, controller(f"{life}{number}"), lambda one=number: done.append(one))
