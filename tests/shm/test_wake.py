"""Wake-ups: never blocking, never lost while the receiver is there, harmless when it is not."""

import os
import select

import pytest

from hive.shm.wake import Waker, WakeReceiver


@pytest.fixture
def path(tmp_path):
    return tmp_path / "wake.gate.1"


@pytest.fixture
def receiver(path):
    made = WakeReceiver(path)
    yield made
    made.close()


def readable(receiver: WakeReceiver) -> bool:
    return bool(select.select([receiver.fileno()], [], [], 0)[0])


def test_a_wake_up_makes_the_receiver_readable_until_it_is_drained(receiver, path):
    waker = Waker(path)
    assert not receiver.drain()
    assert waker.wake()
    assert waker.wake()
    assert readable(receiver)
    assert receiver.drain()
    assert not readable(receiver)
    assert not receiver.drain()
    waker.close()


def test_a_full_fifo_never_blocks(receiver, path):
    waker = Waker(path)
    for _ in range(70_000):
        assert waker.wake()
    assert receiver.drain()
    assert not receiver.drain()
    waker.close()


def test_a_receiver_does_not_hang_up_when_the_last_waker_goes(receiver, path):
    waker = Waker(path)
    waker.wake()
    waker.close()
    receiver.drain()
    poll = select.poll()
    poll.register(receiver.fileno(), select.POLLIN)
    assert poll.poll(0) == []


def test_nobody_there_is_no_error(path):
    waker = Waker(path)
    assert not waker.wake()
    os.mkfifo(path)
    assert not waker.wake()


def test_a_waker_finds_the_receivers_successor(path):
    first = WakeReceiver(path)
    waker = Waker(path)
    assert waker.wake()
    first.close()
    assert not path.exists()
    assert not waker.wake()
    second = WakeReceiver(path)
    assert waker.wake()
    assert readable(second)
    waker.close()
    second.close()
    second.close()


def test_a_fifo_left_by_the_dead_is_replaced_and_anything_else_is_not(path):
    os.mkfifo(path, 0o644)
    receiver = WakeReceiver(path)
    assert path.stat().st_mode & 0o777 == 0o600
    receiver.close()
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        WakeReceiver(path)
    assert path.read_text() == "precious"


def test_a_receiver_whose_fifo_was_removed_is_woken_again_once_it_has_made_another(path, receiver):
    path.unlink()
    assert not Waker(path).wake()
    receiver.make_again()
    waker = Waker(path)
    assert waker.wake()
    assert receiver.drain()
    waker.close()
