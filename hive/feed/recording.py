"""A recording of raw market data: one append-only file, compressed, checksummed, readable up to where it was torn.

    file    MAGIC 8 bytes | version u32 | header bytes u32 | CRC-32 of the header u32 | header: JSON | block ...
    block   "BLK1" | packed bytes u32 | raw bytes u32 | records u32 | kinds u32 | first ns i64 | last ns i64
            | CRC-32 u32 | packed bytes of zlib: records; `kinds` has bit k set when a record of kind k is among them,
            and the CRC-32 covers the block from its marker on
    record  kind u8 | connection u16 | bytes u32 | ns i64 since the start (monotonic) | bytes

    UP, DOWN        a market connection opened; closed, with the reason
    SUBSCRIBED      JSON list of streams that the venue confirmed on it
    UNSUBSCRIBED    JSON list of streams that nobody wanted any more on it
    MESSAGE         one whole WebSocket message, as it came
    ANSWER          HTTP: u32 length of a JSON head {purpose, target, status, used_weight, retry_after_s}, head, body
    DROPPED         JSON {"records": n}: the writer could not keep up, n records are missing here
    END             JSON {"records": n, "dropped": n}: the recorder was closed; without it, it was killed

Everything is little-endian. A block is complete in itself, so a recorder that is killed loses what came after the last
one that it wrote. A file whose last block is cut off or damaged is torn; damage before that is an error.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit, urlunsplit

from hive.feed.errors import FeedError
from hive.feed.venue import HttpAnswer

MAGIC = b"HIVEREC\n"
VERSION = 1
RULES, SNAPSHOT, CANDLES, OTHER = ("rules", "snapshot", "candles", "other")

_FILE_HEAD = struct.Struct("<8sIII")
_BLOCK_HEAD = struct.Struct("<4sIIIIqqI")
_RECORD_HEAD = struct.Struct("<BHIq")
_LENGTH = struct.Struct("<I")
_MARKER = b"BLK1"
HEAD_BYTES = _RECORD_HEAD.size  # of a record
_LARGEST_HEADER = 1 << 20
LARGEST_BLOCK = 1 << 28


class RecordingError(FeedError):
    """A file that is no recording, one of another version, or damaged before its end."""


class Kind(IntEnum):
    """What a record tells."""

    UP = 1
    DOWN = 2
    SUBSCRIBED = 3
    UNSUBSCRIBED = 4
    MESSAGE = 5
    ANSWER = 6
    DROPPED = 7
    END = 8


_KINDS = {int(kind): kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Header:
    """What a recording is of.

    kind is the venue's protocol; started_wall_ns and started_ns (monotonic) are when its first nanosecond was; pairs
    are those that were known to be wanted from the start.
    """

    kind: str
    rest_url: str
    ws_url: str
    started_wall_ns: int
    started_ns: int
    pairs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as the file has it; URLs without user, password and query."""
        return {**asdict(self), "rest_url": without_secrets(self.rest_url), "ws_url": without_secrets(self.ws_url)}


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened, `ns` nanoseconds after the recording began."""

    kind: Kind
    connection: int
    ns: int
    data: bytes

    def value(self) -> Any:
        """Return the JSON of a record that has some: SUBSCRIBED, UNSUBSCRIBED, DROPPED, END."""
        return json.loads(self.data)


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """An HTTP answer and what was asked for: `target` is the path, with its query where that is public."""

    purpose: str
    target: str
    answer: HttpAnswer


def without_secrets(url: str) -> str:
    """Return a URL without user, password, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def target_of(url: str) -> str:
    """Return path and query of a URL."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


# --- writing


def file_head(header: Header) -> bytes:
    """Return what a file begins with."""
    text = json.dumps(header.to_json()).encode()
    return _FILE_HEAD.pack(MAGIC, VERSION, len(text), zlib.crc32(text)) + text


def record_head(kind: Kind, connection: int, size: int, ns: int) -> bytes:
    """Return what comes before the `size` bytes of a record."""
    return _RECORD_HEAD.pack(kind, connection, size, ns)


def pack_answer(purpose: str, target: str, answer: HttpAnswer) -> bytes:
    """Return the bytes of an ANSWER record."""
    head = json.dumps(
        {
            "purpose": purpose,
            "target": target,
            "status": answer.status,
            "used_weight": answer.used_weight,
            "retry_after_s": answer.retry_after_s,
        }
    ).encode()
    return _LENGTH.pack(len(head)) + head + answer.body


def pack_block(raw: bytes, records: int, kinds: int, first_ns: int, last_ns: int, level: int) -> bytes:
    """Return a block of `records` records that are `raw`; compressing lets other threads run."""
    packed = zlib.compress(raw, level)
    head = _BLOCK_HEAD.pack(_MARKER, len(packed), len(raw), records, kinds, first_ns, last_ns, 0)[:-4]
    return head + _LENGTH.pack(zlib.crc32(packed, zlib.crc32(head))) + packed


# --- reading


@dataclass(slots=True)
class Summary:
    """What a whole recording holds."""

    records: int = 0
    first_ns: int = 0
    last_ns: int = 0
    raw_bytes: int = 0
    file_bytes: int = 0
    dropped: int = 0
    torn_bytes: int = 0
    ended: bool = False
    counts: dict[Kind, int] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)  # by purpose
    streams: dict[str, None] = field(default_factory=dict)  # ever subscribed, in order

    @property
    def complete(self) -> bool:
        """Whether nothing is missing from its first record to its last."""
        return self.ended and not self.dropped and not self.torn_bytes


class Recording:
    """A recording's reader; every iteration reads the file from its start.

    Raises RecordingError when the file does not begin as a recording does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn_bytes = 0  # at the end, of no use; known after an iteration
        try:
            with path.open("rb") as file:
                self.header = self._read_header(file)
                self._begins = file.tell()
        except OSError as error:
            raise RecordingError(f"{path}: {error.strerror}") from None

    def __iter__(self) -> Iterator[Record]:
        """Yield every record; ends before a torn tail. Raises RecordingError at damage before the end."""
        for kind, connection, ns, data in self.parts():
            yield Record(_KINDS[kind], connection, ns, data)

    def parts(self, *kinds: Kind) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield (kind, connection, ns, data) of every record, as an iteration does.

        With `kinds`, blocks without any record of these kinds are passed over unread, and unchecked.
        """
        unpack, head_bytes = _RECORD_HEAD.unpack_from, _RECORD_HEAD.size
        for raw in self._blocks(sum(1 << kind for kind in kinds)):
            at = 0
            while at < len(raw):
                kind, connection, size, ns = unpack(raw, at)
                at += head_bytes + size
                yield kind, connection, ns, raw[at - size : at]

    def summary(self) -> Summary:
        """Read all of it and return what it holds. Raises RecordingError as an iteration does."""
        found = Summary(file_bytes=os.path.getsize(self.path))
        for record in self:
            if not found.records:
                found.first_ns = record.ns
            found.records += 1
            found.last_ns = max(found.last_ns, record.ns)
            found.raw_bytes += len(record.data)
            found.counts[record.kind] = found.counts.get(record.kind, 0) + 1
            if record.kind is Kind.ANSWER:
                purpose = unpack_answer(record.data).purpose
                found.answers[purpose] = found.answers.get(purpose, 0) + 1
            elif record.kind is Kind.SUBSCRIBED:
                found.streams.update(dict.fromkeys(record.value()))
            elif record.kind is Kind.DROPPED:
                found.dropped += record.value()["records"]
            found.ended = record.kind is Kind.END
        found.torn_bytes = self.torn_bytes
        return found

    def _read_header(self, file: BinaryIO) -> Header:
        head = file.read(_FILE_HEAD.size)
        if len(head) < _FILE_HEAD.size or head[: len(MAGIC)] != MAGIC:
            raise RecordingError(f"{self.path} is no recording of market data")
        _, version, size, checksum = _FILE_HEAD.unpack(head)
        if version != VERSION:
            raise RecordingError(f"{self.path} has format version {version}, this build reads {VERSION}")
        text = file.read(min(size, _LARGEST_HEADER))
        if len(text) != size or zlib.crc32(text) != checksum:
            raise RecordingError(f"{self.path}: the header is damaged")
        fields = json.loads(text)
        return Header(**{**fields, "pairs": tuple(fields["pairs"])})

    def _blocks(self, wanted: int = 0) -> Iterator[bytes]:
        """Yield the records of each block (with one of the kinds `wanted`, if given), still packed together."""
        self.torn_bytes = 0
        with self.path.open("rb") as file:
            end = os.fstat(file.fileno()).st_size
            file.seek(self._begins)
            at = self._begins
            while at < end:
                raw, next_at = self._block(file, at, end, wanted)
                if raw is None:
                    self.torn_bytes = end - at
                    return
                if raw:
                    yield raw
                at = next_at

    def _block(self, file: BinaryIO, at: int, end: int, wanted: int) -> tuple[bytes | None, int]:
        """Return a block's records (none, if it has nothing wanted) and where the next begins; None at a torn tail."""
        head = file.read(_BLOCK_HEAD.size)
        if len(head) < _BLOCK_HEAD.size:
            return None, end
        marker, packed_bytes, raw_bytes, _, kinds, _, _, checksum = _BLOCK_HEAD.unpack(head)
        next_at = at + _BLOCK_HEAD.size + packed_bytes
        if marker == _MARKER and next_at > end:
            return None, end
        if marker != _MARKER or raw_bytes > LARGEST_BLOCK:
            if not head.strip(b"\0") and not file.read(1 << 16).strip(b"\0"):
                return None, end  # room that a file system had given and nobody wrote
            raise RecordingError(f"{self.path}: damaged at byte {at}")
        if wanted and not kinds & wanted:
            file.seek(next_at)
            return b"", next_at
        packed = file.read(packed_bytes)
        if zlib.crc32(packed, zlib.crc32(head[:-4])) != checksum:
            if next_at == end:
                return None, end
            raise RecordingError(f"{self.path}: damaged at byte {at}")
        return zlib.decompress(packed, bufsize=max(1, raw_bytes)), next_at


def unpack_answer(data: bytes) -> RecordedAnswer:
    """Return what an ANSWER record holds."""
    (size,) = _LENGTH.unpack_from(data)
    head = json.loads(data[_LENGTH.size : _LENGTH.size + size])
    answer = HttpAnswer(head["status"], data[_LENGTH.size + size :], head["used_weight"], head["retry_after_s"])
    return RecordedAnswer(head["purpose"], head["target"], answer)


def replay_messages(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (ns since the start, message) of every market message of a recording, as fast as they are taken."""
    wanted = int(Kind.MESSAGE)
    for kind, _, ns, data in Recording(path).parts():
        if kind == wanted:
            yield ns, data
