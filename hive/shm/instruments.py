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
    """One version of a book, copied. Prices best first; times are monotonic but `exchange_ns`, which is the venue's."""

    version: int
    update_id: int
    exchange_ns: int
    recv_ns: int
    local_ns: int
    bid_px: array
    bid_qty: array
    ask_px: array
    ask_qty: array


class Trade(NamedTuple):
    """A trade of the venue; slot is the instrument's in the book directory, flags bit 0: the buyer was the maker."""

    slot: int
    flags: int
    trade_id: int
    exchange_ns: int
    recv_ns: int
    price: float
    qty: float


def pack_rules(rules: InstrumentRules, depth: int, versions: int, offset: int) -> bytes:
    """Return the first RULES_BYTES of an instrument record (layout.INSTRUMENT_RECORD)."""
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
    spare = (0, 0)
    changing = (0, 0, 0, 0, 0.0, 0, 0, 0, 0, 0)
    return _RECORD.pack(
        *texts, depth, versions, offset, *mantissas, *exponents, rules.trading, flags, *spare, *changing
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
