"""Intents and replies: what a worker asks of the gate, and what the gate answers. 224 bytes each, no pickles.

    intent  kind u8, venue u8, side u8, order_type u8, tif u8, price exponent i8, amount exponent i8, given u8,
            flags u32, book_epoch u32, book_version i64, created_ns i64, price i64, amount i64, pair[24],
            client_order_id[36], zeros
    reply   kind u8, venue u8, maker u8, given u8, exponents of price, amount, cumulative and fee i8, code i32,
            price i64, amount i64, cumulative i64, fee i64, trade_id i64, wall_ns i64, sent_ns i64,
            client_order_id[36], exchange_order_id[24], text[72], fee_asset[12], zeros

Little-endian, text ASCII and NUL-padded. Decimals are a 64-bit mantissa and an exponent, exact or refused; `given` has
a bit for each decimal that is not None. The first byte tells the two apart: an intent's kind is below 16.
"""

import struct
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

from hive.shm.decimals import from_mantissa, to_mantissa
from hive.shm.errors import NotRepresentable

MESSAGE_BYTES = 224
TEXT_MAX = 72

STALE_BOOK = -9001
"""Reply code of Hive's own, outside every venue's: a REJECTED order whose book was not live when it was to be sent."""

MAYBE_SENT = 1
"""Intent flag: it was handed to an earlier gate. Never send it; find out what became of it."""

_INTENT = struct.Struct("<BBBBBbbBIIqqqq24s36s116x")
_REPLY = struct.Struct("<BBBBbbbbiqqqqqqq36s24s72s12s12x")
_FIRST_REPLY_KIND = 16
_NONE = (0, 0)


class IntentKind(IntEnum):
    """What a worker asks."""

    PLACE = 1
    CANCEL = 2
    QUERY = 3


class Side(IntEnum):
    """Of an order."""

    BUY = 1
    SELL = 2


class OrderType(IntEnum):
    """Of an order."""

    LIMIT = 1
    LIMIT_MAKER = 2
    MARKET = 3


class TimeInForce(IntEnum):
    """Of a limit order."""

    GTC = 1
    IOC = 2
    FOK = 3


class ReplyKind(IntEnum):
    """What the gate answers. REJECTED, FILLED, CANCELLED and EXPIRED are final."""

    ACKED = 16  # live at the venue
    REJECTED = 17  # never lived; code and text say why
    UNKNOWN = 18  # fate not known, the venue is being asked
    FILL = 19
    FILLED = 20  # after its FILLs
    CANCELLED = 21
    EXPIRED = 22
    CANCEL_FAILED = 23  # the cancel was refused; the order stays as it was, or its real state follows
    BALANCE = 24  # fee_asset: the asset, amount + price: free, cumulative + fee: locked, each of the two exactly;
    # client_order_id: the tag of the strategy whose capital it is, "" for the account
    OPENED = 25  # the venue's account is ready; text says why when it is not


FINAL_KINDS = frozenset({ReplyKind.REJECTED, ReplyKind.FILLED, ReplyKind.CANCELLED, ReplyKind.EXPIRED})


class Intent(NamedTuple):
    """A worker's wish. Price and amount are already quantized; `created_ns` is monotonic.

    book_epoch and book_version name the book that it was decided on.
    """

    kind: IntentKind
    venue: int
    pair: str
    client_order_id: str
    side: Side = Side.BUY
    order_type: OrderType = OrderType.LIMIT
    tif: TimeInForce = TimeInForce.GTC
    price: Decimal | None = None
    amount: Decimal | None = None
    book_epoch: int = 0
    book_version: int = -1
    created_ns: int = 0
    flags: int = 0

    def pack(self) -> bytes:
        """Return the 224 bytes; NotRepresentable when a decimal or a text does not fit."""
        given, (price, price_exp), (amount, amount_exp) = _mantissas(self.price, self.amount)
        return _INTENT.pack(
            self.kind,
            self.venue,
            self.side,
            self.order_type,
            self.tif,
            price_exp,
            amount_exp,
            given,
            self.flags,
            self.book_epoch,
            self.book_version,
            self.created_ns,
            price,
            amount,
            _ascii("pair", self.pair, 24),
            _ascii("client_order_id", self.client_order_id, 36),
        )


class Reply(NamedTuple):
    """The gate's answer. `wall_ns` is the venue's time; `sent_ns` (monotonic) is when the request left the gate.

    `text` is prose for people: what is not ASCII becomes "?" and what is longer than 72 is cut.
    """

    kind: ReplyKind
    venue: int
    client_order_id: str = ""
    exchange_order_id: str = ""
    code: int = 0
    text: str = ""
    price: Decimal | None = None
    amount: Decimal | None = None
    cumulative: Decimal | None = None
    fee: Decimal | None = None
    fee_asset: str = ""
    trade_id: int = 0
    maker: bool = False
    wall_ns: int = 0
    sent_ns: int = 0

    @property
    def final(self) -> bool:
        """Whether no further reply about this order changes its state."""
        return self.kind in FINAL_KINDS

    def pack(self) -> bytes:
        """Return the 224 bytes; NotRepresentable when a decimal or an id does not fit."""
        order_id, exchange_order_id, text, fee_asset = (
            self.client_order_id,
            self.exchange_order_id,
            self.text,
            self.fee_asset,
        )
        given, price, amount, cumulative, fee = _mantissas(self.price, self.amount, self.cumulative, self.fee)
        return _REPLY.pack(
            self.kind,
            self.venue,
            self.maker,
            given,
            price[1],
            amount[1],
            cumulative[1],
            fee[1],
            self.code,
            price[0],
            amount[0],
            cumulative[0],
            fee[0],
            self.trade_id,
            self.wall_ns,
            self.sent_ns,
            _ascii("client_order_id", order_id, 36) if order_id else b"",
            _ascii("exchange_order_id", exchange_order_id, 24) if exchange_order_id else b"",
            text[:TEXT_MAX].encode("ascii", "replace") if text else b"",
            _ascii("fee_asset", fee_asset, 12) if fee_asset else b"",
        )


_INTENT_KINDS, _SIDES, _ORDER_TYPES, _TIMES_IN_FORCE = (
    {member.value: member for member in kind} for kind in (IntentKind, Side, OrderType, TimeInForce)
)  # a look-up costs a quarter of a call of the enum


def unpack(data: bytes) -> Intent | Reply:
    """Return the message in `data`; ValueError when it is none."""
    if len(data) != MESSAGE_BYTES:
        raise ValueError(f"a message must have {MESSAGE_BYTES} bytes, was {len(data)}")
    try:
        return _unpack_reply(data) if data[0] >= _FIRST_REPLY_KIND else _unpack_intent(data)
    except KeyError as error:
        raise ValueError(f"an intent has a field with the value {error}, which means nothing") from None


def _unpack_intent(data: bytes) -> Intent:
    (
        kind,
        venue,
        side,
        order_type,
        tif,
        price_exp,
        amount_exp,
        given,
        flags,
        book_epoch,
        book_version,
        created_ns,
        price,
        amount,
        pair,
        client_order_id,
    ) = _INTENT.unpack_from(data)
    return Intent(
        _INTENT_KINDS[kind],
        venue,
        pair.rstrip(b"\0").decode("ascii"),
        client_order_id.rstrip(b"\0").decode("ascii"),
        _SIDES[side],
        _ORDER_TYPES[order_type],
        _TIMES_IN_FORCE[tif],
        from_mantissa(price, price_exp) if given & 1 else None,
        from_mantissa(amount, amount_exp) if given & 2 else None,
        book_epoch,
        book_version,
        created_ns,
        flags,
    )


def _unpack_reply(data: bytes) -> Reply:
    (
        kind,
        venue,
        maker,
        given,
        price_exp,
        amount_exp,
        cumulative_exp,
        fee_exp,
        code,
        price,
        amount,
        cumulative,
        fee,
        trade_id,
        wall_ns,
        sent_ns,
        client_order_id,
        exchange_order_id,
        text,
        fee_asset,
    ) = _REPLY.unpack_from(data)
    return Reply(
        kind=ReplyKind(kind),
        venue=venue,
        client_order_id=_text(client_order_id),
        exchange_order_id=_text(exchange_order_id),
        code=code,
        text=_text(text),
        price=from_mantissa(price, price_exp) if given & 1 else None,
        amount=from_mantissa(amount, amount_exp) if given & 2 else None,
        cumulative=from_mantissa(cumulative, cumulative_exp) if given & 4 else None,
        fee=from_mantissa(fee, fee_exp) if given & 8 else None,
        fee_asset=_text(fee_asset),
        trade_id=trade_id,
        maker=bool(maker),
        wall_ns=wall_ns,
        sent_ns=sent_ns,
    )


def _mantissas(*values: Decimal | None) -> list:
    pairs = [_NONE if value is None else to_mantissa(value) for value in values]
    given = 0
    for bit, value in enumerate(values):
        if value is not None:
            given |= 1 << bit
    return [given, *pairs]


def _ascii(field: str, text: str, size: int) -> bytes:
    if len(text) > size or not text.isascii() or "\0" in text:
        raise NotRepresentable(f"{field} must be at most {size} ASCII characters, was {text!r}")
    return text.encode("ascii")


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode("ascii")
