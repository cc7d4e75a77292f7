"""Whole messages go from a WebSocket's frames straight to their reader; any other frame is looked at, in order."""

from dataclasses import dataclass

import pytest

from hive.feed.frames import Frames

TEXT, PONG = object(), object()
LARGEST, PER_TURN = 1_000, 100


@dataclass
class Frame:
    """A frame as the parser shows it; `tail_size` bytes of the same read lie behind it."""

    payload: bytes = b"{}"
    msg_type: object = TEXT
    fin: int = 1
    rsv1: int = 0
    last_in_buffer: int = 1
    tail_size: int = 0

    @property
    def payload_size(self):
        return len(self.payload)

    def get_payload_as_bytes(self):
        return self.payload


class Bench:
    """Frames of one connection, and what became of them."""

    def __init__(self):
        self.messages = []
        self.looked_at = []
        self.asked = 0
        self.frames = Frames(
            lambda raw, read_ns: self.messages.append((raw, read_ns)), self.looked_at.append, self._woke_ns, TEXT,
            largest=LARGEST, per_turn=PER_TURN,
        )  # fmt: skip

    def _woke_ns(self):
        self.asked += 1
        return self.asked * 1_000

    def take(self, *frames):
        for frame in frames:
            self.frames.take(None, frame)


@pytest.fixture
def bench():
    return Bench()


def test_whole_messages_of_one_read_have_the_time_of_one_wake_up(bench):
    bench.take(Frame(b"1", last_in_buffer=0, tail_size=9), Frame(b"2"), Frame(b"3"))
    assert bench.messages == [(b"1", 1_000), (b"2", 1_000), (b"3", 2_000)]
    assert bench.looked_at == []


@pytest.mark.parametrize("frame", [Frame(msg_type=PONG), Frame(fin=0), Frame(rsv1=1)])
def test_what_is_no_whole_message_is_looked_at(bench, frame):
    bench.take(frame, Frame(b"next"))
    assert bench.looked_at == [frame]
    assert bench.messages == [(b"next", 2_000)]


def test_while_another_frame_is_under_way_every_one_is_looked_at(bench):
    bench.frames.busy = True
    bench.take(Frame(b"held"))
    bench.frames.busy = False
    bench.take(Frame(b"next"))
    assert [frame.payload for frame in bench.looked_at] == [b"held"]
    assert bench.messages == [(b"next", 2_000)]


def test_a_read_that_is_too_long_for_one_turn_is_looked_at_frame_by_frame(bench):
    first, last = Frame(b"1", last_in_buffer=0, tail_size=PER_TURN + 7), Frame(b"2")
    bench.take(first, last)
    assert bench.looked_at == [first, last]
    assert (bench.messages, bench.frames.last_tail, bench.frames.read_ns) == ([], 7, 1_000)
    bench.take(Frame(b"3", tail_size=PER_TURN))
    assert bench.messages == [(b"3", 2_000)]


def test_after_a_frame_that_is_too_large_nothing_is_heard_any_more(bench):
    bench.take(Frame(b"x" * LARGEST), Frame(b"x" * (LARGEST + 1)), Frame(b"next"))
    assert [raw for raw, _ in bench.messages] == [b"x" * LARGEST]
    assert bench.looked_at == []
    assert bench.frames.over


def test_after_the_end_nothing_is_heard_any_more(bench):
    bench.take(Frame(b"1", last_in_buffer=0))
    bench.frames.end()
    bench.take(Frame(b"2"), Frame(msg_type=PONG))
    assert bench.messages == [(b"1", 1_000)]
    assert bench.looked_at == []
    assert bench.asked == 1
