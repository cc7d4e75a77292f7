"""The symbols that the exchange lists, with their filters and a starting price.

The first ones are well-known pairs with filters like the venue's; beyond them, names are made up so that a
listing of any size (the venue has about 1,500) can be asked for.
"""
from __future__ import annotations

from dataclasses import dataclass

from hive.sim.decimals import DECIMALS, UNIT, parse_units

MOST_SYMBOLS = 4000
RATE_MAX = 10_000  # of the flow, in steps a second over all of them: with more it answers nobody
_MOST_QUANTITY = 46_116_860_414 * UNIT  # as the venue's own largest: it fits 64 bits with room to add
TRADING = "TRADING"
HALT = "HALT"


@dataclass(frozen=True, slots=True)
class Symbol:
    """A traded pair; all amounts in 1e-8 units.

    tick times step must be a whole number of 1e-8 units of quote, so that a notional is exact.
    """

    name: str
    base: str
    quote: str
    tick: int
    step: int
    min_quantity: int
    max_quantity: int
    max_market_quantity: int
    min_price: int
    max_price: int
    min_notional: int
    max_notional: int
    max_orders: int
    start_price: int

    def __post_init__(self) -> None:
        for field in ("tick", "step"):
            if getattr(self, field) <= 0:
                raise ValueError(f"{self.name}: {field} must be > 0, was {getattr(self, field)}")
        if self.tick * self.step % UNIT:
            raise ValueError(f"{self.name}: tick times step must be a multiple of 1e-8, was {self.tick} * {self.step}")
        if self.start_price <= 0 or self.start_price % self.tick:
            raise ValueError(f"{self.name}: start_price must be a multiple of the tick, was {self.start_price}")


def make_symbol(base: str, quote: str, price: str, tick: str, step: str, min_notional: str) -> Symbol:
    """Return a symbol from decimal strings, with the rest of its limits derived from its price and step.

    Raises ValueError when tick, step and price do not fit together.
    """
    tick_units, step_units = parse_units(tick), parse_units(step)
    start_price = parse_units(price)
    # Nine million of quote at the starting price, so LOT_SIZE and NOTIONAL meet at about the same order.
    most = min(9_000_000 * UNIT * UNIT // start_price, _MOST_QUANTITY)
    max_quantity = max(step_units, most // step_units * step_units)
    return Symbol(
        name=base + quote,
        base=base,
        quote=quote,
        tick=tick_units,
        step=step_units,
        min_quantity=step_units,
        max_quantity=max_quantity,
        max_market_quantity=max(step_units, max_quantity // 10 // step_units * step_units),
        min_price=tick_units,
        max_price=max(tick_units, start_price * 20 // tick_units * tick_units),
        min_notional=parse_units(min_notional),
        max_notional=9_000_000 * UNIT,
        max_orders=200,
        start_price=start_price,
    )


#: base, quote, starting price, tick, step, smallest notional
DEFAULT_PAIRS = (
    ("BTC", "USDT", "64250.00", "0.01", "0.00001", "5"),
    ("ETH", "USDT", "3120.50", "0.01", "0.0001", "5"),
    ("SOL", "USDT", "148.20", "0.01", "0.001", "5"),
    ("BNB", "USDT", "585.40", "0.01", "0.001", "5"),
    ("XRP", "USDT", "0.6120", "0.0001", "0.1", "5"),
    ("DOGE", "USDT", "0.12450", "0.00001", "1", "1"),
    ("ADA", "USDT", "0.4520", "0.0001", "0.1", "5"),
    ("AVAX", "USDT", "27.65", "0.01", "0.01", "5"),
    ("LINK", "USDT", "14.320", "0.001", "0.01", "5"),
    ("DOT", "USDT", "6.215", "0.001", "0.01", "5"),
    ("LTC", "USDT", "72.40", "0.01", "0.001", "5"),
    ("TRX", "USDT", "0.16250", "0.00001", "0.1", "5"),
    ("UNI", "USDT", "7.850", "0.001", "0.01", "5"),
    ("ATOM", "USDT", "6.740", "0.001", "0.01", "5"),
    ("NEAR", "USDT", "5.120", "0.001", "0.1", "5"),
    ("APT", "USDT", "8.930", "0.001", "0.01", "5"),
    ("ARB", "USDT", "0.7320", "0.0001", "0.1", "5"),
    ("OP", "USDT", "1.742", "0.001", "0.01", "5"),
    ("FIL", "USDT", "4.310", "0.001", "0.01", "5"),
    ("INJ", "USDT", "22.140", "0.001", "0.01", "5"),
    ("ETC", "USDT", "21.85", "0.01", "0.01", "5"),
    ("ETH", "BTC", "0.04857", "0.00001", "0.001", "0.0001"),
    ("SOL", "BTC", "0.0023060", "0.0000001", "0.1", "0.0001"),
    ("BNB", "BTC", "0.009112", "0.000001", "0.01", "0.0001"),
    ("PEPE", "USDT", "0.00001180", "0.00000001", "1", "1"),
    ("SHIB", "USDT", "0.00001740", "0.00000001", "1", "1"),
    ("BTC", "USDC", "64255.00", "0.01", "0.00001", "5"),
    ("ETH", "USDC", "3120.90", "0.01", "0.0001", "5"),
    ("SOL", "USDC", "148.22", "0.01", "0.001", "5"),
    ("BCH", "USDT", "352.60", "0.1", "0.001", "5"),
)

_HEADS = "ARBIXELVANTOKREZMOLFIDGUNSAVQUOHYPJADCYL"
_TAILS = ("A", "IA", "ON", "IX", "EX", "ORA", "UM", "YT", "AI", "O", "US", "EN")


def list_symbols(count: int) -> dict[str, Symbol]:
    """Return `count` symbols by name: the well-known pairs first, then made-up ones.

    Raises ValueError when count is < 1 or > MOST_SYMBOLS.
    """
    if not 1 <= count <= MOST_SYMBOLS:
        raise ValueError(f"symbol count must be from 1 to {MOST_SYMBOLS}, was {count}")
    symbols: dict[str, Symbol] = {}
    for pair in DEFAULT_PAIRS[:count]:
        symbol = make_symbol(*pair)
        symbols[symbol.name] = symbol
    index = 0
    while len(symbols) < count:
        symbol = _made_up(index)
        index += 1
        if symbol is not None:
            symbols.setdefault(symbol.name, symbol)
    return symbols


def _made_up(index: int) -> Symbol | None:
    head_count = len(_HEADS) // 2
    head, rest = index % head_count, index // head_count
    middle, tail = rest % head_count, rest // head_count
    if head == middle:
        return None
    base = _HEADS[2 * head:2 * head + 2] + _HEADS[2 * middle:2 * middle + 2] + _TAILS[tail % len(_TAILS)]
    quote = ("USDT", "USDT", "USDC", "FDUSD")[(index * 7 + tail) % 4]
    magnitude = (index * 2_654_435_761) % 6  # 0.001 to 100, spread by a multiplicative hash
    digits = 1000 + (index * 7_919) % 9000
    price_decimals = 6 - magnitude
    price = digits * 10 ** (DECIMALS - price_decimals)
    tick_decimals = min(price_decimals, DECIMALS)
    step_decimals = min(DECIMALS - tick_decimals, (0, 0, 0, 1, 2, 3)[magnitude])
    text = f"{price // UNIT}.{price % UNIT:08d}"
    return make_symbol(base, quote, text, _power_text(tick_decimals), _power_text(step_decimals), "5")


def _power_text(decimals: int) -> str:
    return "1" if decimals == 0 else "0." + "0" * (decimals - 1) + "1"
