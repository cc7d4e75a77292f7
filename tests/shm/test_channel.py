"""The control channel: whole objects in order, descriptors with them, end of file when the other side goes."""

import asyncio
import os
import socket

import pytest

from hive.shm.channel import Channel, connect_fd


@pytest.fixture
def ends():
    one, theirs = Channel.pair()
    two = Channel(theirs)
    yield one, two
    one.close()
    two.close()


async def test_objects_arrive_in_order_both_ways(ends):
    one, two = ends
    for n in range(50):
        one.send({"type": "event", "n": n, "text": "ü\n"})
        two.send({"n": -n})
    for n in range(50):
        assert await two.recv() == {"type": "event", "n": n, "text": "ü\n"}
        assert await one.recv() == {"n": -n}


async def test_end_of_file_comes_after_what_was_sent(ends):
    one, two = ends
    one.send({"last": True})
    one.close()
    assert await two.recv() == {"last": True}
    assert await two.recv() is None
    assert await two.recv() is None


async def test_a_waiting_receiver_sees_the_end_of_file(ends):
    one, two = ends
    waiting = asyncio.create_task(two.recv())
    await asyncio.sleep(0)
    one.close()
    assert await asyncio.wait_for(waiting, 5) is None


async def test_sending_to_the_dead_is_silent(ends):
    one, two = ends
    two.close()
    for _ in range(3):
        one.send({"x": 1}, fds=[0])
    assert one.pending == 0
    assert await one.recv() is None
    one.close()
    one.send({"x": 1})


async def test_more_than_the_socket_takes_is_kept_and_sent_by_the_loop(ends):
    one, two = ends
    text = "x" * 10_000
    for n in range(200):
        one.send({"n": n, "text": text})  # 2 MB, many times a socket's buffer: never blocks
    assert one.pending > 0
    for n in range(200):
        assert (await asyncio.wait_for(two.recv(), 5))["n"] == n
    assert one.pending == 0


async def test_a_cancelled_receiver_takes_nothing_with_it(ends):
    one, two = ends
    for n in range(100):
        waiting = asyncio.create_task(two.recv())
        for _ in range(n % 4):
            await asyncio.sleep(0)
        one.send({"n": n})
        for _ in range(n % 3):
            await asyncio.sleep(0)
        waiting.cancel()
        try:
            got = await waiting
        except asyncio.CancelledError:
            got = await asyncio.wait_for(two.recv(), 5)
        assert got == {"n": n}


async def test_descriptors_arrive_with_their_object_and_are_not_inherited(ends):
    one, two = ends
    read_end, write_end = os.pipe()
    one.send({"n": 0})
    one.send({"type": "spawn", "index": 3}, fds=[write_end])
    one.send({"n": 2}, fds=[read_end, write_end])
    os.close(write_end)
    assert await two.recv() == {"n": 0}
    spawn = await two.recv()
    assert spawn == {"type": "spawn", "index": 3, "fds": spawn["fds"]}
    assert not os.get_inheritable(spawn["fds"][0])
    os.write(spawn["fds"][0], b"hi")
    assert os.read(read_end, 2) == b"hi"
    third = await two.recv()
    for fd in (read_end, *spawn["fds"], *third["fds"]):
        os.close(fd)
    with pytest.raises(ValueError, match="fds must be at most 16, was 17"):
        one.send({}, fds=[0] * 17)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_descriptors_that_nobody_takes_are_closed(ends):
    one, two = ends
    before = open_descriptors()
    one.send({"x": "y" * 1_000_000}, fds=[0])
    one.send({}, fds=[0, 0])
    two._pull()
    one.close()
    two.close()
    assert open_descriptors() == before - 2


def test_blocking_receipt_has_a_deadline(ends):
    one, two = ends
    with pytest.raises(TimeoutError, match="within 0 s"):
        two.recv_blocking(0)
    one.send({"a": 1})
    assert two.recv_blocking(5) == {"a": 1}
    one.close()
    assert two.recv_blocking(5) is None


def test_without_a_loop_the_rest_goes_with_the_next_call(ends):
    one, two = ends
    one.send({"text": "x" * 3_000_000})
    assert one.pending == 1
    for _ in range(1000):
        one._push()
        two._pull()
        if one.pending == 0:
            break
    assert len(two.recv_blocking(5)["text"]) == 3_000_000


def test_an_inherited_descriptor_becomes_a_channel_and_goes_no_further():
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    channel = connect_fd(theirs.detach())
    assert not os.get_inheritable(channel.fileno())
    ours.sendall(b'{"type":"boot"}\n{"half":')
    assert channel.recv_blocking(5) == {"type": "boot"}
    ours.close()
    assert channel.recv_blocking(5) is None
    channel.close()
    channel.close()
    assert channel.fileno() == -1
