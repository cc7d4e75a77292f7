"""The control channel: JSON objects, one per line, both ways over a unix stream socket, with file descriptors.

The supervisor holds one end, its child the other. End of file means that the other side is gone. An object may carry
file descriptors: send(obj, fds=[...]) arrives with the key "fds", the receiver's own numbers. Made for tens of messages
a second; nobody ever blocks in send().
"""

import array
import asyncio
import collections
import json
import os
import select
import socket
import time

_READ_BYTES = 65536
_FDS_MAX = 16


class Channel:
    """One end of a control channel, for one thread and one receiver at a time. The key "fds" is its own.

    Args:
        sock: a connected AF_UNIX SOCK_STREAM socket, which the channel owns from now on.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._fd = sock.fileno()
        self._out: collections.deque[tuple[memoryview, list[int]]] = collections.deque()
        self._in = bytearray()
        self._in_fds: collections.deque[int] = collections.deque()
        self._ready: collections.deque[dict] = collections.deque()
        self._eof = False
        self._writing: asyncio.AbstractEventLoop | None = None

    @classmethod
    def pair(cls) -> tuple["Channel", socket.socket]:
        """Return a channel and the socket of its other end, for pass_fds or for sending over another channel."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(ours), theirs

    def fileno(self) -> int:
        """Return the descriptor; -1 after close()."""
        return self._sock.fileno()

    @property
    def pending(self) -> int:
        """How many messages are not yet handed to the kernel."""
        return len(self._out)

    def send(self, obj: dict, fds: list[int] | tuple[int, ...] = ()) -> None:
        """Send an object, or keep it until the socket takes it; what a dead peer cannot take is dropped.

        Args:
            obj: what JSON can say.
            fds: up to 16 descriptors to pass along; they are duplicated, the caller keeps (and may close) its own.
        """
        if len(fds) > _FDS_MAX:
            raise ValueError(f"fds must be at most {_FDS_MAX}, was {len(fds)}")
        if self._fd < 0:
            return
        line = json.dumps({**obj, "fds": len(fds)} if fds else obj, separators=(",", ":")) + "\n"
        self._out.append((memoryview(line.encode()), [os.dup(fd) for fd in fds]))
        self._push()

    async def recv(self) -> dict | None:
        """Return the next object, None at end of file. Cancelling it loses nothing."""
        while not self._ready and not self._eof:
            self._pull()
            if not self._ready and not self._eof:
                await self._readable()
        return self._ready.popleft() if self._ready else None

    def recv_blocking(self, timeout_s: float) -> dict | None:
        """Return the next object, None at end of file; TimeoutError when neither came within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not self._ready and not self._eof:
            self._pull()
            if self._ready or self._eof:
                break
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"no message on the control channel within {timeout_s} s")
            poll = select.poll()
            poll.register(self._fd, select.POLLIN | (select.POLLOUT if self._out else 0))
            poll.poll(left_s * 1000)
            self._push()
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """Close this end and every descriptor that was not taken; repeating is harmless."""
        self._stop_writing()
        self._drop_output()
        while self._in_fds:
            os.close(self._in_fds.popleft())
        self._fd = -1
        self._eof = True
        self._sock.close()

    def _push(self) -> None:
        while self._out:
            data, fds = self._out[0]
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                sent = self._sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self._start_writing()
                return
            except OSError:  # reset or broken pipe: the peer is gone, recv() says so
                self._drop_output()
                return
            for fd in fds:
                os.close(fd)
            if sent == len(data):
                self._out.popleft()
            else:
                self._out[0] = (data[sent:], [])
        self._stop_writing()

    def _pull(self) -> None:
        while not self._eof:
            try:
                data, ancillary, _, _ = self._sock.recvmsg(
                    _READ_BYTES, socket.CMSG_SPACE(_FDS_MAX * 4), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except ConnectionResetError:
                data, ancillary = b"", []
            for level, kind, payload in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    numbers = array.array("i")
                    numbers.frombytes(payload[: len(payload) // numbers.itemsize * numbers.itemsize])
                    self._in_fds.extend(numbers)
            if not data:
                self._eof = True
                return
            self._in += data
            *lines, rest = self._in.split(b"\n")
            self._in = bytearray(rest)
            self._ready.extend(self._decode(line) for line in lines)

    def _decode(self, line: bytes) -> dict:
        obj = json.loads(line)
        if obj.get("fds"):
            obj["fds"] = [self._in_fds.popleft() for _ in range(obj["fds"])]
        return obj

    async def _readable(self) -> None:
        # The bytes are read after the wait and not in the callback, so that a cancelled recv() takes none with it.
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        fd = self._fd
        loop.add_reader(fd, lambda: future.done() or future.set_result(None))
        try:
            await future
        finally:
            loop.remove_reader(fd)

    def _start_writing(self) -> None:
        if self._writing is None:
            try:
                self._writing = asyncio.get_running_loop()
            except RuntimeError:
                return  # no loop: the next send() or recv_blocking() pushes
            self._writing.add_writer(self._fd, self._push)

    def _stop_writing(self) -> None:
        if self._writing is not None:
            self._writing.remove_writer(self._fd)
            self._writing = None

    def _drop_output(self) -> None:
        while self._out:
            for fd in self._out.popleft()[1]:
                os.close(fd)
        self._stop_writing()


def connect_fd(fd: int) -> Channel:
    """Return the channel on an inherited descriptor; it is made close-on-exec, so that no grandchild holds it."""
    os.set_inheritable(fd, False)
    return Channel(socket.socket(fileno=fd))
