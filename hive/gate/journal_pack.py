"""The bytes that the journal makes most often: the tail of an order that is sent, and records out of tails.

    pack_order   an Order -> its tail;   records   tails, or stories of them -> a file's bytes

An order that is about to be sent waits for both. The layout is in journal_format.py.
"""

import struct
from functools import lru_cache
from zlib import crc32

from hive.gate.journal_format import CRC, ORDER, PRICE_GIVEN, SERIAL, TAIL_BYTES, Kind, packed_text, unfit
from hive.gate.order import Order, State
from hive.shm.decimals import to_mantissa


def pack_order(kind: Kind, order: Order, age_ns: int, wall_ns: int) -> bytes:
    """Return the tail of SENT or ADOPTED; `age_ns` is how long ago the order was created.

    Raises:
        NotRepresentable: what cannot be recorded exactly.
    """
    price, price_exp = (0, 0) if order.price is None else to_mantissa(order.price)
    amount, amount_exp = to_mantissa(order.amount)
    executed, executed_exp = to_mantissa(order.executed)
    try:
        body = ORDER.pack(
            kind,
            0 if order.price is None else PRICE_GIVEN,
            price_exp,
            amount_exp,
            executed_exp,
            State.SENT if kind is Kind.SENT else order.state,
            0,
            wall_ns,
            packed_text("client_order_id", order.client_order_id, 36),
            _known_text("pair", order.pair, 24),
            _known_text("symbol", order.symbol, 24),
            packed_text("tag", order.tag, 5),
            packed_text("exchange_order_id", order.exchange_order_id, 24),
            price,
            amount,
            executed,
            wall_ns - age_ns,
            order.worker_epoch,
            order.book_epoch,
            order.side,
            order.order_type,
            order.tif,
            order.origin,
        )
    except struct.error as error:
        raise unfit(error) from error
    return CRC.pack(crc32(body)) + body


def records(first_serial: int, tails: list[bytes]) -> bytes:
    """Return the bytes of records with serials from `first_serial` on; each item is a tail, or several in a row."""
    parts: list[bytes] = []
    serial = first_serial
    for run in tails:
        if len(run) % TAIL_BYTES:
            raise ValueError(f"tails must be of {TAIL_BYTES} bytes, were {len(run)} bytes")
        for at in range(0, len(run), TAIL_BYTES):
            parts += (SERIAL.pack(serial), run[at : at + TAIL_BYTES])
            serial += 1
    return b"".join(parts)


_known_text = lru_cache(1024)(packed_text)  # of the names of pairs, which are few
