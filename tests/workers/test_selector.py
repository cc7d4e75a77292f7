"""How a worker's loop waits."""

import select
import selectors
import socket
import time

import pytest

from hive.workers.clock import CallbackCounter
from hive.workers.selector import CountingSelector


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.mark.parametrize("timeout", [0.0003, 0.004])
def test_it_waits_as_long_as_it_is_asked_to(ends, timeout):
    with CountingSelector(CallbackCounter()) as selector:
        selector.register(ends[0], selectors.EVENT_READ)
        begun = time.monotonic()
        assert not selector.select(timeout)
        assert time.monotonic() - begun >= timeout


def test_it_waits_in_microseconds_where_epoll_would_wait_in_milliseconds():
    with CountingSelector(CallbackCounter()) as selector, select.epoll() as epoll:
        ours, others = [], []
        for _ in range(40):  # of each pair one that nothing came between
            for waits, took in ((selector.select, ours), (epoll.poll, others)):
                begun = time.monotonic_ns()
                waits(0.0002)
                took.append(time.monotonic_ns() - begun)
        assert min(others) >= 1_000_000
        assert min(ours) < min(others)


@pytest.mark.parametrize("timeout", [None, 0, 60.0])
def test_it_returns_at_once_with_what_is_readable(ends, timeout):
    callbacks = CallbackCounter()
    with CountingSelector(callbacks) as selector:
        selector.register(ends[0], selectors.EVENT_READ)
        ends[1].send(b"x")
        assert [key.fileobj for key, _ in selector.select(timeout)] == [ends[0]]
        assert callbacks.value == 1
