"""Who waits for a round of writing, who does not, and what a round could not do: nobody is answered too early."""

import shutil
import sqlite3

import pytest

from gate.journal_rig import VENUE, journal, live_orders, made, newest
from gate.recorder_rig import STRATEGY, RecorderRig, WitnessedLife, controller
from hive.gate import journal_position


class Three:
    """Three strategies, of whose databases one stays open, each with a new order whenever that is wanted."""

    def __init__(self, folder, clock) -> None:
        self.rig = RecorderRig(folder, open_max=1)
        self._clock = clock
        self._placed = 0
        self.owners = [self.rig.owners.tell({**STRATEGY, "id": tag, "tag": tag}) for tag in ("first", "other", "third")]

    def place(self, one) -> None:
        self._placed += 1
        for owner in self.owners:
            order = made(1, self._clock, client_order_id=f"hvbenca{owner.tag}-{self._placed}", tag=owner.tag)
            WitnessedLife(one, order, self._clock).live_through("sent", "acked")
        one.commit()

    def batch(self) -> None:
        while self.rig.batches.step(everything=False):
            pass

    def recorded(self) -> list[int]:
        """Return how many orders each has in its database."""
        return [self.rig.rows('SELECT COUNT(*) FROM "Order"', owner.id)[0][0] for owner in self.owners]


@pytest.fixture
def three(tmp_path, clock):
    one = Three(tmp_path, clock)
    yield one
    one.rig.batches.close()


def test_records_of_many_databases_wait_for_a_full_round_or_for_who_asks_and_rows_do_not(three, clock):
    batches = three.rig.batches
    with journal(three.rig.journal, clock) as one:
        three.place(one)
        three.rig.drain()
        batches.settle()
        position = journal_position.load(three.rig.journal)
        assert position == three.rig.tail.position
        three.place(one)
        batches.take_row(three.owners[1], "a", 1, controller("x"), lambda: None)
        three.batch()
        assert three.rig.rows("SELECT id FROM Controllers", "other") == [("x",)]
        assert three.recorded() == [1, 1, 1]
        batches.hurry(three.owners[2])
        three.batch()
        assert three.recorded() == [1, 1, 2]
        assert [batches.is_waiting(owner) for owner in three.owners] == [True, True, False]
        batches.settle()
        assert journal_position.load(three.rig.journal) == position
        three.rig.drain()
        batches.settle()
        assert journal_position.load(three.rig.journal) == three.rig.tail.position
    assert three.recorded() == [2, 2, 2]


def test_a_strategy_that_is_followed_is_written_with_every_batch_of_its_life(three, clock):
    batches = three.rig.batches
    with journal(three.rig.journal, clock) as one:
        three.place(one)
        three.rig.drain()
        assert not batches.are_prompt
        batches.follow(three.owners[2])
        for count in (2, 3):
            three.place(one)
            assert batches.are_prompt
            three.batch()
            assert three.recorded() == [1, 1, count]
        assert batches.begin_life(three.owners[2]) == ""
        assert not batches.are_prompt
        three.place(one)
        three.batch()
        assert three.recorded() == [1, 1, 3]
        three.rig.drain()
    assert three.recorded() == [4, 4, 4]


def test_who_asks_is_not_answered_before_all_of_the_journal_is_read(rig, clock):
    maker = rig.owners.of("maker")
    with journal(rig.journal, clock) as one:
        live_orders(one, clock, 1, "sent", "acked")
        rig.drain()
        assert not rig.batches.is_waiting(maker)
        live_orders(one, clock, 2500, "sent", "acked", first=10)
        rig.batches.hurry(maker)
        assert rig.batches.step(everything=False)
        assert rig.batches.is_waiting(maker)
        while rig.batches.step(everything=False):
            pass
        assert not rig.batches.is_waiting(maker)
        assert len(rig.rows('SELECT id FROM "Order"')) == 2501


def test_what_a_round_could_not_read_because_of_a_fault_does_not_wait_for_the_next_round(tmp_path, clock):
    rig = RecorderRig(tmp_path, open_max=0)
    with journal(rig.journal, clock) as one:
        live_orders(one, clock, 1, "sent", "acked")
        rig.drain()
        live_orders(one, clock, 2501, "sent", "acked", first=10)
        with sqlite3.connect(rig.data / "maker.sqlite", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            assert not rig.batches.step(everything=True)
            other.execute("ROLLBACK")
        other.close()
        while rig.batches.step(everything=False):
            pass
    assert len(rig.rows('SELECT id FROM "Order"')) == 2502
    rig.batches.close()


def test_a_journal_that_cannot_be_read_is_a_fault_and_nobody_is_answered_meanwhile(tmp_path, clock):
    rig = RecorderRig(tmp_path, open_max=0)
    maker = rig.owners.of("maker")
    with journal(rig.journal, clock) as one:
        live_orders(one, clock, 1, "sent", "acked")
        rig.drain()
        live_orders(one, clock, 1, "sent", "acked", first=10)
        other = rig.journal.with_name("away")
        rig.journal.rename(other)
        rig.journal.mkdir()
        (rig.journal / newest(other).name).mkdir()  # where a file should be
        rig.batches.hurry(maker)
        for _ in range(2):
            assert not rig.batches.step(everything=False)
            assert f"journal of {VENUE}" in rig.batches.fault
            assert rig.batches.is_waiting(maker)
        shutil.rmtree(rig.journal)
        other.rename(rig.journal)
        rig.drain()
        assert rig.batches.fault == ""
        assert not rig.batches.is_waiting(maker)
        assert len(rig.rows('SELECT id FROM "Order"')) == 2
    rig.batches.close()


def test_rows_are_put_on_the_disk_while_records_wait_and_what_does_not_reach_it_is_a_fault_until_it_does(three, clock):
    batches = three.rig.batches
    with journal(three.rig.journal, clock) as one:
        three.place(one)
        three.rig.drain()
        batches.settle()
        wal = three.rig.data / "first.sqlite-wal"
        batches.take_row(three.owners[0], "a", 1, controller("x"), lambda: None)
        three.batch()
        three.place(one)
        batches.hurry(three.owners[2])
        three.batch()
        assert batches.waiting
        shutil.move(wal, wal.with_name("aside"))
        wal.symlink_to(wal)  # cannot be opened
        batches.settle()
        assert "not on the disk" in batches.fault
        three.batch()
        assert "not on the disk" in batches.fault
        wal.unlink()
        shutil.move(wal.with_name("aside"), wal)
        batches.settle()
        assert batches.fault == ""
