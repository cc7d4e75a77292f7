"""Trading rules: as the feed published them, and as it publishes them now.

A worker has one table of rules and symbols for each venue, whatever number of connectors use it (`VenueRules`); each
connector keeps which pairs it uses and what its strategy was told of them (`FollowedRules`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from logging import Logger
from types import MappingProxyType

from bidict import bidict
from hummingbot.connector.trading_rule import TradingRule

from hive.shm.counters import Counter
from hive.shm.instruments import InstrumentRules
from hive.workers.errors import BookMissing
from hive.workers.market import MarketData


class VenueRules:
    """The rules and symbols of one venue's pairs that strategies of this worker use or have used.

    Attributes:
        rules: by pair; read-only, for all connectors.
        symbols: pair by the venue's symbol.
    """

    def __init__(self) -> None:
        self._rules: dict[str, TradingRule] = {}
        self._made_of: dict[str, InstrumentRules] = {}
        self.rules: Mapping[str, TradingRule] = MappingProxyType(self._rules)
        self.symbols: bidict[str, str] = bidict()

    def take(self, rules: InstrumentRules) -> None:
        """Have a pair's rules as the venue has them."""
        if self._made_of.get(rules.pair) == rules:
            return
        self._made_of[rules.pair] = rules
        bounds = {} if rules.max_qty is None else {"max_order_size": rules.max_qty}
        self._rules[rules.pair] = TradingRule(
            rules.pair,
            min_order_size=rules.min_qty,
            min_price_increment=rules.tick,
            min_base_amount_increment=rules.step,
            min_notional_size=rules.min_notional or Decimal(0),
            **bounds,
        )
        self.symbols.forceput(rules.symbol, rules.pair)


class FollowedRules:
    """Keeps the rules of one connector's pairs as the venue has them, and tells its strategy of changes.

    Args:
        books: where rules come from.
        venue: index of the venue; name: Hummingbot's name of it.
        shared: the worker's rules of the venue; kept up to date.
        halts: counts pairs that the venue stops trading.
        logger: of the connector.
    """

    def __init__(
        self,
        books: MarketData,
        venue: int,
        name: str,
        shared: VenueRules,
        halts: Counter,
        logger: Callable[[], Logger],
    ):
        self._books = books
        self._venue = venue
        self._name = name
        self._shared = shared
        self._halts = halts
        self._logger = logger
        self._taken: dict[str, InstrumentRules] = {}
        self._changes = -1

    def take(self, rules: InstrumentRules) -> None:
        """Use these rules from now on."""
        self._taken[rules.pair] = rules
        self._shared.take(rules)

    def drop(self, pair: str) -> None:
        """Follow a pair no more; its rules stay, others may use them."""
        self._taken.pop(pair, None)

    def follow(self) -> None:
        """Take over what the venue has changed, and tell the strategy inside whose context this is called."""
        changes = self._books.changes(self._venue)
        if changes == self._changes:
            return
        self._changes = changes
        for pair, before in list(self._taken.items()):
            try:
                rules = self._books.rules(self._venue, pair)
            except BookMissing:
                continue  # orders are refused until the feed has it again
            if rules != before:
                self.take(rules)
                self._tell(before, rules)

    def _tell(self, before: InstrumentRules, rules: InstrumentRules) -> None:
        if before.trading and not rules.trading:
            self._halts.inc()
            self._logger().warning(f"{self._name} halted {rules.pair}: no orders until it trades again")
        elif rules.trading and not before.trading:
            self._logger().info(f"{self._name} trades {rules.pair} again")
        if replace(before, trading=rules.trading) != rules:
            self._logger().info(f"{self._name} changed the trading rules of {rules.pair}")
