"""The last trades of one pair, as records of shared memory; each becomes a Trade when somebody reads it.

As objects they took four times the memory, and the garbage collector looked at each. A page of them is touched when
it is first written, so a quiet pair costs next to nothing.
"""

from hive.shm.instruments import Trade
from hive.shm.layout import TRADE_RECORD

_BYTES = TRADE_RECORD.size
_FIELDS = TRADE_RECORD.struct  # seq, then those of a Trade


class KeptTrades:
    """A ring of trades; `seen` is how many there have been.

    Args:
        capacity: how many are kept.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be >= 1, was {capacity}")
        self._capacity = capacity
        self._records = bytearray(capacity * _BYTES)
        self.seen = 0

    def keep(self, record: bytes) -> None:
        """Keep a trade_record in place of the oldest; ValueError when it has another size."""
        if len(record) != _BYTES:
            raise ValueError(f"a trade_record must have {_BYTES} bytes, was {len(record)}")
        at = self.seen % self._capacity * _BYTES
        self._records[at : at + _BYTES] = record
        self.seen += 1

    def since(self, cursor: int) -> list[Trade]:
        """Return the trades after the first `cursor`, oldest first, as far as they are kept."""
        first = max(cursor, self.seen - self._capacity, 0)
        places = (number % self._capacity * _BYTES for number in range(first, self.seen))
        return [Trade._make(_FIELDS.unpack_from(self._records, place)[1:]) for place in places]
