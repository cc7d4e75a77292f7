"""The journal's bytes: a header and records of one size, and how an order's records become the order again.

    file    header | record ... | zeros, to the end of what was allocated
    header  magic[8] | CRC-32 u32 of what follows | version u32 | bytes of a record u32 | records of the snapshot u32
            | serial of the first record u64 | created i64 (wall ns) | UTC day u32, orders sent on it so far u32
            | fleet id[8] | venue[64] | zeros to 192
    record  serial u64 | CRC-32 u32 of what follows | kind u8 | given u8 | exponents of three decimals i8 | state u8
            | code i32 | when i64 (wall ns) | id[36] | payload[126]

    SENT     the whole order, before its request is written;  ADOPTED  the same, of one that was found at the venue
    UNSENT   the request certainly was not executed: it waits again
    ACKED    it lives: exchange order id, executed, the venue's time
    FILL     a trade
    UNKNOWN  it may live or not
    ENDED    its final state, code and text
    DONE     its strategy has been told all of that
    UNWANTED the gate itself is to cancel it: whoever asked for that has its word, so that the next gate does it too
    NOTE     a value by its key, key[60] and value[102] in the place of id and payload; the last one counts, and an
             empty one takes the key away

Little-endian, text UTF-8 and NUL-padded. Decimals are a 64-bit mantissa and an exponent, exact or not recorded.
Record i of a file has the serial "first + i": that is why the CRC need not cover it, and why a snapshot copies records
as they are. What follows a record's serial is called its tail here, and the tails of an order its story.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from zlib import crc32

from hive.gate.errors import JournalError
from hive.gate.ledger import ZERO, Order, State
from hive.gate.venue import Trade
from hive.shm.decimals import from_mantissa, to_mantissa
from hive.shm.errors import NotRepresentable
from hive.shm.messages import IntentKind, OrderType, Side, TimeInForce

MAGIC = b"HIVEJRNL"
VERSION = 1
HEADER_BYTES = RECORD_BYTES = 192
BODY_AT = 12  # in a record; the CRC covers it from here on
KIND_AT = 4  # in a tail
SERIAL = struct.Struct("<Q")
TAIL_BYTES = RECORD_BYTES - SERIAL.size
SCAN = struct.Struct("<QIB9xq36s126x")  # serial, CRC, kind, when, id
NOTE_KEY_MAX, NOTE_VALUE_MAX = 60, 102
TEXT_MAX = 72

CRC = struct.Struct("<I")
_WHEN = struct.Struct("<q")
_WHEN_AT = 14  # in a tail
_FILE_HEAD = struct.Struct("<8sIIIIQqII8s64s72x")
_HEAD = "<BBbbbBiq36s"
ORDER = struct.Struct(_HEAD + "24s24s5s24sqqqqIIBBBB5x")
_STATE = struct.Struct(_HEAD + "qq24s72s14x")
_FILL = struct.Struct(_HEAD + "qqqqqq24s24sB29x")
_NOTE = struct.Struct("<BBbbbBiq60s102s")
PRICE_GIVEN = 1


class Kind(IntEnum):
    """What a record tells."""

    SENT = 1
    UNSENT = 2
    ACKED = 3
    FILL = 4
    UNKNOWN = 5
    ENDED = 6
    DONE = 7
    ADOPTED = 8
    NOTE = 9
    UNWANTED = 10


@dataclass(frozen=True, slots=True)
class Header:
    """What a file is of. Its first `snapshot` records restore everything that was needed when it was begun."""

    fleet_id: str
    venue: str
    first_serial: int
    snapshot: int
    created_wall_ns: int
    day: int  # whole days since 1970, UTC
    sent: int  # orders sent on that day before this file

    def pack(self) -> bytes:
        """Return the header's bytes; NotRepresentable when a name does not fit."""
        packed = _FILE_HEAD.pack(
            MAGIC,
            0,
            VERSION,
            RECORD_BYTES,
            self.snapshot,
            self.first_serial,
            self.created_wall_ns,
            self.day,
            self.sent,
            packed_text("fleet_id", self.fleet_id, 8),
            packed_text("venue", self.venue, 64),
        )
        return MAGIC + CRC.pack(crc32(packed[BODY_AT:])) + packed[BODY_AT:]


def read_header(data: bytes, name: str) -> Header | None:
    """Return the header at the start of a file's bytes, None when it cannot be read.

    Raises:
        JournalError: it is one of another version.
    """
    if len(data) < HEADER_BYTES:
        return None
    magic, crc, version, record_bytes, *values, fleet_id, venue = _FILE_HEAD.unpack_from(data)
    if magic != MAGIC or crc != crc32(data[BODY_AT:HEADER_BYTES]):
        return None
    if (version, record_bytes) != (VERSION, RECORD_BYTES):
        raise JournalError(
            f"{name}: a journal must be of version {VERSION} with records of {RECORD_BYTES} bytes, "
            f"was version {version} with {record_bytes}: let the Hive that wrote it start and stop the fleet once, and "
            "move the file away when no order of the fleet is open at the venue"
        )
    snapshot, first_serial, created_wall_ns, day, sent = values
    return Header(_read(fleet_id), _read(venue), first_serial, snapshot, created_wall_ns, day, sent)


# ---- Tails: each raises NotRepresentable for what cannot be recorded exactly ---------------------------------------


def pack_state(kind: Kind, order: Order, wall_ns: int) -> bytes:
    """Return the tail of ACKED, UNKNOWN, UNSENT or ENDED."""
    executed, executed_exp = to_mantissa(order.executed)
    return _tail(
        _STATE,
        kind,
        0,
        executed_exp,
        0,
        0,
        order.state,
        order.code,
        wall_ns,
        packed_text("client_order_id", order.client_order_id, 36),
        executed,
        order.wall_ns,
        packed_text("exchange_order_id", order.exchange_order_id, 24),
        order.text[:TEXT_MAX].encode("ascii", "replace"),
    )


def pack_mark(kind: Kind, client_order_id: str, wall_ns: int) -> bytes:
    """Return the tail of DONE or UNWANTED."""
    name = packed_text("client_order_id", client_order_id, 36)
    return _tail(_STATE, kind, 0, 0, 0, 0, 0, 0, wall_ns, name, 0, 0, b"", b"")


def pack_fill(order: Order, trade: Trade, wall_ns: int) -> bytes:
    """Return the tail of FILL."""
    price, price_exp = to_mantissa(trade.price)
    amount, amount_exp = to_mantissa(trade.amount)
    fee, fee_exp = to_mantissa(trade.fee)
    return _tail(
        _FILL,
        Kind.FILL,
        0,
        price_exp,
        amount_exp,
        fee_exp,
        0,
        0,
        wall_ns,
        packed_text("client_order_id", order.client_order_id, 36),
        trade.trade_id,
        price,
        amount,
        fee,
        trade.wall_ns,
        trade.serial,
        packed_text("fee_asset", trade.fee_asset, 24),
        packed_text("exchange_order_id", order.exchange_order_id, 24),
        trade.maker,
    )


def pack_note(key: str, value: str, wall_ns: int) -> bytes:
    """Return the tail of NOTE."""
    texts = packed_text("key", key, NOTE_KEY_MAX), packed_text("value", value, NOTE_VALUE_MAX)
    return _tail(_NOTE, Kind.NOTE, 0, 0, 0, 0, 0, 0, wall_ns, *texts)


# ---- Back again ----------------------------------------------------------------------------------------------------


def read_id(data: bytes) -> str:
    """Return the text of a NUL-padded id."""
    return _read(data)


def read_note(tail: bytes) -> tuple[str, str]:
    """Return key and value of a NOTE."""
    key, value = _NOTE.unpack_from(tail, KIND_AT)[-2:]
    return _read(key), _read(value)


def read_trade(tail: bytes) -> tuple[str, Trade]:
    """Return the exchange's order id and the trade of a FILL."""
    _, _, price_exp, amount_exp, fee_exp, _, _, _, _, *values = _FILL.unpack_from(tail, KIND_AT)
    trade_id, price, amount, fee, venue_ns, serial, fee_asset, exchange_order_id, maker = values
    trade = Trade(
        trade_id,
        from_mantissa(price, price_exp),
        from_mantissa(amount, amount_exp),
        from_mantissa(fee, fee_exp),
        _read(fee_asset),
        bool(maker),
        venue_ns,
        serial,
    )
    return _read(exchange_order_id), trade


def read_state(tail: bytes) -> tuple[int, str]:
    """Return the state, as in `State`, and the exchange's order id of an ACKED, UNKNOWN or ENDED."""
    values = _STATE.unpack_from(tail, KIND_AT)
    return values[5], _read(values[-2])


def when(tail: bytes) -> int:
    """Return the wall time of a record in ns."""
    return _WHEN.unpack_from(tail, _WHEN_AT)[0]


def sent_times(story: Sequence[bytes]) -> list[int]:
    """Return when, in wall ns, an order's request was written: empty when it was not, or is not known."""
    times: list[int] = []
    for tail in story:
        if tail[KIND_AT] == Kind.SENT:
            times.append(when(tail))
        elif tail[KIND_AT] == Kind.UNSENT and times:
            times.pop()
    return times


def rebuild(story: Sequence[bytes], monotonic: Callable[[int], int]) -> Order | None:
    """Return the order that a story tells of, None when what it begins with is missing.

    Args:
        monotonic: takes a wall time in ns and returns the monotonic time of that moment
    """
    order = None
    for tail in story:
        kind = tail[KIND_AT]
        if kind in (Kind.SENT, Kind.ADOPTED):
            order = _read_order(tail, order, monotonic)
        elif order is not None:
            order.done = kind == Kind.DONE
            if kind == Kind.FILL:
                _read_fill(tail, order)
            elif kind == Kind.DONE:
                order.done_ns = monotonic(when(tail))
            elif kind == Kind.UNWANTED:
                order.cancel_wanted = order.urgent = True
            else:
                _read_state(tail, order, monotonic)
    return order


def _read_order(tail: bytes, order: Order | None, monotonic: Callable[[int], int]) -> Order:
    kind, given, price_exp, amount_exp, executed_exp, state, _, wall_ns, name, *rest = ORDER.unpack_from(tail, KIND_AT)
    pair, symbol, tag, exchange_order_id, price, amount, executed, created_ns, worker_epoch, book_epoch, *enums = rest
    side, order_type, tif, origin = enums
    if order is None:
        order = Order(
            client_order_id=_read(name),
            pair=_read(pair),
            symbol=_read(symbol),
            tag=_read(tag),
            origin=IntentKind(origin),
            side=Side(side),
            order_type=OrderType(order_type),
            tif=TimeInForce(tif),
            price=None,
            amount=ZERO,
            worker_epoch=worker_epoch,
            created_ns=monotonic(created_ns),
            book_epoch=book_epoch,
        )
    order.side, order.worker_epoch, order.handed = Side(side), worker_epoch, kind == Kind.ADOPTED
    order.price = from_mantissa(price, price_exp) if given & PRICE_GIVEN else None
    order.amount = from_mantissa(amount, amount_exp)
    order.state, order.done = State(state), False
    if kind == Kind.SENT:
        order.sent_ns = monotonic(wall_ns)
    _exists(order, _read(exchange_order_id), from_mantissa(executed, executed_exp))
    return order


def _read_state(tail: bytes, order: Order, monotonic: Callable[[int], int]) -> None:
    kind, _, executed_exp, _, _, state, code, when_ns, _, executed, venue_ns, exchange_order_id, text = (
        _STATE.unpack_from(tail, KIND_AT)
    )
    _exists(order, _read(exchange_order_id), from_mantissa(executed, executed_exp))
    order.wall_ns = max(order.wall_ns, venue_ns)
    order.code, order.text = code, _read(text)
    if kind == Kind.UNSENT:
        order.state, order.sent_ns = State.PENDING, 0
    elif kind == Kind.ACKED:
        order.state = State.ACKED
    elif kind == Kind.UNKNOWN:
        order.state = State.UNKNOWN
    elif kind == Kind.ENDED:
        order.state, order.final_ns = State(state), monotonic(when_ns)


def _read_fill(tail: bytes, order: Order) -> None:
    exchange_order_id, trade = read_trade(tail)
    if trade.trade_id not in order.trades:
        order.trades[trade.trade_id] = trade
        order.filled += trade.amount
    if order.state in (State.PENDING, State.SENT, State.UNKNOWN):
        order.state = State.ACKED  # what trades, lives
    _exists(order, exchange_order_id, order.filled)


def _exists(order: Order, exchange_order_id: str, executed: Decimal) -> None:
    order.exchange_order_id = exchange_order_id or order.exchange_order_id
    order.executed = max(order.executed, executed)


def _tail(layout: struct.Struct, *values: int | bytes) -> bytes:
    try:
        body = layout.pack(*values)
    except struct.error as error:
        raise unfit(error) from error
    return CRC.pack(crc32(body)) + body


def unfit(error: Exception) -> NotRepresentable:
    """Return what is raised for a number that is too large for its field."""
    return NotRepresentable(f"a record's numbers must fit their fields: {error}")


def packed_text(field: str, text: str, size: int) -> bytes:
    """Return the bytes of a text of at most `size` bytes; NotRepresentable when it is longer, or has a NUL."""
    data = text.encode() if text.isascii() else text.encode("utf-8", "surrogateescape")
    if len(data) > size or "\0" in text:
        raise NotRepresentable(f"{field} must be at most {size} bytes without NUL, was {text!r}")
    return data


def _read(data: bytes) -> str:
    return data.rstrip(b"\0").decode("utf-8", "surrogateescape")
