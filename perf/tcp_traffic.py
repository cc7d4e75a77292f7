"""TCP connections of processes, and the bytes that each has received, as the kernel counts them (sock_diag).

One request to the kernel for all connections of the host, and a look at each process's descriptors for whose they
are; nothing is asked of the processes themselves. Made for watching every second or so: what a connection receives
between the last look and its end is not seen, nor is one that comes and goes in between.
"""

import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping

_SOCK_DIAG, _BY_FAMILY, _ERROR, _DONE = 4, 20, 2, 3
_REQUEST, _DUMP = 0x1, 0x300
_ESTABLISHED = 1 << 1
_INFO = 2  # the attribute that holds struct tcp_info, and its bit in `idiag_ext` is one less
_MESSAGE_BYTES, _DIAG_BYTES = 16, 72  # nlmsghdr; inet_diag_msg, whose last word is the inode
_BYTES_RECEIVED = 128  # of tcp_info, a u64 (linux/tcp.h: after bytes_acked)
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")


def received() -> dict[int, int]:
    """Return the bytes received by inode of every established TCP connection of the host; IPv4 and IPv6."""
    found: dict[int, int] = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as netlink:
            body = struct.pack("=BBBBI48x", family, socket.IPPROTO_TCP, 1 << (_INFO - 1), 0, _ESTABLISHED)
            length = _HEADER.size + len(body)
            netlink.send(_HEADER.pack(length, _BY_FAMILY, _REQUEST | _DUMP, 1, 0) + body)
            for message in _messages(netlink):
                (inode,) = struct.unpack_from("=I", message, _DIAG_BYTES - 4)
                found[inode] = _bytes_received(message)
    return found


def inodes(pid: int) -> set[int]:
    """Return the inodes of a process's sockets; empty when it is gone."""
    found = set()
    try:
        descriptors = list(os.scandir(f"/proc/{pid}/fd"))
    except OSError:
        return found
    for entry in descriptors:
        try:
            target = os.readlink(entry.path)
        except OSError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            found.add(int(target[8:-1]))
    return found


class Traffic:
    """Watches groups of processes in a thread: how many connections each group has, and what they received.

    Args:
        groups: the pids of each group, by its name.
        every_s: seconds between two looks.
    """

    def __init__(self, groups: Mapping[str, Iterable[int]], every_s: float = 0.5) -> None:
        self._groups = {name: list(pids) for name, pids in groups.items()}
        self._every_s = every_s
        self._first: dict[int, int] = {}
        self._last: dict[str, dict[int, int]] = {name: {} for name in self._groups}
        self._counts: dict[str, list[int]] = {name: [] for name in self._groups}
        self._ending = threading.Event()
        self._first = received()
        self._thread = threading.Thread(target=self._watch, name="traffic", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look once more and end; the figures stay."""
        self._ending.set()
        self._thread.join()
        self._look()

    def bytes(self, group: str) -> int:
        """Return what a group's connections have received since the start."""
        return sum(total - self._first.get(inode, 0) for inode, total in self._last[group].items())

    def connections(self, group: str) -> float:
        """Return how many established connections a group had, on average."""
        counts = self._counts[group]
        return sum(counts) / len(counts) if counts else 0.0

    def _watch(self) -> None:
        while not self._ending.wait(self._every_s):
            self._look()

    def _look(self) -> None:
        now = received()
        for name, pids in self._groups.items():
            own = {inode for pid in pids for inode in inodes(pid) if inode in now}
            self._counts[name].append(len(own))
            self._last[name].update({inode: now[inode] for inode in own})


def _messages(netlink: socket.socket) -> Iterator[bytes]:
    while True:
        data = netlink.recv(1 << 17)
        while data:
            length, kind, *_ = _HEADER.unpack_from(data)
            if kind == _DONE:
                return
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", data, _MESSAGE_BYTES)
                raise OSError(-code, f"sock_diag: {os.strerror(-code)}")
            yield data[_MESSAGE_BYTES:length]
            data = data[(length + 3) & ~3 :]


def _bytes_received(message: bytes) -> int:
    """Return the field of the message's tcp_info attribute, 0 when the kernel gives none."""
    at = _DIAG_BYTES
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if kind == _INFO and length >= _ATTRIBUTE.size + _BYTES_RECEIVED + 8:
            (count,) = struct.unpack_from("=Q", message, at + _ATTRIBUTE.size + _BYTES_RECEIVED)
            return count
        at += max((length + 3) & ~3, _ATTRIBUTE.size)
    return 0
