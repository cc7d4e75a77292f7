"""A process is killed inside and around its order queue, a hundred times each: the other end never hangs, and with a
link on top no message is lost, doubled or reordered.

A survivor lives through all of it and a victim is killed and replaced; the test itself watches both with deadlines.
Messages are the numbers 1, 2, 3, ...; what either side must not forget over its death is in a file:

    producer    progress: how far it sent and how far that was acknowledged, written before each flush
    consumer    journal: 8 bytes for each number that it acted upon, written before each acknowledgement
"""

import itertools
import json
import mmap
import os
import random
import secrets
import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import forks
from hive.shm.channel import Channel
from hive.shm.errors import QueueWedged
from hive.shm.link import Link
from hive.shm.order_queue import OrderQueue
from hive.shm.segment import segment_name

KILLS = 100
DEADLINE_S = 30
WORD = struct.Struct("<Q")


@pytest.fixture
def pairs() -> Iterator[Callable[[int], tuple[str, str]]]:
    """pairs(epoch) -> names of a fresh pair of queues: to the consumer, to the producer."""
    run = secrets.token_hex(4)
    made: list[OrderQueue] = []

    def make(epoch: int) -> tuple[str, str]:
        drop()
        made.extend(OrderQueue.create(segment_name(run, way, epoch), epoch, 1 << 16) for way in ("forth", "back"))
        return made[0].name, made[1].name

    def drop() -> None:
        while made:
            queue = made.pop()
            queue.unlink()
            queue.close()

    yield make
    drop()


class Producer:
    """Sends 1, 2, 3, ... without end; resumes behind what `progress` says.

    Each word of `progress` is one store: struct.pack_into() clears it before it writes, and a kill falls in between.
    """

    def __init__(self, progress: Path) -> None:
        with progress.open("r+b") as file:
            self._progress = memoryview(mmap.mmap(file.fileno(), 16)).cast("Q")
        self._sent, self._acked = self._progress
        self.link: Link | None = None

    def connect(self, names: tuple[str, str]) -> None:
        outbound, inbound = (OrderQueue.attach(name) for name in names)
        if self.link is not None:
            self.link.relink(inbound, outbound)
            return
        self.link = Link(inbound, outbound, None, 1, sent=self._acked)
        for number in range(self._acked + 1, self._sent + 1):
            self.link.send(WORD.pack(number))

    def step(self) -> None:
        self.link.poll()
        self._progress[1] = self._sent - len(self.link.unacked())
        if len(self.link.unacked()) < 500:
            for _ in range(5):
                self._sent += 1
                self._progress[0] = self._sent
                self.link.send(WORD.pack(self._sent))
        self.link.flush()


class Consumer:
    """Writes what comes into `journal`; resumes behind it."""

    def __init__(self, journal: Path) -> None:
        self._fd = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._received = os.fstat(self._fd).st_size // WORD.size
        self.link: Link | None = None

    def connect(self, names: tuple[str, str]) -> None:
        inbound, outbound = (OrderQueue.attach(name) for name in names)
        if self.link is not None:
            self.link.relink(inbound, outbound)
        else:
            self.link = Link(inbound, outbound, None, 1, received=self._received)

    def step(self) -> None:
        messages = self.link.poll()
        if messages:
            os.write(self._fd, b"".join(messages))
        self.link.flush()


def run_victim(side: Producer | Consumer, names: tuple[str, str]) -> None:
    side.connect(names)
    while True:
        side.step()


def run_survivor(make: Callable[[], Producer | Consumer], channel: Channel) -> None:
    """Work, and obey: {"pair": [...]} relinks, {"last": true} ends it. A wedged queue is waited out, not a hang."""
    side = make()
    wedged = False
    while True:
        try:
            order = channel.recv_blocking(0)
        except TimeoutError:
            order = {}
        if side.link is not None:
            try:
                side.step()  # once more through the queue that the victim left behind
            except QueueWedged:
                wedged = True
        if order is None or "last" in order:
            channel.send({"wedged": wedged})
            return
        if "pair" in order:
            side.connect(order["pair"])
            channel.send({"wedged": wedged})
            wedged = False


@pytest.mark.parametrize("killed", ["producer", "consumer"])
def test_no_kill_hangs_the_other_end_and_no_message_is_lost_doubled_or_reordered(tmp_path, pairs, killed):
    progress, journal = tmp_path / "progress", tmp_path / "journal"
    progress.write_bytes(bytes(16))
    journal.touch()
    makers = {"producer": lambda: Producer(progress), "consumer": lambda: Consumer(journal)}
    make_victim = makers.pop(killed)
    (make_survivor,) = makers.values()
    rng = random.Random(killed)
    ours, theirs = Channel.pair()
    wedged = 0
    with forks.Forked(run_survivor, make_survivor, Channel(theirs)) as survivor:
        for epoch in range(1, KILLS + 1):
            names = pairs(epoch)
            ours.send({"pair": names})
            wedged += ours.recv_blocking(DEADLINE_S)["wedged"]  # TimeoutError: it hangs
            before = journal.stat().st_size
            with forks.Forked(lambda names=names: run_victim(make_victim(), names)) as victim:
                forks.until(lambda before=before: journal.stat().st_size > before, f"a message in epoch {epoch}")
                time.sleep(rng.random() * 0.003)
                assert victim.kill() == -signal.SIGKILL
        # One more pair, and a victim that may live until everything has arrived and is acknowledged.
        names = pairs(KILLS + 1)
        ours.send({"pair": names})
        wedged += ours.recv_blocking(DEADLINE_S)["wedged"]
        with forks.Forked(lambda: run_victim(make_victim(), names)):
            sent_before = struct.unpack("<QQ", progress.read_bytes())[0]
            forks.until(lambda: struct.unpack("<QQ", progress.read_bytes())[1] >= sent_before, "the last ack")
        ours.send({"last": True})
        ours.recv_blocking(DEADLINE_S)
        assert survivor.wait(DEADLINE_S) == 0
    ours.close()
    numbers = [number for (number,) in WORD.iter_unpack(journal.read_bytes())]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= sent_before > KILLS
    assert wedged > 0, "no kill hit the inside of a queue: the test proves nothing"


def put_for_ever(name: str) -> None:
    queue = OrderQueue.attach(name)
    for n in itertools.count():
        queue.put_many([b"%040d" % n] * (1 + n % 7))


def get_for_ever(name: str) -> None:
    queue = OrderQueue.attach(name)
    while True:
        queue.get_many()


def survive(name: str, call: str, report: Path) -> None:
    """Use the queue while its other end dies, and 50 more times after that; say whether it was wedged."""
    queue = OrderQueue.attach(name)
    operate = queue.get_many if call == "get" else lambda: queue.put_many([b"x" * 56] * 3)
    wedged = False
    after = 0
    while after < 50:
        after += (report.parent / "dead").exists()
        try:
            operate()
        except QueueWedged:
            wedged = True
    report.write_text(json.dumps({"wedged": wedged}))


@pytest.mark.parametrize(("victim_runs", "survivor_calls"), [(put_for_ever, "get"), (get_for_ever, "put")])
def test_a_bare_queue_is_wedged_or_goes_on_and_never_hangs(tmp_path, pairs, victim_runs, survivor_calls):
    rng = random.Random(survivor_calls)
    wedged = 0
    for epoch in range(1, KILLS + 1):
        name, _ = pairs(epoch)
        place = tmp_path / str(epoch)
        place.mkdir()
        with (
            forks.Forked(survive, name, survivor_calls, place / "report") as survivor,
            forks.Forked(victim_runs, name) as victim,
        ):
            time.sleep(0.002 + rng.random() * 0.003)
            victim.kill()
            (place / "dead").touch()
            assert survivor.wait(DEADLINE_S) == 0  # TimeoutError: it hangs
        wedged += json.loads((place / "report").read_text())["wedged"]
    assert wedged > 0, "no kill hit the inside of the queue: the test proves nothing"
