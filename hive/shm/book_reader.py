"""Reading one instrument's book in pure Python, the twin of book_reader.pyx: the newest version, whole or not at all.

The protocol and the layout are in book.pyx; atomics.py says why plain loads keep its order.
"""

from array import array
from math import nan

from hive.shm.atomics import Memory
from hive.shm.book_writer import GENERATION, HEAD, LAST_TRADE, LEVELS_AT, STATE_NS, TOP, TOP_AT
from hive.shm.instruments import BookSnapshot, Borrowed, Top
from hive.shm.layout import INSTRUMENT_RECORD, SEGMENT_HEADER

# A try fails only when the writer laps all versions during one copy, or died there: then more tries do not help.
READ_TRIES = 64
OK, NOTHING_YET, NOT_WHOLE, TOO_SHALLOW, GONE = 1, 0, -1, -2, -3  # as in book_reader.pxd
REMOVED, WRITER_DEAD = 5, 6  # as in book.py

_RECORD_GENERATION = INSTRUMENT_RECORD.offset("generation") >> 3
_HEARTBEAT, _HEARTBEAT_BOOT, _BOOT_OFFSET = (
    SEGMENT_HEADER.offset(name) >> 3 for name in ("heartbeat_ns", "heartbeat_boot_ns", "boot_offset_ns")
)


class BookCopy:
    """A private copy of one version of a book, allocated once for `depth` levels per side.

    Attributes:
        version, state, epoch, update_id, exchange_ns, recv_ns, local_ns, bid, best_bid_qty, ask, best_ask_qty, n_bids,
        n_asks, and the arrays bid_px, bid_qty, ask_px, ask_qty, of which the first n_bids and n_asks values are set.
        `state` is the book's as it was published with this version, whether its writer lives or not.
    """

    __slots__ = (
        *("ask", "ask_px", "ask_qty", "best_ask_qty", "best_bid_qty", "bid", "bid_px", "bid_qty", "depth", "epoch"),
        *("exchange_ns", "local_ns", "n_asks", "n_bids", "recv_ns", "state", "update_id", "version", "_columns"),
    )

    def __init__(self, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"depth must be >= 1, was {depth}")
        self.depth = depth
        self.bid_px, self.bid_qty, self.ask_px, self.ask_qty = (array("d", bytes(8 * depth)) for _ in range(4))
        self._columns = tuple(map(memoryview, (self.bid_px, self.bid_qty, self.ask_px, self.ask_qty)))
        self.version = self.state = self.epoch = 0
        self.update_id = self.exchange_ns = self.recv_ns = self.local_ns = 0
        self.bid = self.ask = nan
        self.best_bid_qty = self.best_ask_qty = 0.0
        self.n_bids = self.n_asks = 0

    def snapshot(self) -> BookSnapshot:
        """Return the copy as a BookSnapshot."""
        return BookSnapshot(
            self.version,
            self.update_id,
            self.exchange_ns,
            self.recv_ns,
            self.local_ns,
            self.bid_px[: self.n_bids],
            self.bid_qty[: self.n_bids],
            self.ask_px[: self.n_asks],
            self.ask_qty[: self.n_asks],
            self.state,
            self.epoch,
        )


class BookReader:
    """Reads one instrument's book; from BookDirectory.reader(). Any number of these, in any process.

    Attributes:
        pair, slot, generation, epoch: whose book it is; depth: levels per side.
        silent_after_ns: age of the writer's heartbeat (CLOCK_BOOTTIME) from which on the book is WRITER_DEAD.
    """

    __slots__ = (
        *("depth", "epoch", "generation", "pair", "room", "silent_after_ns", "slot"),
        *("_base", "_book", "_cell_bytes", "_cells", "_mask", "_memory", "_record"),
    )

    def __init__(self) -> None:
        raise TypeError("a BookReader comes from BookDirectory.reader()")

    def _newest(self) -> tuple[int, int, int]:
        """Return (OK, head, offset of the cell) of the newest version, finished when it was looked at, or why not."""
        words = self._memory.words
        head = words[self._book + HEAD]  # acquire: pairs with the stores of the head in book_writer.py and book.py
        # After the head: a head of this place's next instrument comes with that one's generation.
        if words[self._book + GENERATION] != self.generation:
            return GONE, 0, 0
        n = head >> 8
        if n <= self._base:
            return NOTHING_YET, 0, 0
        cell = self._cells + (n & self._mask) * self._cell_bytes
        if words[cell >> 3] != 2 * n + 2:  # acquire: pairs with the store of the finished seq in c_publish()
            return NOT_WHOLE, 0, 0
        return OK, head, cell

    def _still(self, cell: int, n: int) -> bool:
        """Return whether all that was read from the cell until now is of version n."""
        return self._memory.words[cell >> 3] == 2 * n + 2  # pairs with the store of the odd seq in c_publish()

    def _read(self) -> tuple[int, int, tuple]:
        """Return (OK, head, fields of TOP) of the newest version, or why not."""
        octets = self._memory.octets
        for _ in range(READ_TRIES):
            status, head, cell = self._newest()
            if status == OK:
                fields = TOP.unpack_from(octets, cell + TOP_AT)
                if self._still(cell, head >> 8):
                    return OK, head, fields
            elif status != NOT_WHOLE:
                return status, 0, ()
        return NOT_WHOLE, 0, ()

    def copy_into(self, into: BookCopy) -> int:
        """Copy the newest version into `into`.

        Returns 1, 0 nothing yet, -1 none whole, -2 `into` is too shallow, -3 the instrument was removed.
        """
        depth, room = self.depth, self.room
        if into.depth < depth:
            return TOO_SHALLOW
        octets, doubles = self._memory.octets, self._memory.doubles
        for _ in range(READ_TRIES):
            status, head, cell = self._newest()
            if status == NOT_WHOLE:
                continue
            if status != OK:
                return status
            fields = TOP.unpack_from(octets, cell + TOP_AT)
            n_bids, n_asks = fields[9], fields[10]
            if n_bids > depth or n_asks > depth:  # a torn count must not lead outside
                continue
            level = cell + LEVELS_AT >> 3
            bid_px, bid_qty, ask_px, ask_qty = into._columns
            bid_px[:n_bids] = doubles[level : level + n_bids]
            bid_qty[:n_bids] = doubles[level + room : level + room + n_bids]
            ask_px[:n_asks] = doubles[level + 2 * room : level + 2 * room + n_asks]
            ask_qty[:n_asks] = doubles[level + 3 * room : level + 3 * room + n_asks]
            if not self._still(cell, head >> 8):
                continue
            into.version = head >> 8
            into.state = head & 0xFF
            into.update_id, into.exchange_ns, into.local_ns = fields[:3]
            into.bid, into.best_bid_qty, into.ask, into.best_ask_qty = fields[3:7]
            into.n_bids, into.n_asks, into.epoch, into.recv_ns = fields[9:]
            return OK
        return NOT_WHOLE

    def _judged(self, state: int, now_boot_ns: int) -> int:
        if state != REMOVED and now_boot_ns - self.heartbeat_boot_ns > self.silent_after_ns:
            return WRITER_DEAD
        return state

    def read_top(self, now_boot_ns: int) -> Top | None:
        """Return the Top of the newest version with state and age at `now_boot_ns` (CLOCK_BOOTTIME).

        None when there is no version yet, the instrument was removed, or none could be read whole (state_at() tells).
        """
        status, head, fields = self._read()
        if status != OK:
            return None
        update_id, exchange_ns, local_ns, bid, bid_qty, ask, ask_qty, _, _, _, _, epoch, recv_ns = fields
        state = self._judged(head & 0xFF, now_boot_ns)
        age_ns = now_boot_ns - local_ns - self._memory.signed[_BOOT_OFFSET]
        return Top(
            state, epoch, head >> 8, bid, bid_qty, ask, ask_qty, update_id, exchange_ns, recv_ns, local_ns, age_ns
        )

    def state_at(self, now_boot_ns: int) -> int:
        """Return what the book's state is worth at `now_boot_ns` (CLOCK_BOOTTIME).

        REMOVED when the instrument is gone, else WRITER_DEAD when the writer's heartbeat is older than
        `silent_after_ns` (or never came), else the stored state.
        """
        return self._judged(self.state, now_boot_ns)

    def borrow(self) -> Borrowed | None:
        """Return where the newest version lies (Borrowed), None when there is none to read.

        What is read there counts only if still_valid(version) says so afterwards.
        """
        for _ in range(READ_TRIES):
            status, head, cell = self._newest()
            if status == OK:
                _, n_bids, n_asks = TOP.unpack_from(self._memory.octets, cell + TOP_AT)[8:11]
                if n_bids <= self.depth and n_asks <= self.depth:  # a torn count must not lead outside
                    return Borrowed(head >> 8, head & 0xFF, cell + LEVELS_AT, self.room, n_bids, n_asks)
            elif status != NOT_WHOLE:
                return None
        return None

    def still_valid(self, version: int) -> bool:
        """Return whether everything that was read until now from a borrowed version was of that version."""
        return self._still(self._cells + (version & self._mask) * self._cell_bytes, version)

    def top(self) -> tuple[float, float, float, float, int] | None:
        """Return (bid, bid_qty, ask, ask_qty, update_id), None when there is no book yet; an empty side is nan, 0."""
        status, _, fields = self._read()
        return (*fields[3:7], fields[0]) if status == OK else None

    def copy(self) -> BookSnapshot | None:
        """Return the newest version as a BookSnapshot, None when there is none yet or none could be read whole."""
        into = BookCopy(self.depth)
        return into.snapshot() if self.copy_into(into) == OK else None

    def age_ns(self, now_ns: int) -> int:
        """Return how long before `now_ns` (monotonic) the newest version was published, -1 when there is none."""
        status, _, fields = self._read()
        return now_ns - fields[2] if status == OK else -1

    @property
    def version(self) -> int:
        """Number of the newest version, -1 when there is none yet."""
        words = self._memory.words
        n = words[self._book + HEAD] >> 8
        return -1 if n <= self._base or words[self._book + GENERATION] != self.generation else n

    @property
    def state(self) -> int:
        """EMPTY, LIVE, STALE, RESYNCING or HALTED as the writer set it, REMOVED once the instrument is gone."""
        words = self._memory.words
        head = words[self._book + HEAD]  # acquire: pairs with the store of the head in BookTable.set_state()
        return head & 0xFF if words[self._book + GENERATION] == self.generation else REMOVED

    @property
    def state_ns(self) -> int:
        """When the state was last set (monotonic)."""
        return self._memory.signed[self._book + STATE_NS]

    @property
    def last_trade(self) -> float:
        """Price of the newest trade, 0.0 when there was none yet."""
        memory: Memory = self._memory
        price = memory.doubles[self._record + LAST_TRADE]
        return price if memory.words[self._record + _RECORD_GENERATION] == self.generation else 0.0

    @property
    def heartbeat_ns(self) -> int:
        """When the writer of the segment last beat (monotonic)."""
        return self._memory.signed[_HEARTBEAT]

    @property
    def heartbeat_boot_ns(self) -> int:
        """When the writer of the segment last beat (CLOCK_BOOTTIME)."""
        return self._memory.signed[_HEARTBEAT_BOOT]
