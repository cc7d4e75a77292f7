"""A running feed's books as numpy arrays, for a Python shell or a notebook. Reads only; the feed does not notice.

    from hive.shm.views import Books

    books = Books.find()              # of the only feed that runs; Books.segments() lists them
    btc = books["BTC-USDT"]
    btc.state                         # "LIVE", or why it is not to be trusted: "WRITER_DEAD", "RESYNCING", ...
    btc.top()                         # a named tuple: bid, bid_qty, ask, ask_qty, state, age_ns, ...
    bids, asks = btc.sides()          # arrays of shape (levels, 2): price and quantity, best first, of one version
    pandas.DataFrame(btc.frame())     # the same as columns

    with btc.borrow() as view:        # no copy: the arrays are the shared memory itself
        imbalance = view.bid_qty[:5].sum() / view.ask_qty[:5].sum()
        if view.valid:                # only now does the figure count
            print(imbalance)

A feed that is started again makes new segments: what was opened goes on to show the last books of the old one, with
state WRITER_DEAD. `Books.find()` then finds the new one.
"""

from collections.abc import Iterator, Mapping
from types import TracebackType

import numpy as np

from hive.shm.atomics import boottime_ns
from hive.shm.book import SILENT_AFTER_NS, STATE_NAMES, BookDirectory, BookReader
from hive.shm.broadcast import BroadcastReader
from hive.shm.errors import SegmentMissing, ShmError
from hive.shm.instruments import BookSnapshot, InstrumentRules, Top, Trade
from hive.shm.segment import Segment, list_segments

KIND = "books"


class Books(Mapping[str, "Book"]):
    """The books of one venue's feed, by pair; a context manager that unmaps them.

    Made by open() or find().

    Attributes:
        name: the segment's; epoch: of the feed that writes it.
    """

    def __init__(self, segment: Segment, silent_after_ns: int = SILENT_AFTER_NS) -> None:
        self.name = segment.name
        self.epoch = segment.epoch
        self._segment = segment
        self._directory = BookDirectory(segment, silent_after_ns)
        self._books: dict[str, Book] = {}

    @classmethod
    def open(cls, name: str, *, silent_after_ns: int = SILENT_AFTER_NS) -> "Books":
        """Open a books segment by name ("/hive.<run>.books.<venue>.<epoch>").

        Args:
            silent_after_ns: age of the feed's heartbeat from which on its books are WRITER_DEAD.

        Raises:
            SegmentMissing: there is none of that name.
            LayoutMismatch: it is no books segment, or one of another build.
        """
        return cls(Segment.open(name, kind=KIND), silent_after_ns)

    @classmethod
    def find(cls, run: str | None = None, venue: str | None = None) -> "Books":
        """Open the books of the only living feed, or of the one of a run ("8 hex digits") and venue.

        Raises:
            SegmentMissing: there is none, or there are several; the message names them.
        """
        names = cls.segments(run, venue)
        if len(names) != 1:
            what = "no living feed has books" if not names else f"several have books, open one: {', '.join(names)}"
            raise SegmentMissing(what + (f" (run {run})" if run else "") + (f" (venue {venue})" if venue else ""))
        return cls.open(names[0])

    @classmethod
    def segments(cls, run: str | None = None, venue: str | None = None) -> list[str]:
        """Return the names of the books segments whose feed lives, all or those of a run and venue."""
        found = (info for info in list_segments(run) if info.kind == KIND and info.alive)
        return [info.name for info in found if venue is None or venue_of(info.name) == venue]

    @property
    def venue(self) -> str:
        """The venue's name in the fleet file."""
        return venue_of(self.name)

    @property
    def heartbeat_age_s(self) -> float:
        """How long ago the feed last said that it lives, in seconds."""
        return (boottime_ns() - self._segment.heartbeat_boot_ns) / 1e9

    def __getitem__(self, pair: str) -> "Book":
        """Return the book of a pair; KeyError when the feed does not follow it."""
        book = self._books.get(pair)
        if book is None or book.state == "REMOVED":
            reader = self._directory.reader_of(pair)
            if reader is None:
                raise KeyError(f"{pair} is not followed here; these are: {', '.join(self)}")
            book = self._books[pair] = Book(reader, self._segment, self._directory)
        return book

    def __iter__(self) -> Iterator[str]:
        return iter(self._directory.pairs())

    def __len__(self) -> int:
        return len(self._directory.pairs())

    def __repr__(self) -> str:
        return f"<Books {self.name}: {', '.join(self) or 'none yet'}>"

    def trades(self, count: int = 100) -> list[tuple[str, Trade]]:
        """Return up to `count` of the venue's latest trades with their pairs, oldest first.

        Raises SegmentMissing when the feed's trades are gone.
        """
        segment = Segment.open(self.name.replace(f".{KIND}.", ".trades.", 1), kind="trades")
        try:
            trades = BroadcastReader(segment, back=count).drain(count)
        finally:
            segment.close()
        pairs = {self._directory.find(pair): pair for pair in self}
        return [(pairs[trade.slot], trade) for trade in trades if trade.slot in pairs]

    def close(self) -> None:
        """Unmap the segment once no array points into it any more."""
        self._books.clear()
        self._directory = None
        self._segment.close()

    def __enter__(self) -> "Books":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


class Book:
    """One instrument's book; from Books[pair]."""

    def __init__(self, reader: BookReader, segment: Segment, directory: BookDirectory) -> None:
        self._reader = reader
        self._segment = segment
        self._directory = directory

    @property
    def pair(self) -> str:
        """Such as "BTC-USDT"."""
        return self._reader.pair

    @property
    def depth(self) -> int:
        """The most levels per side."""
        return self._reader.depth

    @property
    def state(self) -> str:
        """One of hive.shm.book.STATE_NAMES, as it is now."""
        return STATE_NAMES[self._reader.state_at(boottime_ns())]

    @property
    def rules(self) -> InstrumentRules:
        """What the venue allows for the instrument."""
        return self._directory.rules(self._reader.slot)

    @property
    def last_trade(self) -> float:
        """Price of the latest trade, 0.0 when there was none."""
        return self._reader.last_trade

    def top(self) -> Top | None:
        """Return best prices and quantities with state, age and times, None when there is no book yet."""
        return self._reader.read_top(boottime_ns())

    def copy(self) -> BookSnapshot:
        """Return all levels of the newest version, copied.

        Raises ShmError when there is none to read: the book is empty yet, or removed.
        """
        snapshot = self._reader.copy()
        if snapshot is None:
            raise ShmError(f"{self.pair} has no book to read: it is {self.state}")
        return snapshot

    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (bids, asks) of one version as arrays of shape (levels, 2): price and quantity, best first.

        Raises ShmError as copy().
        """
        book = self.copy()
        return _side(book.bid_px, book.bid_qty), _side(book.ask_px, book.ask_qty)

    @property
    def bids(self) -> np.ndarray:
        """The bids, as sides() has them; ask for both sides at once when they must be of one moment."""
        return self.sides()[0]

    @property
    def asks(self) -> np.ndarray:
        """The asks, as sides() has them."""
        return self.sides()[1]

    def frame(self) -> dict[str, np.ndarray]:
        """Return columns of one version for a data frame: side ("bid", "ask"), level from 0, price, quantity."""
        bids, asks = self.sides()
        levels = np.concatenate([bids, asks])
        return {
            "side": np.repeat(["bid", "ask"], [len(bids), len(asks)]),
            "level": np.concatenate([np.arange(len(bids)), np.arange(len(asks))]),
            "price": levels[:, 0],
            "quantity": levels[:, 1],
        }

    def borrow(self) -> "BorrowedBook":
        """Return the newest version in place: arrays that are the shared memory, to be checked after use.

        Raises ShmError as copy().
        """
        borrowed = self._reader.borrow()
        if borrowed is None:
            raise ShmError(f"{self.pair} has no book to read: it is {self.state}")
        columns = np.frombuffer(self._segment.buffer, "<f8", 4 * borrowed.room, borrowed.offset)
        bid_px, bid_qty, ask_px, ask_qty = columns.reshape(4, borrowed.room)
        bids, asks = borrowed.n_bids, borrowed.n_asks
        arrays = (bid_px[:bids], bid_qty[:bids], ask_px[:asks], ask_qty[:asks])
        return BorrowedBook(self._reader, borrowed.version, STATE_NAMES[borrowed.state], arrays)

    def __repr__(self) -> str:
        return f"<Book {self.pair} {self.state}>"


class BorrowedBook:
    """One version of a book, not copied. What was computed from its arrays counts only if `valid` is true afterwards.

    The writer comes back to the same place after a few versions (`feed.versions`), so the time to use it is short.

    Attributes:
        version; state: as it was published with the version.
        bid_px, bid_qty, ask_px, ask_qty: read-only arrays, best first; they are gone after the `with` block.
    """

    def __init__(self, reader: BookReader, version: int, state: str, arrays: tuple[np.ndarray, ...]) -> None:
        self.version = version
        self.state = state
        self.bid_px, self.bid_qty, self.ask_px, self.ask_qty = arrays
        self._reader = reader

    @property
    def valid(self) -> bool:
        """Whether everything read from the arrays until now was of this version."""
        return self._reader.still_valid(self.version)

    def __enter__(self) -> "BorrowedBook":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bid_px = self.bid_qty = self.ask_px = self.ask_qty = None


def venue_of(segment: str) -> str:
    """Return the venue in the name of a books segment, "" when it is none."""
    parts = segment.removeprefix("/").split(".")
    return ".".join(parts[3:-1]) if len(parts) > 4 and parts[2] == KIND else ""


def _side(prices: object, quantities: object) -> np.ndarray:
    return np.column_stack([np.frombuffer(prices, "<f8"), np.frombuffer(quantities, "<f8")])
