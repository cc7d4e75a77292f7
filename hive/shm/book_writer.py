"""Writing one instrument's book in pure Python, the twin of book_writer.pyx.

The protocol and the layout are in book.pyx; atomics.py says why plain stores keep its order.
"""

import struct
from math import nan

from hive.shm.atomics import Memory
from hive.shm.errors import ShmError
from hive.shm.layout import BOOK_HEADER, BOOK_VERSION, INSTRUMENT_RECORD

TOP_AT = BOOK_VERSION.offset("update_id")
TOP = struct.Struct("=qqqddddIIIIQq")  # of a book_version all that is said, from TOP_AT on
LEVELS_AT = BOOK_VERSION.size
HEAD, GENERATION, BASE, STATE_NS = (BOOK_HEADER.offset(one) >> 3 for one in ("head", "generation", "base", "state_ns"))
LAST_TRADE, LAST_TRADE_NS = (INSTRUMENT_RECORD.offset(one) >> 3 for one in ("last_trade", "last_trade_ns"))


class BookWriter:
    """Writes one instrument's book; from BookTable.writer(), one per instrument and process."""

    __slots__ = (
        *("depth", "generation", "slot"),
        *("_book", "_cell_bytes", "_cells", "_epoch", "_mask", "_memory", "_record", "_room"),
    )

    def __init__(self) -> None:
        raise TypeError("a BookWriter comes from BookTable.writer()")

    def c_publish(self, update_id, exchange_ns, recv_ns, now_ns, bid_px, bid_qty, ask_px, ask_qty) -> None:
        """Publish the next version, unchecked: columns of float64, up to `depth` long, best first, times in ns.

        The book's state stays what it is. Nothing happens once the instrument was removed.
        """
        memory: Memory = self._memory
        words, doubles = memory.words, memory.doubles
        book = self._book
        if words[book + GENERATION] != self.generation:
            return
        head = words[book + HEAD]
        n = (head >> 8) + 1
        cell = self._cells + (n & self._mask) * self._cell_bytes
        room = self._room
        n_bids, n_asks = len(bid_px), len(ask_px)
        level = cell + LEVELS_AT >> 3

        words[cell >> 3] = 2 * n + 1  # before the payload: who saw a byte of what follows sees this seq
        TOP.pack_into(
            memory.octets, cell + TOP_AT,
            update_id, exchange_ns, now_ns,
            bid_px[0] if n_bids else nan, bid_qty[0] if n_bids else 0.0,
            ask_px[0] if n_asks else nan, ask_qty[0] if n_asks else 0.0,
            self.slot, 0, n_bids, n_asks, self._epoch, recv_ns,
        )  # fmt: skip
        doubles[level : level + n_bids] = bid_px
        doubles[level + room : level + room + n_bids] = bid_qty
        doubles[level + 2 * room : level + 2 * room + n_asks] = ask_px
        doubles[level + 3 * room : level + 3 * room + n_asks] = ask_qty
        words[cell >> 3] = 2 * n + 2  # release: pairs with the load of the seq in the reader
        words[book + HEAD] = n << 8 | head & 0xFF  # release: pairs with the load of the head in the reader

    def publish(self, update_id, exchange_ns, recv_ns, now_ns, bid_px, bid_qty, ask_px, ask_qty) -> None:
        """Publish the next version.

        Args:
            update_id: the venue's; exchange_ns: its clock.
            recv_ns, now_ns: when the message was read, and now (monotonic).
            bid_px, bid_qty, ask_px, ask_qty: contiguous float64, best first, up to `depth` each side.

        Raises:
            ShmError: the instrument was removed.
            ValueError: a side's columns differ in length, are too long, or are not contiguous float64.
        """
        if self._memory.words[self._book + GENERATION] != self.generation:
            raise ShmError(f"the instrument of slot {self.slot} was removed: its writer publishes nothing more")
        columns = [memoryview(column) for column in (bid_px, bid_qty, ask_px, ask_qty)]
        for side, px, qty in (("bid", *columns[:2]), ("ask", *columns[2:])):
            if len(px) != len(qty) or len(px) > self.depth:
                raise ValueError(
                    f"{side}_px and {side}_qty must have the same length <= {self.depth}, was {len(px)} and {len(qty)}"
                )
            if not all(one.format == "d" and one.ndim == 1 and one.c_contiguous for one in (px, qty)):
                raise ValueError(f"{side}_px and {side}_qty must be contiguous float64")
        self.c_publish(update_id, exchange_ns, recv_ns, now_ns, *columns)

    def set_last_trade(self, price: float, now_ns: int) -> None:
        """Store the price of the newest trade and when it was seen (monotonic)."""
        # Two independent words: a reader may see the price of one trade with the time of the next.
        if self._memory.words[self._book + GENERATION] != self.generation:
            return
        self._memory.doubles[self._record + LAST_TRADE] = price
        self._memory.signed[self._record + LAST_TRADE_NS] = now_ns
