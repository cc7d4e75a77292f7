"""A worker's line and the recorder at its other end: rows and questions outlive the connection and the recorder."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from gate.recorder_rig import STRATEGY
from hive.gate.recorder import Recorder
from hive.gate.recorder_settings import RecorderSettings
from hive.workers.recording import RecorderError, RecorderLine, StrategyLine

CONTROLLER = {"id": "one", "timestamp": 1.5, "type": "generic", "config": "{}"}
PATIENCE_S = 60.0


class Life:
    """One recorder on this loop."""

    def __init__(self, folder):
        settings = RecorderSettings("run", 1, folder, None, "INFO", {}, folder / "data", folder / "strategies.json")
        self.recorder = Recorder(settings)
        self.task = asyncio.get_running_loop().create_task(self.recorder.run())

    async def kill(self):
        """End it with what it holds, unwritten."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.recorder._server.close()
        self.recorder._kept.close()
        self.recorder._batches.close()

    async def stop(self):
        self.task.cancel()
        await self.recorder.finish(1)


@pytest.fixture
async def line(tmp_path):
    one = RecorderLine(tmp_path, tmp_path / "data" / "rows")
    yield one
    one.close()


def opening():
    return STRATEGY["tag"], STRATEGY["strategy"], STRATEGY["config_file_path"], STRATEGY["fees"]


def controller(number):
    return {"how": "insert", "table": "Controllers", "values": {**CONTROLLER, "id": str(number)}}


def written(folder):
    with closing(sqlite3.connect(folder / "data" / "maker.sqlite")) as connection:
        return [int(one) for (one,) in connection.execute("SELECT id FROM Controllers ORDER BY controller_id")]


async def test_a_strategy_that_asks_before_there_is_a_recorder_is_answered_by_the_first(tmp_path, line):
    maker = StrategyLine(line, "maker")
    asking = asyncio.create_task(maker.open(*opening()))
    await asyncio.sleep(0)
    life = Life(tmp_path)
    async with asyncio.timeout(PATIENCE_S):
        assert await asking == {}
    await life.stop()


async def test_rows_reach_the_database_once_and_in_order_over_several_recorders(tmp_path, line):
    maker = StrategyLine(line, "maker")
    life = Life(tmp_path)
    await maker.open(*opening())
    for number in range(300):
        maker.row(controller(number))
        if number % 100 == 50:
            await asyncio.sleep(0.02 * (number // 100))
            await life.kill()
        if number % 100 == 80:
            life = Life(tmp_path)
    assert await maker.written(PATIENCE_S)
    assert written(tmp_path) == list(range(300))
    await life.stop()


async def test_rows_wait_while_the_recorder_takes_no_more(tmp_path, line):
    maker = StrategyLine(line, "maker")
    life = Life(tmp_path)
    await maker.open(*opening())
    with closing(sqlite3.connect(tmp_path / "data" / "maker.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(3000):
            maker.row(controller(number))
        assert not await maker.written(0.5)
        other.execute("ROLLBACK")
    assert await maker.written(PATIENCE_S)
    assert written(tmp_path) == list(range(3000))
    await life.stop()


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_rows_that_neither_worker_nor_recorder_lived_to_commit_are_written_by_the_next(tmp_path, line, end):
    maker = StrategyLine(line, "maker")
    life = Life(tmp_path)
    await maker.open(*opening())
    maker.row(controller(0))
    assert await maker.written(PATIENCE_S)
    with closing(sqlite3.connect(tmp_path / "data" / "maker.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(1, 1000):
            maker.row(controller(number))
        assert not await maker.written(0.5)
        line.close()
        await (life.kill() if end == "kill" else life.stop())
        other.execute("ROLLBACK")
    assert written(tmp_path) == [0]
    life = Life(tmp_path)
    again = RecorderLine(tmp_path, tmp_path / "data" / "rows")
    maker = StrategyLine(again, "maker")
    await maker.open(*opening())  # is answered after all of it is written
    assert written(tmp_path) == list(range(1000))
    again.close()
    await life.stop()
    assert list((tmp_path / "data" / "rows").iterdir()) == []


async def test_rows_of_a_worker_that_died_alone_are_written_once(tmp_path, line):
    life = Life(tmp_path)
    maker = StrategyLine(line, "maker")
    await maker.open(*opening())
    for number in range(3000):  # more than the socket takes at once
        maker.row(controller(number))
    line.close()
    again = RecorderLine(tmp_path, tmp_path / "data" / "rows")
    await StrategyLine(again, "maker").open(*opening())
    again.close()
    await life.stop()
    assert written(tmp_path) == list(range(3000))


async def test_two_lives_of_a_strategy_number_their_rows_apart(tmp_path, line):
    life = Life(tmp_path)
    for number in range(3):
        maker = StrategyLine(line, "maker")
        history = await maker.open(*opening())
        assert "Controllers" not in history  # they are not asked for
        maker.row(controller(number))
        assert await maker.written(PATIENCE_S)
    assert written(tmp_path) == [0, 1, 2]
    await life.stop()


async def test_a_strategy_is_followed_by_every_recorder_of_its_life_and_no_longer(tmp_path, line):
    maker = StrategyLine(line, "maker")
    assert not await asyncio.to_thread(maker.follow, 1.0)  # there is none yet; it hears of that when it comes
    for begins in (True, False):
        life = Life(tmp_path)
        if begins:
            await maker.open(*opening())
            assert await asyncio.to_thread(maker.follow, PATIENCE_S)
        async with asyncio.timeout(PATIENCE_S):
            while life.recorder._batches._followed != {"maker"}:
                await asyncio.sleep(0.01)
        await life.kill()
    life = Life(tmp_path)
    await StrategyLine(line, "maker").open(*opening())
    assert life.recorder._batches._followed == set()
    await life.stop()


async def test_what_cannot_be_answered_is_an_error_of_the_one_who_asked(tmp_path, line):
    life = Life(tmp_path)
    with pytest.raises(RecorderError, match="unable to open database file"):
        await StrategyLine(line, "nobody").trades(0)
    maker = StrategyLine(line, "maker")
    await maker.open(*opening())
    assert await maker.trades(0) == []
    await life.stop()


async def test_a_stopped_recorder_leaves_no_socket(tmp_path, line):
    life = Life(tmp_path)
    await StrategyLine(line, "maker").open(*opening())
    await life.stop()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "strategies.json"]
