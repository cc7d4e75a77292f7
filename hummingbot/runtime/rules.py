"""The trading rules of one connector: as the feed published them, and as it publishes them now."""

from collections.abc import Callable, MutableMapping
from dataclasses import replace
from logging import Logger

from hummingbot.connector.trading_rule import TradingRule

from hive.shm.counters import Counter
from hive.shm.instruments import InstrumentRules
from hive.workers.errors import BookMissing
from hive.workers.market import MarketData


class FollowedRules:
    """Keeps a connector's `trading_rules` and symbols as the venue has them.

    Args:
        books: where rules come from.
        venue: index of the venue; name: Hummingbot's name of it.
        convert: gives the trading rule of an instrument; one object per instrument and worker.
        trading_rules: by pair; kept up to date.
        symbols: pair by the venue's symbol; kept up to date.
        halts: counts pairs that the venue stops trading.
        logger: of the connector.
    """

    def __init__(
        self,
        books: MarketData,
        venue: int,
        name: str,
        convert: Callable[[InstrumentRules], TradingRule],
        trading_rules: MutableMapping[str, TradingRule],
        symbols: MutableMapping[str, str],
        halts: Counter,
        logger: Callable[[], Logger],
    ):
        self._books = books
        self._venue = venue
        self._name = name
        self._convert = convert
        self._trading_rules = trading_rules
        self._symbols = symbols
        self._halts = halts
        self._logger = logger
        self._taken: dict[str, InstrumentRules] = {}
        self._changes = -1

    def take(self, rules: InstrumentRules) -> None:
        """Use these rules from now on."""
        self._taken[rules.pair] = rules
        self._trading_rules[rules.pair] = self._convert(rules)
        self._symbols[rules.symbol] = rules.pair

    def drop(self, pair: str) -> None:
        """Forget a pair."""
        self._taken.pop(pair, None)
        self._trading_rules.pop(pair, None)

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
