"""The recorder as a process: killed with everything else under load, and on a full disk; every row is there, once."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fleet_run import FleetRun, ends_of, fills_of, tags, wait_until
from gate.journal_rig import Clock, live_orders, opened
from gate.recorder_rig import STRATEGY
from hive.shm.channel import Channel
from hive.shm.row_log import read_rows
from hive.shm.segment import sweep
from hive.workers.recording import SOCKET
from small_disk import small_file_system

EXCHANGE = ("--rate", "200", "--symbols", "30")
TOUCHES = {"left": "BTC-USDT", "right": "ETH-USDT", "third": "SOL-USDT"}
LADDER = {"id": "ladder", "script": "controllers_runner", "set": {"controllers_config": ["ladder_btc.yml"]}}


def touch(name: str, pair: str) -> dict:
    settings = {"trading_pair": pair, "refresh_seconds": 2}
    return {"id": name, "script": "touch_maker", "config": "touch_maker.yml", "set": settings}


@pytest.fixture
def fleet(tmp_path, exchange):
    run = FleetRun(tmp_path, exchange, [*(touch(*one) for one in TOUCHES.items()), LADDER])
    yield run
    run.close()


def rows(run: FleetRun, strategy: str, query: str) -> list[tuple]:
    database = run.folder / "state" / "hive" / run.name / "data" / f"{strategy}.sqlite"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def trades_on(run: FleetRun, what: str) -> None:
    """Wait until every strategy has placed another order."""
    owners = tags([*TOUCHES, "ladder"])

    def counts() -> dict[str, int]:
        recorded = run.recorded_orders()
        return {name: len(recorded.get(tag, [])) for name, tag in owners.items()}

    before = counts()
    wait_until(lambda: all(now > before[name] for name, now in counts().items()), what, 120)


def kill(run: FleetRun, *roles: str) -> None:
    """Kill the first process of each role at once, and wait until others have taken their places and all runs."""
    victims = [run.pids(role)[0] for role in roles]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)

    def replaced() -> bool:
        status = run.status() or {"processes": []}
        pids = {one["pid"] for one in status["processes"]}
        return pids.isdisjoint(victims) and {one["role"] for one in status["processes"]} >= set(roles)

    wait_until(replaced, f"another {' and '.join(roles)}")
    run.wait_running()


def kill_before_rows_are_committed(run: FleetRun, strategy: str) -> list[dict]:
    """Kill all workers and the recorder while rows of a strategy wait for its database; returns these rows."""
    data = run.folder / "state" / "hive" / run.name / "data"

    def waiting() -> list[dict]:
        found = []
        for path in (data / "rows").glob("*.rows"):
            with path.open("rb") as file:
                found += [message["row"] for message in read_rows(file.fileno()) if message["id"] == strategy]
        return found

    with contextlib.closing(sqlite3.connect(data / f"{strategy}.sqlite", isolation_level=None, timeout=60)) as other:
        other.execute("BEGIN IMMEDIATE")
        wait_until(lambda: any(row["table"] == "Executors" for row in waiting()), "executors whose rows wait", 120)
        victims = [*run.pids("worker"), *run.pids("recorder")]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        left = waiting()
        other.execute("ROLLBACK")
    wait_until(lambda: {*run.pids("worker"), *run.pids("recorder")}.isdisjoint(victims), "others in their places")
    run.wait_running()
    return left


def test_after_kills_of_recorder_gate_and_worker_the_rows_are_the_exchanges_records(fleet):
    fleet.up()
    fleet.wait_running()
    trades_on(fleet, "orders of every strategy")
    for roles in (("recorder",), ("gate", "worker", "recorder")):
        kill(fleet, *roles)
        trades_on(fleet, f"orders after the death of {roles}")
    left = kill_before_rows_are_committed(fleet, "ladder")
    trades_on(fleet, "orders after the death of every worker and the recorder")
    assert fleet.stop() == 0, fleet.text()
    assert fleet.exchange.open_orders() == []
    ids = [one for (one,) in rows(fleet, "ladder", "SELECT id FROM Executors")]
    assert {row["values"]["id"] for row in left if row["table"] == "Executors"} <= set(ids)
    assert len(ids) == len(set(ids))
    data = fleet.folder / "state" / "hive" / "trial" / "data"
    assert list((data / "rows").iterdir()) == []
    files = {path.name for path in data.glob("*.sqlite*")}
    assert files == {f"{name}.sqlite" for name in (*TOUCHES, "ladder")}  # each is one file that can be copied
    recorded = fleet.recorded_orders()
    for name, tag in tags([*TOUCHES, "ladder"]).items():
        assert fleet.seen_fills(name) == fills_of(recorded[tag]), name
        assert fleet.seen_orders(name) == ends_of(recorded[tag]), name
        statuses = rows(fleet, name, "SELECT order_id, status, COUNT(*) FROM OrderStatus GROUP BY order_id, status")
        assert [one for one in statuses if one[1] != "OrderFilled" and one[2] != 1] == []
        filled = sum(count for _, status, count in statuses if status == "OrderFilled")
        assert filled == len(fills_of(recorded[tag])), name
        assert rows(fleet, name, "SELECT saved_state FROM MarketState") == [("{}",)]
    executors = rows(fleet, "ladder", "SELECT id, controller_id FROM Executors")
    assert executors
    assert {controller for _, controller in executors} == {"ladder_btc"}


# ---- A full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of four megabytes."""
    with small_file_system(tmp_path / "small", 4) as folder:
        yield folder


class RecorderProcess:
    """A recorder without a fleet; what it says is kept."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.run = f"rec{os.getpid():x}"
        self.said: list[dict] = []
        self.channel, theirs = Channel.pair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hive.gate.recorder", "--channel-fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
            )
        self.channel.send(
            {
                "run": self.run,
                "epoch": 1,
                "run_dir": str(folder),
                "state_dir": str(folder),
                "data": str(data),
                "venues": [{"name": "binance", "index": 0, "mode": "live"}],
            }
        )

    def hears(self, kind: str) -> dict | None:
        """Return the first message of a type that it has said, None when there is none yet."""
        with contextlib.suppress(TimeoutError):
            while (message := self.channel.recv_blocking(0.01)) is not None:
                self.said.append(message)
        return next((message for message in self.said if message["type"] == kind), None)

    def stop(self) -> int:
        self.channel.send({"type": "stop", "deadline_s": 10})
        return self.process.wait(60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.channel.close()
        sweep(self.run)


@pytest.fixture
def recorder(tmp_path, small_disk):
    one = RecorderProcess(tmp_path, small_disk / "data")
    yield one
    one.close()


def orders_in(data: Path) -> int:
    database = data / f"tag-{STRATEGY['tag']}.sqlite"
    if not database.exists():
        return 0
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'Order'").fetchone()[0] and (
            connection.execute('SELECT COUNT(*) FROM "Order"').fetchone()[0]
        )


def test_a_full_disk_is_an_alarm_and_what_waited_is_written_when_there_is_room(recorder, tmp_path, small_disk):
    wait_until(lambda: recorder.hears("ready"), "it is ready")
    assert (tmp_path / SOCKET).exists() or wait_until((tmp_path / SOCKET).exists, "it listens")
    clock = Clock()
    journal = opened(tmp_path / "journal" / "binance", clock)
    live_orders(journal, clock, 5, "sent", "acked", "fill")
    wait_until(lambda: orders_in(small_disk / "data") == 5, "orders are recorded")
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    live_orders(journal, clock, 300, "sent", "acked", "fill", "ended", first=100)
    alarm = wait_until(lambda: recorder.hears("alarm"), "an alarm")
    assert "nothing is lost" in alarm["text"]
    time.sleep(1)  # it tries again
    assert recorder.process.poll() is None
    filler.unlink()
    wait_until(lambda: orders_in(small_disk / "data") == 305, "what waited is recorded")
    assert sum(message["type"] == "alarm" for message in recorder.said) == 1
    journal.close()
    assert recorder.stop() == 0
    assert orders_in(small_disk / "data") == 305
