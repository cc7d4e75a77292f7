"""Segments with books for the measuring scripts: Hive's, the rival's, and words that processes talk by."""

import secrets
import struct
from decimal import Decimal

from hive.shm.arena import version_bytes
from hive.shm.book import BookDirectory, BookReader, BookTable, BookWriter, books_size
from hive.shm.instruments import InstrumentRules
from hive.shm.layout import BOOK_TABLE_HEADER
from hive.shm.segment import Segment, segment_name
from native import loops

RULES = InstrumentRules("A-USDT", "AUSDT", "A", "USDT", *[Decimal(1)] * 5)
VERSIONS = 8
PAIR_OF_LINES = 128


class Rig:
    """Makes segments and removes them all at the end; a context manager."""

    def __init__(self) -> None:
        self.run = secrets.token_hex(4)
        self._segments: list[Segment] = []

    def __enter__(self) -> "Rig":
        return self

    def __exit__(self, *_: object) -> None:
        for segment in self._segments:
            segment.unlink()
            segment.close()

    def segment(self, name: str, size: int, kind: str = "perf") -> Segment:
        """Return a new segment."""
        made = Segment.create(segment_name(self.run, name, 1), size, kind=kind, epoch=1)
        self._segments.append(made)
        return made

    def book(self, name: str, depth: int = loops.LEVELS, versions: int = VERSIONS) -> tuple[BookWriter, BookReader]:
        """Return the writer and a reader of a book in a segment of its own."""
        segment = self.segment(name, books_size(1, depth, versions), "books")
        table = BookTable(segment, 1, depth, versions)
        return table.writer(table.add(RULES)), BookDirectory(segment).reader(0)

    def rival(self, name: str) -> loops.Rival:
        """Return the rival's book, in as many bytes and at the same place of its segment as Hive's."""
        segment = self.segment(name, books_size(1, loops.LEVELS, VERSIONS), "rival")
        shape = self.segment(f"{name}-shape", books_size(1, loops.LEVELS, VERSIONS), "books")
        BookTable(shape, 1, loops.LEVELS, VERSIONS)
        at = shape.payload_offset + BOOK_TABLE_HEADER.offset("arena_offset")
        (offset,) = struct.unpack_from("<Q", shape.buffer, at)
        return loops.Rival(segment.memory(), offset, version_bytes(loops.LEVELS), VERSIONS)

    def words(self, name: str, count: int) -> "Words":
        """Return `count` words, each far from the others."""
        return Words(self.segment(name, 4096 + count * PAIR_OF_LINES, "words"), count)


class Words:
    """Words in shared memory, one to a pair of lines: what processes tell each other besides books."""

    def __init__(self, segment: Segment, count: int) -> None:
        self.memory = segment.memory()
        self.count = count

    def at(self, index: int) -> int:
        """Return the offset of a word."""
        return 4096 + index * PAIR_OF_LINES

    def get(self, index: int) -> int:
        """Return a word's value."""
        return self.memory.load(self.at(index))

    def set(self, index: int, value: int) -> None:
        """Store a word's value."""
        self.memory.store(self.at(index), value)
