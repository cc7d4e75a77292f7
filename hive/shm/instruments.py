"""Values about an instrument: its trading rules, a book's snapshot, a trade."""

from array import array
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from hive.shm.decimals import from_mantissa, to_mantissa
from hive.shm.errors import NotRepresentable
from hive.shm.layout import INSTRUMENT_RECORD

RULES_BYTES = INSTRUMENT_RECORD.offset("rules_seq")
_RECORD = INSTRUMENT_RECORD.struct
_DECIMALS = ("tick", "step", "min_qty", "max_qty", "min_notional", "max_notional")


@dataclass(frozen=True, slots=True)
class InstrumentRules:
    """What the venue allows for an instrument; exact decimals, None where the venue sets no bound.

    pair is "BTC-USDT", symbol the venue's own name. tick is the price's step, step the amount's. A min of 0 means none.
    """

    pair: str
    symbol: str
    base: str
    quote: str
    tick: Decimal
    step: Decimal
    min_qty: Decimal
    max_qty: Decimal | None
    min_notional: Decimal
    trading: bool = True
    max_notional: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BookSnapshot:
    """One version of a book, copied. Prices best first; times are monotonic but `exchange_ns`, which is the venue's.

    state is the book's when the version was read, without regard to whether the feed lives; epoch is the feed's.
    """

    version: int
    update_id: int
    exchange_ns: int
    recv_ns: int
    local_ns: int
    bid_px: array
    bid_qty: array
    ask_px: array
    ask_qty: array
    state: int = 0
    epoch: int = 0


class Trade(NamedTuple):
    """A trade of the venue; slot is the instrument's in the book directory, flags bit 0: the buyer was the maker.

    generation is the instrument's (BookReader.generation), 0 when the writer did not say: by it a trade of the
    instrument that had the slot before is told from one of its present owner.
    """

    slot: int
    flags: int
    trade_id: int
    exchange_ns: int
    recv_ns: int
    price: float
    qty: float
    generation: int = 0


class TopEvent(NamedTuple):
    """A change of an instrument's best price or quantity; an empty side is nan, 0. local_ns is monotonic.

    generation is the low 32 bits of the instrument's (BookReader.generation).
    """

    slot: int
    generation: int
    update_id: int
    local_ns: int
    bid: float
    bid_qty: float
    ask: float
    ask_qty: float


class Top(NamedTuple):
    """The top of a book and how far it can be trusted, from one read; an empty side is nan, 0.

    state is one of hive.shm.book's, WRITER_DEAD included, and belongs to this version; epoch the feed's. exchange_ns is
    the venue's clock, recv_ns and local_ns (read, published) are monotonic; age_ns is how long ago it was published,
    time in which the machine was suspended included.
    """

    state: int
    epoch: int
    version: int
    bid: float
    bid_qty: float
    ask: float
    ask_qty: float
    update_id: int
    exchange_ns: int
    recv_ns: int
    local_ns: int
    age_ns: int


class Borrowed(NamedTuple):
    """Where a version of a book lies in its segment, to be looked at without a copy; BookReader.borrow().

    offset is that of its first column in bytes; the columns bid_px, bid_qty, ask_px, ask_qty follow each other, `room`
    doubles each, of which the first n_bids or n_asks count.
    """

    version: int
    state: int
    offset: int
    room: int
    n_bids: int
    n_asks: int


def pack_rules(
    rules: InstrumentRules, depth: int, versions: int, offset: int, generation: int = 1, room: int | None = None
) -> bytes:
    """Return the first RULES_BYTES of an instrument record (layout.INSTRUMENT_RECORD); `room` None is the depth."""
    flags = 0
    mantissas = []
    exponents = []
    for bit, name in enumerate(_DECIMALS):
        value = getattr(rules, name)
        if value is not None:
            flags |= 1 << bit
        mantissa, exponent = (0, 0) if value is None else to_mantissa(value)
        mantissas.append(mantissa)
        exponents.append(exponent)
    texts = [
        _ascii("pair", rules.pair, 24),
        _ascii("symbol", rules.symbol, 24),
        _ascii("base", rules.base, 12),
        _ascii("quote", rules.quote, 12),
    ]
    place = (generation, depth if room is None else room, 0)
    changing = (0, 0.0, 0, *(0,) * 6)
    return _RECORD.pack(
        *texts, depth, versions, offset, *mantissas, *exponents, rules.trading, flags, *place, *changing
    )[:RULES_BYTES]


def unpack_rules(data: bytes) -> InstrumentRules:
    """Return the rules in the first RULES_BYTES of an instrument record."""
    fields = _RECORD.unpack(data[:RULES_BYTES].ljust(_RECORD.size, b"\0"))
    pair, symbol, base, quote = (text.rstrip(b"\0").decode("ascii") for text in fields[:4])
    mantissas, exponents, trading, flags = fields[7:13], fields[13:19], fields[19], fields[20]
    values = {
        name: from_mantissa(mantissas[bit], exponents[bit]) if flags & 1 << bit else None
        for bit, name in enumerate(_DECIMALS)
    }
    return InstrumentRules(pair=pair, symbol=symbol, base=base, quote=quote, trading=bool(trading), **values)


def _ascii(field: str, text: str, size: int) -> bytes:
    if not text or len(text) > size or not text.isascii() or "\0" in text:
        raise NotRepresentable(f"{field} must be 1 to {size} ASCII characters, was {text!r}")
    return text.encode("ascii")
