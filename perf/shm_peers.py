"""A book of 20 levels from process to process and back, over what Python has for that: one way, in ns.

From the sender's columns to the receiver's. Each peer is used as fast as its own Python interface goes: it polls
without sleeping, on a CPU of its own. A peer that is not installed is left out by name: pyzmq comes with the
extra `dev`, iceoryx2 with `peers` (`pip install -e .[peers]`, where it has a wheel).
"""

import ctypes
import secrets
import statistics
import struct
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import Lock, shared_memory
from pathlib import Path

from children import Child
from harness import check

try:
    import zmq
except ImportError:
    zmq = None
try:
    import iceoryx2
except ImportError:
    iceoryx2 = None

WORDS = 11 + 4 * 20  # as in a version of Hive's book
BOOK_BYTES = 8 * WORDS
HEAD = struct.Struct("<11q")
NUMBER = struct.Struct("<q")
REST_OF_HEAD = tuple(range(10))
COLUMNS = [array("d", range(20)) for _ in range(4)]
RUN = 100
GIVE_UP_S = 20.0
HELLO = -1
WARM_UP = 20

type Transfer = tuple[Callable[[bytes], None], Callable[[], bytes | None]]  # send; receive, None when nothing came


def book(number: int) -> bytes:
    """Return the bytes of a book, the update's number first: what the sender makes of its columns."""
    return HEAD.pack(number, *REST_OF_HEAD) + b"".join(COLUMNS)


def number_of(data: bytes) -> int:
    """Return the number of a book's update."""
    return NUMBER.unpack_from(data)[0]


def columns_of(data: bytes) -> array:
    """Return the numbers of a book: what the receiver is there for."""
    columns = array("d")
    columns.frombytes(data[HEAD.size :])
    return columns


def one_way_ns(open_ends: Callable[[], "Ends"], rounds: int, cpus: list[int]) -> float:
    """Return the time one way, the median of runs of RUN round trips; `rounds` is a multiple of RUN.

    Raises TimeoutError when the other end does not answer.
    """
    with ExitStack() as stack:
        ends = open_ends()
        stack.callback(ends.close)
        child = stack.enter_context(Child(_answer, ends, rounds, cpu=cpus[1]))
        with ends.asking() as (send, receive):
            while not _came(receive, HELLO, 0.05):  # what is sent before the other end is there may be lost
                send(book(HELLO))
                if child.ended(0):
                    raise RuntimeError("the other end could not be opened")
            for number in range(WARM_UP):
                send(book(number))
                _await(receive, number)
            took = []
            for first in range(WARM_UP, WARM_UP + rounds, RUN):
                begun = time.perf_counter_ns()
                for number in range(first, first + RUN):
                    send(book(number))
                    columns = columns_of(_await(receive, number))
                took.append((time.perf_counter_ns() - begun) / RUN)
                check(columns[-1] == COLUMNS[-1][-1], "another book came than was sent")
            child.wait(GIVE_UP_S)
    return statistics.median(took) / 2


def _came(receive: Callable[[], bytes | None], number: int, within_s: float) -> bytes | None:
    deadline = time.monotonic() + within_s
    spins = 0
    while (data := receive()) is None or number_of(data) != number:
        spins += 1
        if spins % 256 == 0 and time.monotonic() > deadline:
            return None
    return data


def _await(receive: Callable[[], bytes | None], number: int) -> bytes:
    data = _came(receive, number, GIVE_UP_S)
    if data is None:
        raise TimeoutError(f"book {number} did not come")
    return data


def _answer(ends: "Ends", rounds: int) -> None:
    """Send every new book back, and every greeting."""
    last = None
    deadline = time.monotonic() + GIVE_UP_S + rounds * 1e-3
    with ends.answering() as (send, receive):
        while last != WARM_UP + rounds - 1:
            data = receive()
            if data is not None and ((number := number_of(data)) != last or number == HELLO) and number >= HELLO:
                columns_of(data)
                send(book(number))
                last = number
            elif last in (None, HELLO) and time.monotonic() > deadline:
                raise TimeoutError("nobody asks")


class Ends:
    """The two ends of a transport; asking() is entered by the script, answering() by its child, after the fork."""

    def asking(self):
        """Enter the end that asks: a context manager of a Transfer."""
        raise NotImplementedError

    def answering(self):
        """Enter the end that answers."""
        raise NotImplementedError

    def close(self) -> None:
        """Remove what was made before the fork."""


class LockedMemory(Ends):
    """multiprocessing: two buffers in a SharedMemory, each under a Lock."""

    def __init__(self) -> None:
        self._shared = shared_memory.SharedMemory(create=True, size=2 * 4096)
        self._locks = (Lock(), Lock())
        for side in (0, 1):
            self._shared.buf[side * 4096 : side * 4096 + BOOK_BYTES] = book(-1000)

    @contextmanager
    def _end(self, out: int) -> Iterator[Transfer]:
        buffer = self._shared.buf
        sent, came = self._locks[out], self._locks[1 - out]
        to, there = slice(out * 4096, out * 4096 + BOOK_BYTES), slice((1 - out) * 4096, (1 - out) * 4096 + BOOK_BYTES)

        def send(data: bytes) -> None:
            with sent:
                buffer[to] = data

        def receive() -> bytes:
            with came:
                return bytes(buffer[there])

        yield send, receive

    def asking(self):
        return self._end(0)

    def answering(self):
        return self._end(1)

    def close(self) -> None:
        self._shared.close()
        self._shared.unlink()


class ZmqIpc(Ends):
    """pyzmq: a PAIR over ipc, polled."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hive-perf-")
        self._address = f"ipc://{self._folder.name}/books"

    @contextmanager
    def _end(self, binds: bool) -> Iterator[Transfer]:
        with zmq.Context() as context, context.socket(zmq.PAIR) as socket:
            socket.linger = 0
            (socket.bind if binds else socket.connect)(self._address)

            def receive() -> bytes | None:
                try:
                    return socket.recv(zmq.NOBLOCK)
                except zmq.Again:
                    return None

            yield socket.send, receive
            if not binds:
                time.sleep(0.05)  # the last answer is still on its way

    def asking(self):
        return self._end(True)

    def answering(self):
        return self._end(False)

    def close(self) -> None:
        self._folder.cleanup()


class _IceoryxBook(ctypes.Structure):
    _fields_ = [("words", ctypes.c_int64 * WORDS)]

    @staticmethod
    def type_name() -> str:
        return "Book20"


class Iceoryx(Ends):
    """iceoryx2: a publish-subscribe service each way, polled."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hive-perf-")
        self._prefix = f"hiveperf{secrets.token_hex(4)}_"

    @contextmanager
    def _end(self, out: str, back: str) -> Iterator[Transfer]:
        iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
        config = iceoryx2.config.default()  # files of its own, to be removed whatever it leaves
        config.global_cfg.prefix = iceoryx2.FileName.new(self._prefix)
        config.global_cfg.root_path = iceoryx2.Path.new(self._folder.name)
        node = iceoryx2.NodeBuilder.new().config(config).create(iceoryx2.ServiceType.Ipc)

        def service(way: str):
            name = iceoryx2.ServiceName.new(way)
            return node.service_builder(name).publish_subscribe(_IceoryxBook).history_size(1).open_or_create()

        publisher = service(out).publisher_builder().create()
        subscriber = service(back).subscriber_builder().create()

        def send(data: bytes) -> None:
            publisher.loan_uninit().write_payload(_IceoryxBook.from_buffer_copy(data)).send()

        def receive() -> bytes | None:
            sample = subscriber.receive()
            return None if sample is None else bytes(sample.payload().contents)

        yield send, receive
        time.sleep(0.05)  # the last answer is still on its way

    def asking(self):
        return self._end("there", "back")

    def answering(self):
        return self._end("back", "there")

    def close(self) -> None:
        for left in Path("/dev/shm").glob(f"{self._prefix}*"):
            left.unlink()
        self._folder.cleanup()


def peers() -> dict[str, Callable[[], Ends] | None]:
    """Return what opens each peer, None for one that is not installed."""
    return {
        "multiprocessing.shared_memory + Lock": LockedMemory,
        "pyzmq ipc": ZmqIpc if zmq else None,
        "iceoryx2": Iceoryx if iceoryx2 else None,
    }
