"""Workers' rows in, databases out: each once; whose they are, and what a database tells of its strategy's past."""

import json
import sqlite3

import pytest

from gate.journal_rig import journal, live_orders
from gate.recorder_rig import CONTROLLER, STRATEGY, RecorderRig, controller, hand_over
from hive.gate.recorder_history import history, trades
from hive.gate.recorder_owners import Owner, Owners


def test_rows_that_come_again_are_written_once_and_acknowledged_again(rig):
    written: list[int] = []
    hand_over(rig, "a", [1, 2], written)
    rig.drain()
    rig.kill()
    hand_over(rig, "a", [1, 2, 3], written)
    hand_over(rig, "b", [1])
    rig.drain()
    assert written == [1, 2, 1, 2, 3]
    assert rig.rows("SELECT id FROM Controllers ORDER BY controller_id") == [("a1",), ("a2",), ("a3",), ("b1",)]


def test_an_upsert_changes_the_row_of_its_key(rig):
    owner = rig.owners.of("maker")
    base = {"controller_id": "c", "connector_name": "binance", "side": "BUY", "trading_pair": "BTC-USDT"}
    figures = dict.fromkeys(
        ("volume_traded_quote", "breakeven_price", "unrealized_pnl_quote", "realized_pnl_quote", "cum_fees_quote"), 1
    )
    for number, amount in enumerate((5, 7), 1):
        values = {"id": f"p{number}", "timestamp": number, "amount": amount, **base, **figures}
        row = {"how": "upsert", "table": "Position", "values": values, "key": list(base), "update": ["amount"]}
        rig.batches.take_row(owner, "a", number, row, lambda: None)
    rig.drain()
    assert rig.rows("SELECT id, amount, timestamp FROM Position") == [("p1", 7, 1)]


@pytest.mark.parametrize(
    "row",
    [
        {"how": "insert", "table": "Controllers", "values": {**CONTROLLER, "type": None}},
        {"how": "insert", "table": "Controllers", "values": {**CONTROLLER, "nonsense": 1}},
        {"how": "insert", "table": 'Controllers" --', "values": CONTROLLER},
        {"how": "insert", "table": "Controllers", "values": {**CONTROLLER, "config": {}}},
        {"how": "insert", "table": "Controllers", "values": {**CONTROLLER, "timestamp": 10**19}},
        {"how": "insert", "table": "Controllers", "values": {**CONTROLLER, "type": "\ud800"}},
    ],
    ids=["null", "column", "table", "type", "number", "text"],
)
def test_a_row_that_can_never_be_written_is_dropped_loudly_and_the_next_is_written(rig, row):
    written = []
    owner = rig.owners.of("maker")
    rig.batches.take_row(owner, "a", 1, row, lambda: written.append(1))
    rig.batches.take_row(owner, "a", 2, controller("good"), lambda: written.append(2))
    rig.drain()
    assert written == [1, 2]
    assert rig.rows("SELECT id FROM Controllers") == [("good",)]
    assert len(rig.complaints) == 1
    assert "dropped a row of Controllers" in rig.complaints[0]


def test_a_database_of_another_version_is_left_alone_and_told(rig):
    rig.data.mkdir()
    with sqlite3.connect(rig.data / "maker.sqlite") as other:
        other.execute("CREATE TABLE Metadata (key TEXT PRIMARY KEY, value TEXT)")
        other.execute("INSERT INTO Metadata VALUES ('local_db_version', '20200101')")
    other.close()
    hand_over(rig, "a", [1])
    rig.drain()
    assert "must be of version 20230516, was 20200101" in rig.batches.fault
    assert rig.batches.waiting == 1


def test_strategies_are_known_to_the_next_recorder(tmp_path):
    owners = Owners(tmp_path / "strategies.json")
    owner = owners.tell(STRATEGY)
    owners.save()
    again = Owners(tmp_path / "strategies.json")
    assert again.of("maker") == again.of_tag("qqqqq") == owner == Owner(**STRATEGY)


def test_history_is_what_the_database_holds_in_pages(rig, clock):
    hand_over(rig, "a", range(1, 3))
    with journal(rig.journal, clock) as one:
        live_orders(one, clock, 150, "sent", "acked", "fill")
        rig.drain()
    path = rig.data / "maker.sqlite"
    (page,) = history(path)
    assert page["table"] == "MarketState"
    assert len(json.loads(page["rows"][0][page["columns"].index("saved_state")])) == 150
    pages = list(trades(path, "maker.yml", 0))
    assert [len(page["rows"]) for page in pages] == [100, 50]
    assert list(trades(path, "other.yml", 0)) == []


def test_many_databases_are_written_with_few_open_and_left_as_one_file_each(tmp_path):
    rig = RecorderRig(tmp_path, open_max=3)
    for number in range(20):
        owner = rig.owners.tell({**STRATEGY, "id": f"s{number}", "tag": f"t{number}"})
        rig.batches.take_row(owner, "a", 1, controller("x"), lambda: None)
    rig.drain()
    rig.batches.settle()
    assert rig.batches.fault == ""
    rig.batches.close()
    assert sorted(path.suffix for path in rig.data.iterdir()) == [".sqlite"] * 20
    assert all(rig.rows("SELECT id FROM Controllers", f"s{number}") == [("x",)] for number in range(20))
