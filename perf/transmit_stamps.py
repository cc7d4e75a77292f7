"""When the kernel handed what a TCP socket sent to the network device, by its own time stamps.

    send() ── TCP, IP ──▶ device: stamped ── over loopback: TCP of the other end, in the same breath ──▶ readable there

Over loopback the stamp lies a few microseconds before the other end's socket is readable, and behind most of the work
of the sending side. Of what waits for the other end's window the stamp comes when it goes.

Source: Documentation/networking/timestamping.rst of the Linux kernel.
"""

import errno
import socket
import struct
import time

SO_TIMESTAMPING = SCM_TIMESTAMPING = 37  # asm-generic/socket.h
TX_SOFTWARE, SOFTWARE, OPT_ID, OPT_TSONLY, OPT_ID_TCP = 1 << 1, 1 << 4, 1 << 7, 1 << 11, 1 << 16  # linux/net_tstamp.h
FLAGS = TX_SOFTWARE | SOFTWARE | OPT_ID | OPT_TSONLY | OPT_ID_TCP
STAMP = struct.Struct("@qq")  # of three in SCM_TIMESTAMPING: seconds, nanoseconds (CLOCK_REALTIME)
EXTENDED_ERROR = struct.Struct("@IBBBBII")  # struct sock_extended_err; the last is the stamp's number
COUNTER = 1 << 32
ANCILLARY_BYTES = 512
PAIRS = 200  # of the two clocks, of which the closest tells how far they are apart
STEADY_NS = 20_000


def clocks_apart_ns() -> int:
    """Return CLOCK_REALTIME - CLOCK_MONOTONIC; it changes only when somebody sets the time."""
    best = None
    for _ in range(PAIRS):
        before = time.monotonic_ns()
        wall = time.time_ns()
        took = time.monotonic_ns() - before
        if best is None or took < best[0]:
            best = took, wall - before - took // 2
    return best[1]


class TransmitStamps:
    """The stamps of everything that is sent on `connection` until close(). One thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._apart_ns = clocks_apart_ns()
        self._taken: dict[int, int] = {}
        connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, 0)
        connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, FLAGS)

    def collect(self) -> None:
        """Take what stamps there are; does not wait."""
        while True:
            try:
                _, ancillary, _, _ = self._connection.recvmsg(
                    0, ANCILLARY_BYTES, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                return
            at_ns = number = None
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, SCM_TIMESTAMPING):
                    seconds, ns = STAMP.unpack_from(data)
                    at_ns = seconds * 1_000_000_000 + ns
                else:
                    error, *_, number = EXTENDED_ERROR.unpack_from(data)
                    if error != errno.ENOMSG:
                        raise OSError(error, "the connection failed")
            self._taken[number] = at_ns - self._apart_ns

    def of(self, sent_bytes: int) -> int:
        """Return the stamp of the send whose last byte was that many bytes in (CLOCK_MONOTONIC); 0: there is none."""
        return self._taken.get((sent_bytes - 1) % COUNTER, 0)

    def close(self) -> None:
        """Stamp no more. Raises RuntimeError when the time was set meanwhile: the stamps are not to be believed."""
        self._connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, 0)
        moved_ns = clocks_apart_ns() - self._apart_ns
        if abs(moved_ns) > STEADY_NS:
            raise RuntimeError(f"CLOCK_REALTIME was moved by {moved_ns} ns while stamps were taken")
