"""The exchange connector that strategies see: Hummingbot's own order tracking over Hive's books and gate.

Books and trading rules come from shared memory, balances and the fate of orders from the gate; nothing here opens a
connection. `ExchangePyBase` and its `ClientOrderTracker` do the rest, so every event reaches a strategy in the order
and shape in which a live connector would emit it. `orders.py` has the half that sends orders and is told of them.
"""

import asyncio
import math
from collections.abc import Iterable
from typing import Any

from hummingbot.connector.trading_rule import TradingRule
from hummingbot.core.data_type.common import OrderType
from hummingbot.core.data_type.in_flight_order import InFlightOrder, OrderUpdate, TradeUpdate
from hummingbot.core.data_type.order_book import OrderBook
from hummingbot.core.data_type.trade_fee import DeductedFromReturnsTradeFee
from hummingbot.core.network_iterator import NetworkStatus

from hive.shm.instruments import InstrumentRules
from hive.workers.context import StrategyContext, current
from hive.workers.errors import BookMissing
from hive.workers.host import WorkerServices
from hummingbot.runtime.books import BookSource, SharedBooks
from hummingbot.runtime.order_book import SharedOrderBook
from hummingbot.runtime.orders import OrderingExchange
from hummingbot.runtime.rules import FollowedRules, VenueRules
from hummingbot.runtime.trades import FollowedTrades

FIRST_VERSION_POLL_S = 0.05


def connector_for_current_context(name: str, trading_pairs: list[str], trading_required: bool) -> "SharedExchange":
    """Return a new connector of the strategy whose code asks; Hummingbot's own factories call this."""
    return current().host_data.make_connector(name, trading_pairs, trading_required)


class SharedExchange(OrderingExchange):
    """A spot connector of one strategy; keeps the real connector's name, on which fees and databases depend."""

    web_utils = None

    def __init__(
        self,
        name: str,
        venue: int,
        trading_pairs: Iterable[str],
        trading_required: bool,
        context: StrategyContext,
        services: WorkerServices,
        rules: VenueRules,
        capital: bool = False,
    ):
        """Make a connector.

        Args:
            name: the venue's name, which is Hummingbot's name of the connector.
            venue: index of the venue in the fleet.
            trading_pairs: pairs whose books the feed publishes already.
            trading_required: whether the strategy trades here.
            context: the strategy's context in the worker.
            services: what the worker offers.
            rules: of the venue; one object for all connectors of the worker.
            capital: whether the strategy has capital of its own, which is all that it sees of the account.
        """
        self._connector_name = name
        self._pairs = list(trading_pairs)
        self._trading_required = trading_required
        super().__init__(venue, context, services)
        self._set_order_book_tracker(SharedBooks(self.use_pairs, self._drop_pair))
        self._trades = FollowedTrades(services.books, venue, self.order_book_tracker.order_books)
        owner = context.tag if capital else ""  # without capital: one dict for all of the worker's strategies
        self._account_balances = services.orders.total_balances(venue, owner)
        self._account_available_balances = services.orders.free_balances(venue, owner)
        self._trading_rules = rules.rules
        self._set_trading_pair_symbol_map(rules.symbols)
        halts = context.counters.halts
        self._rules = FollowedRules(services.books, venue, name, rules, halts, self.logger)
        for pair in self._pairs:
            self._use(services.books.rules(venue, pair))

    @property
    def name(self) -> str:
        """Hummingbot's name of the connector."""
        return self._connector_name

    @property
    def authenticator(self) -> None:
        """None: the keys are in the gate."""
        return None

    @property
    def rate_limits_rules(self) -> list[Any]:
        """Empty: the gate keeps the limits."""
        return []

    @property
    def domain(self) -> str:
        """Empty: the gate knows the endpoints."""
        return ""

    @property
    def trading_rules_request_path(self) -> str:
        """Empty: rules come with the books."""
        return ""

    @property
    def trading_pairs_request_path(self) -> str:
        """Empty: pairs come with the books."""
        return ""

    @property
    def check_network_request_path(self) -> str:
        """Empty: see `check_network`."""
        return ""

    @property
    def trading_pairs(self) -> list[str]:
        """The pairs that the strategy named."""
        return self._pairs

    @property
    def is_cancel_request_in_exchange_synchronous(self) -> bool:
        """True: a cancel returns when the venue has ended the order."""
        return True

    @property
    def is_trading_required(self) -> bool:
        """Whether the strategy trades here."""
        return self._trading_required

    @property
    def status_dict(self) -> dict[str, bool]:
        """What a strategy waits for before its first order."""
        return {
            "symbols_mapping_initialized": True,
            "order_books_initialized": all(self._services.books.is_live(self.venue, pair) for pair in self._pairs),
            "account_balance": not self._trading_required or len(self._account_balances) > 0,
            "trading_rule_initialized": len(self._trading_rules) > 0 or not self._trading_required,
            "user_stream_initialized": not self._trading_required or self._orders.is_open(self.venue),
        }

    @property
    def mixed_books(self) -> int:
        """How many versions were taken whose parts disagree; always 0 unless memory is broken."""
        return sum(book.mixed for book in self.order_book_tracker.order_books.values())

    def get_order_book(self, trading_pair: str) -> OrderBook:
        """Return the strategy's view of a pair's book.

        Raises:
            ValueError: the feed does not publish the pair.
        """
        book = self.order_book_tracker.order_books.get(trading_pair)
        if book is not None:
            book.pin()  # in pure Python, c_get_price() on what is returned here cannot
            return book
        try:
            book = self._use(self._services.books.rules(self.venue, trading_pair))
        except BookMissing as error:
            raise ValueError(f"No order book exists for '{trading_pair}'.") from error
        book.pin()
        return book

    async def use_pairs(self, pairs: list[str]) -> None:
        """Have the feed publish further pairs and make their books."""
        for rules in await self._services.instruments(self.venue, pairs):
            self._use(rules)
            if rules.pair not in self._pairs:
                self._pairs.append(rules.pair)

    def follow_rules(self) -> None:
        """Take over the trading rules that the venue has changed; runs inside the strategy's context."""
        self._rules.follow()

    def deliver_trades(self) -> None:
        """Give listening order books the trades since the last call; runs inside the strategy's context."""
        self._trades.deliver()

    def tick(self, timestamp: float) -> None:
        """Do nothing: the gate polls for all."""

    async def start_network(self) -> None:
        """Do nothing: feed and gate have the connections."""

    async def stop_network(self) -> None:
        """Do nothing: feed and gate have the connections."""

    async def check_network(self) -> NetworkStatus:
        """Return CONNECTED: losing feed or gate makes the connector refuse orders, not restart."""
        return NetworkStatus.CONNECTED

    async def _request_order_status(self, tracked_order: InFlightOrder) -> OrderUpdate:
        return OrderUpdate(
            client_order_id=tracked_order.client_order_id,
            exchange_order_id=tracked_order.exchange_order_id,
            trading_pair=tracked_order.trading_pair,
            update_timestamp=self.current_timestamp,
            new_state=tracked_order.current_state,
        )

    async def _all_trade_updates_for_order(self, order: InFlightOrder) -> list[TradeUpdate]:
        return list(order.order_fills.values())

    async def _get_last_traded_price(self, trading_pair: str) -> float:
        book = self.get_order_book(trading_pair)
        while book.version < 0:  # the feed has the pair and waits for its first snapshot
            await asyncio.sleep(FIRST_VERSION_POLL_S)
        price = book.last_trade_price
        return price if not math.isnan(price) else (book.get_price(True) + book.get_price(False)) / 2

    async def _update_balances(self) -> None:
        """Balances are live; nothing to ask for."""

    async def _update_trading_fees(self) -> None:
        """Fees come with each fill."""

    async def _user_stream_event_listener(self) -> None:
        """The gate listens."""

    async def _format_trading_rules(self, exchange_info_dict: dict[str, Any]) -> list[TradingRule]:
        return list(self._trading_rules.values())

    def _get_fee(self, base_currency, quote_currency, order_type, order_side, amount, price=None, is_maker=None):
        maker = order_type is OrderType.LIMIT_MAKER if is_maker is None else is_maker
        return DeductedFromReturnsTradeFee(percent=self.estimate_fee_pct(maker))

    def _is_request_exception_related_to_time_synchronizer(self, request_exception: Exception) -> bool:
        return False

    def _is_order_not_found_during_status_update_error(self, status_update_exception: Exception) -> bool:
        return False

    def _is_order_not_found_during_cancelation_error(self, cancelation_exception: Exception) -> bool:
        return False

    def _create_web_assistants_factory(self) -> None:
        return None

    def _create_order_book_data_source(self) -> None:
        return None

    def _create_user_stream_data_source(self) -> None:
        return None

    def _create_user_stream_tracker(self) -> None:
        return None

    def _initialize_trading_pair_symbols_from_exchange_info(self, exchange_info: dict[str, Any]) -> None:
        """Symbols come with the books."""

    def _use(self, rules: InstrumentRules) -> SharedOrderBook:
        pair = rules.pair
        self._rules.take(rules)
        counters = self._context.counters
        source = BookSource(self._services, self.venue, pair)
        book = SharedOrderBook(source, self._services.callbacks, counters.books_read, counters.mixed_books)
        self.order_book_tracker.order_books[pair] = book
        self._context.books.add((self.venue, pair))
        return book

    def _drop_pair(self, pair: str) -> None:
        """Forget a pair, and want it no more unless another connector of the strategy has it."""
        self._rules.drop(pair)
        if pair in self._pairs:
            self._pairs.remove(pair)
        core = self._context.host_data
        others = (one for one in core.made if one is not self and one.venue == self.venue)
        if not any(pair in one.order_book_tracker.order_books for one in others):
            self._services.forget(self.venue, pair)
