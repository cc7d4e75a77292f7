"""The background flow: a deterministic crowd that quotes, trades and sweeps, so that the market lives.

Every symbol has a mid price on a random walk that is drawn back to where it began. Around it the house quotes a
bid and an ask close by and a ladder of further levels, and it sends marketable orders: small ones that trade at
the top, and sweeps that run through the book up to 0.6 % from the mid, taking whatever rests there, the users'
orders included. What was taken is quoted again within a few steps.

    step n -> symbol: hash(seed, n)    move, kind, side, size: four draws of that symbol's own generator

The draws of a step never depend on the book, so the flow's orders are a pure function of seed and step number:
without users the whole sequence of book and trade events is one too. A step is one update in `--rate`.
"""
from __future__ import annotations

import math
import random

from hive.sim.accounts import Account
from hive.sim.decimals import UNIT
from hive.sim.engine import Engine
from hive.sim.orders import BUY, GTC, IOC, LIMIT, SELL, Order
from hive.sim.symbols import HALT, Symbol

LEVELS = 80
_REPAIRS = 12  # levels quoted again per side and step
_STEP_SD = 1e-4  # of the mid, per step of the symbol
_PULL = 2e-5  # per step, towards the starting price
_SPACING = 2e-4
_HALF_SPREAD = 5e-5
_QUOTE, _RESIZE, _TAKE = 0.55, 0.80, 0.94  # upper ends of the kinds; above is a sweep
_SWEEP_MIN, _SWEEP_MAX = 2e-4, 60e-4
_DECAY = 3.0  # levels after which the size quoted has fallen to about a third, as trading does with distance
_IMPACT = 0.25  # of a sweep's depth stays in the mid
_LEVEL_NOTIONAL = {"BTC": 0.05}
_LEVEL_NOTIONAL_DEFAULT = 3000.0
_MASK = (1 << 64) - 1


def mix(value: int) -> int:
    """Return a well-mixed 64-bit hash of an integer (the finalizer of splitmix64)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class SymbolFlow:
    """The house's quotes and trades in one symbol."""

    def __init__(self, engine: Engine, house: Account, symbol: Symbol, seed: int) -> None:
        self._engine = engine
        self._house = house
        self._symbol = symbol
        self._random = random.Random(f"{seed}/{symbol.name}")
        self._hash = mix(seed ^ int.from_bytes(symbol.name.encode()[:16].ljust(16), "big"))
        self._bids: dict[int, Order] = {}
        self._asks: dict[int, Order] = {}
        self._count = 0
        self.mid = float(symbol.start_price)
        self.list_as(symbol)

    def list_as(self, symbol: Symbol) -> None:
        """Quote by a symbol's filters from now on."""
        self._symbol = symbol
        tick, start = symbol.tick, symbol.start_price
        self._spacing = max(tick, round(start * _SPACING / tick) * tick)
        self._half = max(tick / 2, start * _HALF_SPREAD)
        self._size = _LEVEL_NOTIONAL.get(symbol.quote, _LEVEL_NOTIONAL_DEFAULT) * UNIT * UNIT / start
        self._smallest = -(-symbol.min_notional * UNIT // start // symbol.step) * symbol.step + symbol.step

    def open(self, now_ms: int) -> None:
        """Quote the whole ladder."""
        self._quote(now_ms, LEVELS)

    def step(self, now_ms: int) -> None:
        """Do the symbol's next step."""
        draw = self._random
        move, kind, where, size = draw.gauss(0.0, _STEP_SD), draw.random(), draw.random(), draw.random()
        self._count += 1
        self.mid += self.mid * move + _PULL * (self._symbol.start_price - self.mid)
        sweep = kind >= _TAKE
        side = BUY if where < 0.5 else SELL
        sign = 1 if side == BUY else -1
        depth = _SWEEP_MIN + size * (_SWEEP_MAX - _SWEEP_MIN)
        reach = self.mid * (1 + sign * (depth if sweep else 3 * _SPACING))
        if sweep:
            self.mid *= 1 + sign * depth * _IMPACT
        if self._engine.status[self._symbol.name] == HALT:
            return
        if kind < _QUOTE:
            self._quote(now_ms, _REPAIRS)
        elif kind < _RESIZE:
            self._resize(where, size, now_ms)
        else:
            wanted = self._size * (3 + 2.5 * depth / _SPACING) if sweep else self._size * (0.2 + 1.8 * size)
            self._take(side, reach, wanted, now_ms)

    def _quote(self, now_ms: int, repairs: int) -> None:
        symbol = self._symbol
        tick, spacing = symbol.tick, self._spacing
        bid = max(tick, int((self.mid - self._half) // tick) * tick)
        ask = max(bid + tick, -int(-(self.mid + self._half) // tick) * tick)
        first_bid = (bid - 1) // spacing * spacing
        first_ask = (ask // spacing + 1) * spacing
        bid_prices = range(first_bid, max(0, first_bid - (LEVELS - 1) * spacing), -spacing)
        ask_prices = range(first_ask, first_ask + (LEVELS - 1) * spacing, spacing)
        # All that left the ladder goes first, or the house would trade with itself.
        self._withdraw(self._bids, bid, bid_prices, now_ms)
        self._withdraw(self._asks, ask, ask_prices, now_ms)
        self._fill_up(self._bids, BUY, bid, bid_prices, repairs, now_ms)
        self._fill_up(self._asks, SELL, ask, ask_prices, repairs, now_ms)

    def _withdraw(self, own: dict[int, Order], inside: int, ladder: range, now_ms: int) -> None:
        cancel = self._engine.cancel
        for price in [price for price in own if price != inside and price not in ladder]:
            order = own.pop(price)
            if order.remaining:
                cancel(order, now_ms)

    def _fill_up(self, own: dict[int, Order], side: str, inside: int, ladder: range, repairs: int,
                 now_ms: int) -> None:
        order = own.get(inside)
        if order is None or not order.remaining:
            self._rest(own, side, inside, 0, now_ms)
        for level, price in enumerate(ladder, 1):
            order = own.get(price)
            if order is None or not order.remaining:
                self._rest(own, side, price, level, now_ms)
                repairs -= 1
                if not repairs:
                    return

    def _rest(self, own: dict[int, Order], side: str, price: int, level: int, now_ms: int) -> None:
        part = 0.4 + (mix(self._hash ^ price ^ (self._count << 40)) >> 11) / (1 << 53) * 1.2
        quantity = self._lots(self._size * part * (0.25 + 2.25 * math.exp(-level / _DECAY)))
        order = Order(self._house, self._symbol, side, LIMIT, GTC, price, quantity)
        own[price] = order
        self._engine.place(order, now_ms)

    def _resize(self, where: float, size: float, now_ms: int) -> None:
        """Quote two levels of each side, biased to the top, anew with another size: they lose their place."""
        for own, side in ((self._bids, BUY), (self._asks, SELL)):
            prices = sorted(own, reverse=side == BUY)
            for chance in (where * where, size):
                level = int(chance * len(prices))
                order = own[prices[level]]
                if order.remaining:
                    self._engine.cancel(order, now_ms)
                    self._rest(own, side, order.price, level, now_ms)

    def _take(self, side: str, reach: float, wanted: float, now_ms: int) -> None:
        tick = self._symbol.tick
        price = max(tick, int(reach // tick) * tick)
        self._engine.place(Order(self._house, self._symbol, side, LIMIT, IOC, price, self._lots(wanted)), now_ms)

    def _lots(self, quantity: float) -> int:
        step = self._symbol.step
        return max(self._smallest, int(quantity) // step * step)


class Flow:
    """The flow of all active symbols; `steps` counts the steps done."""

    def __init__(self, engine: Engine, seed: int, names: list[str]) -> None:
        self._hash = mix(seed)
        self.seed = seed
        self.steps = 0
        self.symbols = {
            name: SymbolFlow(engine, engine.accounts.house, engine.symbols[name], seed) for name in names
        }
        self._order = list(self.symbols.values())

    def open(self, now_ms: int) -> None:
        """Fill every active book before the first step."""
        for flow in self._order:
            flow.open(now_ms)

    def list_as(self, symbol: Symbol) -> None:
        """Trade a symbol by its new filters, if it is traded at all."""
        if symbol.name in self.symbols:
            self.symbols[symbol.name].list_as(symbol)

    def step(self, now_ms: int) -> None:
        """Do the next step, whichever symbol it falls to."""
        flow = self._order[mix(self._hash ^ self.steps) % len(self._order)]
        self.steps += 1
        flow.step(now_ms)
