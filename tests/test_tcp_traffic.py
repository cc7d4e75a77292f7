"""The kernel's count of what a process's TCP connections receive, as perf/fleet.py reads it."""

import os
import socket
import time

import pytest

from tcp_traffic import Traffic, inodes, received


@pytest.fixture
def ends():
    """Both ends of a connection of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    with near, far:
        yield near, far


def test_what_came_after_the_start_is_counted_for_its_process(ends):
    near, far = ends
    far.sendall(b"x" * 1000)
    assert near.recv(1000, socket.MSG_WAITALL) == b"x" * 1000
    traffic = Traffic({"this": [os.getpid()], "none": []}, every_s=0.01)
    far.sendall(b"x" * 777)
    assert near.recv(777, socket.MSG_WAITALL) == b"x" * 777
    deadline = time.monotonic() + 20
    while traffic.bytes("this") < 777 and time.monotonic() < deadline:
        time.sleep(0.01)
    traffic.stop()
    assert traffic.bytes("this") == 777
    assert traffic.connections("this") == 2
    assert (traffic.bytes("none"), traffic.connections("none")) == (0, 0)


def test_a_connection_is_found_by_its_inode_and_gone_with_its_end(ends):
    near, far = ends
    number = os.fstat(near.fileno()).st_ino
    assert number in inodes(os.getpid())
    assert received()[number] == 0
    far.sendall(b"abc")
    near.recv(3, socket.MSG_WAITALL)
    assert received()[number] == 3
    near.close()
    assert number not in inodes(os.getpid())
    assert number not in received()
