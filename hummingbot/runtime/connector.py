"""The exchange connector that strategies see: Hummingbot's own order tracking over Hive's books and gate.

Books and trading rules come from shared memory, balances and the fate of orders from the gate; nothing here opens a
connection. `ExchangePyBase` and its `ClientOrderTracker` do the rest, so every event reaches a strategy in the order
and shape in which a live connector would emit it.

An order whose fate the venue has not told yet is open with the exchange id UNKNOWN, as the stock Binance connector has
it after a 503: only the venue ends it. A cancel of it waits in the gate and never says "not found", so the tracker
neither loses nor forgets it.
"""

import asyncio
import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from hummingbot.connector.exchange_py_base import ExchangePyBase
from hummingbot.connector.trading_rule import TradingRule
from hummingbot.core.data_type.common import OrderType, PositionAction, TradeType
from hummingbot.core.data_type.in_flight_order import InFlightOrder, OrderState, OrderUpdate, TradeUpdate
from hummingbot.core.data_type.order_book import OrderBook
from hummingbot.core.data_type.trade_fee import DeductedFromReturnsTradeFee, TokenAmount, TradeFeeBase
from hummingbot.core.network_iterator import NetworkStatus
from hummingbot.core.utils.async_utils import safe_ensure_future

from hive.shm.ids import ORDER_ID_MAX, order_prefix
from hive.shm.instruments import InstrumentRules
from hive.shm.messages import Intent, IntentKind, Reply, ReplyKind, Side, TimeInForce
from hive.shm.messages import OrderType as IntentOrderType
from hive.workers.context import StrategyContext, current
from hive.workers.errors import BookMissing
from hive.workers.host import WorkerServices
from hummingbot.runtime.books import BookSource, SharedBooks
from hummingbot.runtime.event_log import ShortEventLog
from hummingbot.runtime.exits import WaitingExits
from hummingbot.runtime.order_book import SharedOrderBook
from hummingbot.runtime.rules import FollowedRules, VenueRules
from hummingbot.runtime.tracker import SharedOrderTracker
from hummingbot.runtime.trades import FollowedTrades

UNKNOWN_EXCHANGE_ID = "UNKNOWN"
FIRST_VERSION_POLL_S = 0.05
NO_SUCH_ORDER = -2011  # the venue's code
ORDER_TYPES = {
    OrderType.LIMIT: IntentOrderType.LIMIT,
    OrderType.LIMIT_MAKER: IntentOrderType.LIMIT_MAKER,
    OrderType.MARKET: IntentOrderType.MARKET,
}
FINAL_STATES = {
    ReplyKind.FILLED: OrderState.FILLED,
    ReplyKind.CANCELLED: OrderState.CANCELED,
    ReplyKind.EXPIRED: OrderState.CANCELED,  # Hummingbot has no state for an order that the venue ended by itself
    ReplyKind.REJECTED: OrderState.FAILED,
}


class OrderRejected(IOError):
    """The venue, or Hive before it, refused an order or a cancel; shaped as a live connector's request error."""

    def __init__(self, action: str, reply: Reply):
        super().__init__(f'{action}: {{"code":{reply.code},"msg":"{reply.text}"}}')


def connector_for_current_context(name: str, trading_pairs: list[str], trading_required: bool) -> "SharedExchange":
    """Return a new connector of the strategy whose code asks; Hummingbot's own factories call this."""
    return current().host_data.make_connector(name, trading_pairs, trading_required)


class SharedExchange(ExchangePyBase):
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
        self.venue = venue
        self._pairs = list(trading_pairs)
        self._trading_required = trading_required
        self._context = context
        self._services = services
        self._orders = services.orders
        self._prefix = order_prefix(services.fleet_id, context.tag)
        super().__init__()
        self._event_log = ShortEventLog(self)
        self._set_order_book_tracker(SharedBooks(self.use_pairs, self._drop_pair))
        self._exits = WaitingExits(self._obstacle)
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
    def client_order_id_max_length(self) -> int:
        """Length of the longest client order id."""
        return ORDER_ID_MAX

    @property
    def client_order_id_prefix(self) -> str:
        """What names the fleet and the strategy in every client order id."""
        return self._prefix

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

    def supported_order_types(self) -> list[OrderType]:
        """Return the order types that the gate sends."""
        return list(ORDER_TYPES)

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

    def on_reply(self, reply: Reply) -> None:
        """Take what the gate tells of one of this strategy's orders; runs inside the strategy's context."""
        self._event_log.note_reply()
        order = self._order_tracker.all_fillable_orders.get(reply.client_order_id)
        if order is None:
            self.logger().warning(f"{reply.kind.name} of an order that is not tracked: {reply.client_order_id}")
            return
        if reply.exchange_order_id and order.exchange_order_id in (None, UNKNOWN_EXCHANGE_ID):
            order.update_exchange_order_id(reply.exchange_order_id)
        if reply.kind is ReplyKind.FILL:
            self._order_tracker.process_trade_update(self._trade_update(order, reply))
        elif reply.kind is ReplyKind.ACKED:
            self._update(order, reply, OrderState.OPEN)
        elif reply.kind is ReplyKind.CANCEL_FAILED:
            self.logger().warning(f"Cancel of {reply.client_order_id} was refused: {reply.text}")
        elif reply.kind in FINAL_STATES:
            self._update(order, reply, FINAL_STATES[reply.kind])

    def restore_tracking_states(self, saved_states: dict[str, Any]) -> None:
        """Track orders of an earlier run again and end those that are still open: nobody manages them any more."""
        super().restore_tracking_states(saved_states)
        for order in list(self._order_tracker.active_orders.values()):
            if order.client_order_id.startswith(self._prefix):
                safe_ensure_future(self._end_restored(order))
            else:
                self._order_tracker.stop_tracking_order(order.client_order_id)

    async def _end_restored(self, order: InFlightOrder) -> None:
        reply = await self._orders.cancel(self.venue, order.trading_pair, order.client_order_id)
        if reply.kind is ReplyKind.CANCEL_FAILED and reply.code == NO_SUCH_ORDER:
            self._update(order, reply, OrderState.CANCELED)  # the venue has forgotten it, or never knew it

    def tick(self, timestamp: float) -> None:
        """Do nothing: the gate polls for all."""

    async def start_network(self) -> None:
        """Do nothing: feed and gate have the connections."""

    async def stop_network(self) -> None:
        """Do nothing: feed and gate have the connections."""

    async def check_network(self) -> NetworkStatus:
        """Return CONNECTED: losing feed or gate makes the connector refuse orders, not restart."""
        return NetworkStatus.CONNECTED

    def _create_order_tracker(self) -> SharedOrderTracker:
        return SharedOrderTracker(connector=self)

    async def _place_order(
        self,
        order_id: str,
        trading_pair: str,
        amount: Decimal,
        trade_type: TradeType,
        order_type: OrderType,
        price: Decimal,
        position_action: PositionAction = PositionAction.NIL,
        **ignored: Any,
    ) -> tuple[str, float]:
        if position_action is PositionAction.CLOSE and not await self._exits.wait(order_id, trading_pair):
            unsent = Reply(ReplyKind.REJECTED, self.venue, order_id, text="cancelled before it was sent")
            raise OrderRejected(f"{trade_type.name} order {order_id} was not placed", unsent)
        book = self.order_book_tracker.order_books[trading_pair]
        reply = await self._orders.place(
            Intent(
                kind=IntentKind.PLACE,
                venue=self.venue,
                pair=trading_pair,
                client_order_id=order_id,
                side=Side.BUY if trade_type is TradeType.BUY else Side.SELL,
                order_type=ORDER_TYPES[order_type],
                tif=TimeInForce.GTC,
                price=None if order_type is OrderType.MARKET else price,
                amount=amount,
                book_epoch=max(book.epoch, 0),
                book_version=book.version,
                created_ns=self._services.now_ns(),
            )
        )
        if reply.kind is ReplyKind.REJECTED:
            raise OrderRejected(f"{trade_type.name} order {order_id} was rejected", reply)
        moment = reply.wall_ns * 1e-9 or self.current_timestamp
        return reply.exchange_order_id or UNKNOWN_EXCHANGE_ID, moment

    def _obstacle(self, pair: str) -> str:
        """Return why no order on a pair can be sent now, "" when it can; see `OrderRouter.place`."""
        if not self._orders.is_open(self.venue):
            return f"{self._connector_name} takes no orders"
        for venue, used in ((self.venue, pair), *self._context.books):
            if not self._services.books.is_live(venue, used):
                return f"the book of {used} is not live"
        return ""

    async def _place_cancel(self, order_id: str, tracked_order: InFlightOrder) -> bool:
        if self._exits.cancel(order_id):
            return False  # its placement says how it ended
        reply = await self._orders.cancel(self.venue, tracked_order.trading_pair, order_id)
        if reply.kind is ReplyKind.CANCEL_FAILED:
            raise OrderRejected(f"cancel of order {order_id} was refused", reply)
        return reply.kind is ReplyKind.CANCELLED

    async def _execute_order_cancel_and_process_update(self, order: InFlightOrder) -> bool:
        # on_reply() moves the order's state, in the venue's order of events; here only the outcome is told.
        return await self._place_cancel(order.client_order_id, order)

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

    def _update(self, order: InFlightOrder, reply: Reply, state: OrderState) -> None:
        misc = {"error_type": "OrderRejected", "error_message": reply.text} if state is OrderState.FAILED else None
        self._order_tracker.process_order_update(
            OrderUpdate(
                client_order_id=order.client_order_id,
                exchange_order_id=order.exchange_order_id,
                trading_pair=order.trading_pair,
                update_timestamp=reply.wall_ns * 1e-9 or self.current_timestamp,
                new_state=state,
                misc_updates=misc,
            )
        )

    def _trade_update(self, order: InFlightOrder, reply: Reply) -> TradeUpdate:
        fee = TradeFeeBase.new_spot_fee(
            fee_schema=self.trade_fee_schema(),
            trade_type=order.trade_type,
            percent_token=reply.fee_asset,
            flat_fees=[TokenAmount(amount=reply.fee, token=reply.fee_asset)] if reply.fee else [],
        )
        return TradeUpdate(
            trade_id=str(reply.trade_id),
            client_order_id=order.client_order_id,
            exchange_order_id=reply.exchange_order_id or order.exchange_order_id,
            trading_pair=order.trading_pair,
            fill_timestamp=reply.wall_ns * 1e-9,
            fill_price=reply.price,
            fill_base_amount=reply.amount,
            fill_quote_amount=reply.price * reply.amount,
            fee=fee,
            is_taker=not reply.maker,
        )
