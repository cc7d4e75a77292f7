"""Recordings: what goes in comes out, whatever tears the file; a recorder never waits and says what it lost."""

import json
import os
import random
import signal
import struct
import threading
from pathlib import Path

import pytest

import forks
from hive.feed.binance import BinanceSpot
from hive.feed.recorder import BLOCK_BYTES, Recorder, open_new, purpose_of
from hive.feed.recording import (
    CANDLES,
    OTHER,
    RULES,
    SNAPSHOT,
    Header,
    Kind,
    Recording,
    RecordingError,
    replay_messages,
    unpack_answer,
)
from hive.feed.venue import HttpAnswer, Request

VENUE = BinanceSpot("http://127.0.0.1:1")
HEADER = Header("binance", "http://127.0.0.1:1", "ws://127.0.0.1:1/ws", 1_700_000_000_000_000_000, 5_000, ("BTC-USDT",))


class Clock:
    """Monotonic nanoseconds that stand still unless told."""

    def __init__(self):
        self.ns = 5_000

    def __call__(self):
        return self.ns


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "market.rec"


def recorder(path, clock, **options):
    return Recorder(path, HEADER, VENUE, clock=clock, **options)


def messages(count, size=300):
    rng = random.Random(7)
    return [b'{"u":%d,"p":"%s"}' % (n, rng.randbytes(size // 2).hex().encode()) for n in range(count)]


def record(path, clock, sent):
    made = recorder(path, clock)
    tap = made.connection()
    tap.on_up()
    for n, one in enumerate(sent):
        tap.on_message(one, clock.ns + n)
    made.close()
    return made


def test_everything_comes_back_in_order_with_its_time(path, clock):
    made = recorder(path, clock)
    first, second = made.connection(), made.connection()
    first.on_up()
    clock.ns += 10
    second.on_up()
    first.on_subscribed(["a@depth", "a@trade"])
    first.on_message(b"one", clock.ns + 5)
    second.on_message(b"", clock.ns + 6)
    clock.ns += 10
    made.on_answer(
        Request("http://127.0.0.1:1/api/v3/depth?symbol=A&limit=100", 5), HttpAnswer(200, b"{}", 17, 0.0)
    )
    first.on_down("closed by the venue")
    made.close()
    read = Recording(path)
    assert read.header == HEADER
    records = list(read)
    assert [(one.kind, one.connection, one.ns, one.data) for one in records[:5]] == [
        (Kind.UP, 1, 0, b""),
        (Kind.UP, 2, 10, b""),
        (Kind.SUBSCRIBED, 1, 10, b'["a@depth", "a@trade"]'),
        (Kind.MESSAGE, 1, 15, b"one"),
        (Kind.MESSAGE, 2, 16, b""),
    ]
    answer = unpack_answer(records[5].data)
    assert (answer.purpose, answer.target, answer.answer) == (
        SNAPSHOT,
        "/api/v3/depth?symbol=A&limit=100",
        HttpAnswer(200, b"{}", 17, 0.0),
    )
    assert (records[6].kind, records[6].data) == (Kind.DOWN, b"closed by the venue")
    assert records[7].value() == {"records": 7, "dropped": 0}
    summary = read.summary()
    assert summary.complete
    assert (summary.records, summary.answers, list(summary.streams)) == (8, {SNAPSHOT: 1}, ["a@depth", "a@trade"])


def test_messages_are_read_in_a_row(path, clock):
    sent = messages(3_000)
    record(path, clock, sent)
    assert [data for _, data in replay_messages(path)] == sent
    assert [ns for ns, _ in replay_messages(path)] == list(range(3_000))


def test_secrets_of_addresses_do_not_reach_the_file(path, clock):
    header = Header("binance", "https://me:secret@host/api?key=secret", "wss://host/ws/secret?x=secret#secret", 1, 2)
    made = Recorder(path, header, VENUE, clock=clock)
    made.on_answer(Request("http://h/api/v3/userDataStream?listenKey=secret", 2), HttpAnswer(200, b"", -1, 0.0))
    made.close()
    read = Recording(path)
    assert (read.header.rest_url, read.header.ws_url) == ("https://host/api", "wss://host/ws/secret")
    answer = unpack_answer(next(iter(read)).data)
    assert (answer.purpose, answer.target) == (OTHER, "/api/v3/userDataStream")


def test_requests_are_known_by_their_path():
    assert purpose_of(VENUE, VENUE.rules_requests(["A", "B"])[0].url) == RULES
    assert purpose_of(VENUE, VENUE.snapshot_request("A", 5_000).url) == SNAPSHOT
    assert purpose_of(VENUE, VENUE.klines_request("A", "1h", 9, 77).url) == CANDLES
    assert purpose_of(VENUE, "http://h/else") == OTHER


def test_a_file_torn_anywhere_keeps_every_block_before(path, clock, tmp_path):
    sent = messages(4_000)
    record(path, clock, sent)
    whole = path.read_bytes()
    torn = tmp_path / "torn.rec"
    rng = random.Random(1)
    lengths = set()
    for cut in sorted(rng.sample(range(400, len(whole)), 40)):
        torn.write_bytes(whole[:cut])
        read = [data for _, data in replay_messages(torn)]
        assert read == sent[: len(read)]
        lengths.add(len(read))
        summary = Recording(torn).summary()
        assert not summary.complete
        assert summary.torn_bytes < BLOCK_BYTES
    assert len(lengths) > 3, "the sample reaches several blocks"


def test_a_damaged_last_block_and_unwritten_room_count_as_torn(path, clock):
    sent = messages(4_000)
    record(path, clock, sent)
    whole = bytearray(path.read_bytes())
    whole[-3] ^= 0xFF
    path.write_bytes(whole)
    damaged = Recording(path).summary()
    assert damaged.torn_bytes > 0
    assert not damaged.ended
    path.write_bytes(bytes(whole[:-20]) + bytes(4096))
    with pytest.raises(RecordingError, match="damaged at byte"):
        Recording(path).summary()


def test_room_that_nobody_wrote_ends_a_recording(path, clock):
    record(path, clock, messages(10))
    path.write_bytes(path.read_bytes() + bytes(8192))
    summary = Recording(path).summary()
    assert summary.torn_bytes == 8192
    assert summary.counts[Kind.MESSAGE] == 10


@pytest.mark.parametrize("at", [300, 5_000, 200_000])
def test_damage_before_the_end_is_an_error(path, clock, at):
    record(path, clock, messages(4_000))
    whole = bytearray(path.read_bytes())
    whole[at] ^= 0x10
    path.write_bytes(whole)
    with pytest.raises(RecordingError, match="damaged"):
        Recording(path).summary()


def test_files_that_are_no_recordings_are_refused_with_the_reason(path, clock, tmp_path):
    with pytest.raises(RecordingError, match="No such file"):
        Recording(path)
    path.write_bytes(b"")
    with pytest.raises(RecordingError, match="is no recording"):
        Recording(path)
    path.write_bytes(b"x" * 1_000)
    with pytest.raises(RecordingError, match="is no recording"):
        Recording(path)
    record(tmp_path / "good.rec", clock, [])
    good = (tmp_path / "good.rec").read_bytes()
    path.write_bytes(good[:8] + struct.pack("<I", 9) + good[12:])
    with pytest.raises(RecordingError, match="format version 9, this build reads 1"):
        Recording(path)
    path.write_bytes(good[:40] + b"!" + good[41:])
    with pytest.raises(RecordingError, match="header is damaged"):
        Recording(path)


def test_a_file_that_exists_is_never_written_over(path, clock):
    path.write_text("precious")
    made = record(path, clock, [b"x"])
    assert path.read_text() == "precious"
    assert made.path.name == "market.rec.1"
    assert made.path.stat().st_mode & 0o777 == 0o600
    another, fd = open_new(path)
    os.close(fd)
    assert another.name == "market.rec.2"


class Stuck:
    """A file whose writes wait until they are let through."""

    def __init__(self, file):
        self._file = file
        self.open = threading.Event()

    def write(self, data):
        self.open.wait(60)
        return self._file.write(data)

    def close(self):
        self._file.close()


def test_what_the_thread_cannot_take_is_dropped_counted_and_said_at_its_place(path, clock):
    told, again = [], []
    made = recorder(path, clock, room_bytes=2 * BLOCK_BYTES)
    made.on_incomplete = lambda: again.append(True)
    made.tell = lambda level, text: told.append((level, text))
    made._file = stuck = Stuck(made._file)
    tap = made.connection()
    tap.on_up()
    tap.on_subscribed(["a@depth"])
    sent = messages(6_000)
    for n, one in enumerate(sent[:5_000]):
        tap.on_message(one, clock.ns + n)
    dropped = made.state.dropped
    assert 0 < dropped < 5_000
    stuck.open.set()
    while made._done < made._queued:
        pass
    for n, one in enumerate(sent[5_000:]):
        tap.on_message(one, clock.ns + 5_000 + n)
    made.close()
    summary = Recording(path).summary()
    assert summary.dropped == dropped == made.state.dropped
    assert summary.ended
    assert not summary.complete
    kinds = [one.kind for one in Recording(path)]
    at = kinds.index(Kind.DROPPED)
    assert kinds[at : at + 3] == [Kind.DROPPED, Kind.UP, Kind.SUBSCRIBED], "what follows can be understood without it"
    read = [one.data for one in Recording(path) if one.kind is Kind.MESSAGE]
    before = kinds[:at].count(Kind.MESSAGE)
    assert read[:before] == sent[:before]
    assert read[before:] == sent[before + dropped :]
    assert again == [True]
    assert told == [("warning", f"the recording lost {dropped} records: its file could not be written fast enough")]


class Full:
    """A file on a disk without room."""

    def __init__(self, file):
        self._file = file

    def write(self, data):
        raise OSError(28, "No space left on device")

    def close(self):
        self._file.close()


def test_a_full_disk_ends_the_recording_and_not_the_feed(path, clock):
    made = recorder(path, clock)
    made._file = Full(made._file)
    tap = made.connection()
    tap.on_up()
    for one in messages(3_000):
        tap.on_message(one, clock.ns)
    made.close()
    assert made.state.failure == f"{path}: No space left on device"
    assert Recording(path).summary().records == 0


def test_a_killed_recorder_leaves_a_file_that_can_be_read(path):
    def record_and_die():
        made = Recorder(path, HEADER, VENUE)
        tap = made.connection()
        tap.on_up()
        for one in messages(4_000):
            tap.on_message(one, 0)
        made.flush()
        while made._done < made._queued:
            pass
        for one in messages(10):
            tap.on_message(one, 0)
        os.kill(os.getpid(), signal.SIGKILL)

    with forks.Forked(record_and_die) as child:
        assert child.wait(60) == -signal.SIGKILL
    summary = Recording(path).summary()
    assert summary.counts[Kind.MESSAGE] == 4_000
    assert not summary.ended
    assert [data for _, data in replay_messages(path)] == messages(4_000)


def test_the_head_of_a_file_can_be_read_by_eye(path, clock):
    record(path, clock, [])
    text = Path(path).read_bytes()[20:].split(b"BLK1")[0]
    assert json.loads(text)["pairs"] == ["BTC-USDT"]
