"""What a journal holds in memory of each order that is needed still: its story, which is its records' tails in order.

    open   tail tail tail                   orders whose strategies have not been told everything
    done   when | the same, compressed      those that are kept for a while all the same, oldest first

A story is one bytes object: as a list of tails it would take as much again. Of those that are done, which are most of
them, nothing is read but when a new file begins; compressed they take a fifth.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping

from hive.gate.journal_format import KIND_AT, TAIL_BYTES, Kind

_WHEN = struct.Struct("<q")
_QUICK = 1  # the level: a story is short
_WINDOW_BITS, _MEMORY = 10, 2  # 6 kB to work in; zlib.compress() clears 256 kB each time, and takes ten times as long


class Stories:
    """The stories of one journal, by client order id.

    Args:
        stories: the tails of each order
        done_ns: of those that are done, when (monotonic) they became so, oldest first
    """

    def __init__(self, stories: Mapping[str, Iterable[bytes]], done_ns: Mapping[str, int]) -> None:
        self._open = {name: b"".join(tails) for name, tails in stories.items() if name not in done_ns}
        self._done = {name: _packed(b"".join(stories[name]), when) for name, when in done_ns.items()}

    def __len__(self) -> int:
        return len(self._open) + len(self._done)

    def __contains__(self, client_order_id: str) -> bool:
        return client_order_id in self._open or client_order_id in self._done

    @property
    def unfinished(self) -> int:
        """Return how many orders are not done."""
        return len(self._open)

    def add(self, client_order_id: str, tail: bytes) -> None:
        """Go on with a story, or begin one. An order that was done is so no more: what comes now is to be told."""
        before = self._open.get(client_order_id)
        if before is None:
            packed = self._done.pop(client_order_id, None)
            before = b"" if packed is None else _unpacked(packed)
        self._open[client_order_id] = before + tail

    def send(self, client_order_id: str, tail: bytes) -> None:
        """Add a SENT. What ends with UNSENT is dropped: the order never was at the venue, and this says everything."""
        story = self._open.get(client_order_id)
        if story is not None and story[KIND_AT - TAIL_BYTES] == Kind.UNSENT:
            self._open[client_order_id] = tail
        else:
            self.add(client_order_id, tail)

    def finish(self, client_order_id: str, now_ns: int) -> None:
        """Note that an order, which has a story, is done."""
        self._done[client_order_id] = _packed(self._open.pop(client_order_id), now_ns)

    def forget(self, before_ns: int) -> None:
        """Drop the stories of orders that were done by then; best for many at a time.

        Whoever looks for the first entry of a dict passes by all those that were taken from its front.
        """
        gone = []
        for client_order_id, packed in self._done.items():
            if _WHEN.unpack_from(packed)[0] > before_ns:
                break
            gone.append(client_order_id)
        for client_order_id in gone:
            del self._done[client_order_id]

    def all(self) -> list[bytes]:
        """Return every story: an order's tails in a row."""
        return [*map(_unpacked, self._done.values()), *self._open.values()]


def _packed(story: bytes, when_ns: int) -> bytes:
    packer = zlib.compressobj(_QUICK, zlib.DEFLATED, _WINDOW_BITS, _MEMORY)
    return b"".join((_WHEN.pack(when_ns), packer.compress(story), packer.flush()))


def _unpacked(packed: bytes) -> bytes:
    return zlib.decompress(memoryview(packed)[_WHEN.size :])
