"""Order queues: what goes in comes out, full and busy are values, and a death inside is noticed."""

import os
import random
import signal

import pytest

import forks
from hive.shm.atomics import OwnerWord
from hive.shm.errors import LayoutMismatch, MessageTooLarge, QueueWedged, SegmentMissing, ShmError
from hive.shm.order_queue import (
    _OWNER,
    KIND,
    MESSAGE_MAX,
    OrderQueue,
    process_identity,
    self_test,
)
from hive.shm.segment import process_start_ticks, segment_name


@pytest.fixture
def pair(create_queue):
    """The two ends of one queue of 64 KiB, both in this process."""
    made = create_queue("in")
    attached = OrderQueue.attach(made.name)
    yield made, attached
    attached.close()


def identity(pid: int) -> int:
    return process_identity(pid, process_start_ticks(pid))


def test_the_installed_library_is_the_one_we_know():
    self_test()


def test_messages_come_out_as_they_went_in(pair):
    putter, getter = pair
    assert getter.get_many() == []
    assert putter.put_many([b"one", b"two" * 100, b"\0"]) == 3
    assert getter.get_many() == [b"one", b"two" * 100, b"\0"]
    assert getter.get_many() == []
    assert putter.put_many([]) == 0
    assert (getter.epoch, getter.capacity_bytes) == (1, 1 << 16)


def test_a_full_queue_takes_what_fits_and_no_more(pair):
    putter, getter = pair
    messages = [b"%03d" % i + b"x" * 253 for i in range(300)]  # 264 bytes each with its length: 248 fit
    taken = putter.put_many(messages)
    assert taken == (1 << 16) // 264
    assert putter.put_many(messages[taken:]) == 0
    got = []
    while batch := getter.get_many():
        got += batch
    assert got == messages[:taken]
    assert putter.put_many(messages[taken:]) == 300 - taken


def test_random_sizes_through_many_wraps_against_a_list(pair):
    putter, getter = pair
    rng = random.Random(2)
    sent, got = [], []
    while len(got) < 5000:
        batch = [rng.randbytes(rng.choice([1, 30, 248, MESSAGE_MAX])) for _ in range(rng.randint(1, 40))]
        sent += batch[: putter.put_many(batch)]
        if rng.random() < 0.5:
            got += getter.get_many()
    while batch := getter.get_many():
        got += batch
    assert got == sent


def test_a_message_that_cannot_fit_is_refused_at_the_door(pair):
    putter, getter = pair
    for bad in (b"", b"x" * (MESSAGE_MAX + 1)):
        with pytest.raises(MessageTooLarge, match=f"must have 1 to {MESSAGE_MAX} bytes, was {len(bad)}"):
            putter.put_many([b"good", bad])
    assert getter.get_many() == []


def test_a_living_process_inside_means_busy(pair, create_queue):
    putter, getter = pair
    putter.put_many([b"waiting"])
    word = OwnerWord(putter._segment.memory(), _OWNER)
    assert word.enter(identity(os.getppid())) == 0
    assert (putter.put_many([b"x"]), getter.get_many()) == (0, [])
    word.leave()
    assert putter.put_many([b"x"]) == 1
    assert getter.get_many() == [b"waiting", b"x"]


def test_a_reused_pid_inside_means_wedged(pair):
    putter, getter = pair
    parent = os.getppid()
    word = OwnerWord(putter._segment.memory(), _OWNER)
    word.enter(process_identity(parent, process_start_ticks(parent) - 1))
    with pytest.raises(QueueWedged, match=f"process {parent} died inside"):
        putter.put_many([b"x"])
    with pytest.raises(QueueWedged):
        getter.get_many()


def enter_and(queue_name: str, action) -> None:
    queue = OrderQueue.attach(queue_name)
    assert queue._enter()
    action()
    queue._word.leave()


def test_a_process_killed_inside_wedges_the_queue_even_as_a_zombie(pair):
    putter, getter = pair
    with forks.Forked(enter_and, putter.name, lambda: os.kill(os.getpid(), signal.SIGKILL)) as child:
        assert child.ended(10)
        for _ in range(2):
            with pytest.raises(QueueWedged, match=f"{putter.name}: process {child.pid} died inside"):
                putter.put_many([b"x"])
            with pytest.raises(QueueWedged):
                getter.get_many()
            child.wait(10)  # now it is reaped, and still wedged


def test_a_process_stopped_inside_is_busy_and_goes_on(pair):
    putter, getter = pair
    with forks.Forked(enter_and, putter.name, lambda: os.kill(os.getpid(), signal.SIGSTOP)) as child:
        child.wait_stopped()
        for _ in range(3):
            assert putter.put_many([b"x"]) == 0
            assert getter.get_many() == []
        child.signal(signal.SIGCONT)
        assert child.wait(10) == 0
    assert putter.put_many([b"x"]) == 1
    assert getter.get_many() == [b"x"]


def test_a_process_killed_outside_leaves_the_queue_as_it_is(pair):
    putter, getter = pair

    def put_and_die():
        assert OrderQueue.attach(putter.name).put_many([b"a", b"b"]) == 2
        os.kill(os.getpid(), signal.SIGKILL)

    with forks.Forked(put_and_die) as child:
        assert child.wait(10) == -signal.SIGKILL
    assert putter.put_many([b"c"]) == 1
    assert getter.get_many() == [b"a", b"b", b"c"]


def test_a_queue_must_be_attached_after_the_fork(pair):
    def use_the_parents():
        with pytest.raises(ShmError, match=r"attach\(\) after the fork"):
            pair[0].put_many([b"x"])

    with forks.Forked(use_the_parents) as child:
        assert child.wait(10) == 0


def test_what_is_no_queue_is_refused(run, create, create_queue):
    with pytest.raises(SegmentMissing):
        OrderQueue.attach(segment_name(run, "none", 1))
    with pytest.raises(LayoutMismatch, match="must be of kind 'queue', was 'books'"):
        OrderQueue.attach(create("books", 4096, kind="books").name)
    with pytest.raises(LayoutMismatch, match="holds no queue yet"):
        OrderQueue.attach(create("empty", 4096, kind=KIND).name)
    with pytest.raises(ValueError, match="capacity_bytes must be >= 4104, was 100"):
        create_queue("small", 100)


def test_closing_unmaps_the_segment(create_queue):
    name = create_queue("in").name
    queue = OrderQueue.attach(name)
    queue.put_many([b"x"])
    queue.close()
    with open("/proc/self/maps") as maps:
        assert sum(name in line for line in maps) == 1
