"""The orders of a connector: sent to the gate, tracked as Hummingbot tracks them, told of what became of them.

    buy() --> quantized, checked, id --> intent in the queue, gate woken --> tracked --> a task that awaits the answer

A plain limit order leaves inside of `buy()` or `sell()`, on the version of its book that the strategy sees. Every other
order, and one that Hummingbot's own checks would fail, takes the way of `ExchangePyBase`: a task, in the loop's next
pass, that checks, tracks and sends it, or tells the strategy why not. What a strategy is told is the same.

An order whose fate the venue has not told yet is open with the exchange id UNKNOWN, as the stock Binance connector has
it after a 503: only the venue ends it. A cancel of it waits in the gate and never says "not found", so the tracker
neither loses nor forgets it.
"""

import asyncio
import secrets
from decimal import Decimal
from typing import Any

from hummingbot.connector.exchange_py_base import ExchangePyBase
from hummingbot.core.data_type.common import OrderType, PositionAction, TradeType
from hummingbot.core.data_type.in_flight_order import InFlightOrder, OrderState, OrderUpdate, TradeUpdate
from hummingbot.core.data_type.trade_fee import TokenAmount, TradeFeeBase
from hummingbot.core.utils.async_utils import safe_ensure_future
from hummingbot.core.utils.tracking_nonce import get_tracking_nonce

from hive.shm.ids import ORDER_ID_MAX, order_prefix
from hive.shm.messages import Intent, IntentKind, Reply, ReplyKind, Side, TimeInForce
from hive.shm.messages import OrderType as IntentOrderType
from hive.workers.context import StrategyContext
from hive.workers.errors import OrderRefused
from hive.workers.host import WorkerServices
from hummingbot.runtime.event_log import ShortEventLog
from hummingbot.runtime.exits import WaitingExits
from hummingbot.runtime.tracker import SharedOrderTracker

UNKNOWN_EXCHANGE_ID = "UNKNOWN"
NO_SUCH_ORDER = -2013  # the code of a cancel of which the venue was asked and knows no such order
NO_PRICE = Decimal("NaN")
ORDER_TYPES = {
    OrderType.LIMIT: IntentOrderType.LIMIT,
    OrderType.LIMIT_MAKER: IntentOrderType.LIMIT_MAKER,
    OrderType.MARKET: IntentOrderType.MARKET,
}
RESTING = frozenset({OrderType.LIMIT, OrderType.LIMIT_MAKER})
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


class OrderingExchange(ExchangePyBase):
    """The half of a connector that has orders; `SharedExchange` is the whole."""

    end_again_s = 30.0  # after a refused cancel of an order of an earlier run

    def __init__(self, venue: int, context: StrategyContext, services: WorkerServices):
        """Make it.

        Args:
            venue: index of the venue in the fleet.
            context: the strategy's context in the worker.
            services: what the worker offers.
        """
        self.venue = venue
        self._context = context
        self._services = services
        self._orders = services.orders
        self._prefix = order_prefix(services.fleet_id, context.tag)
        self._id_tail = secrets.token_hex(3)  # no other connector has it, nor this one's next life
        self._id_heads: dict[tuple[TradeType, str], str] = {}
        super().__init__()
        self._event_log = ShortEventLog(self)
        self._exits = WaitingExits(self._obstacle)

    @property
    def client_order_id_max_length(self) -> int:
        """Length of the longest client order id."""
        return ORDER_ID_MAX

    @property
    def client_order_id_prefix(self) -> str:
        """What names the fleet and the strategy in every client order id."""
        return self._prefix

    def supported_order_types(self) -> list[OrderType]:
        """Return the order types that the gate sends."""
        return list(ORDER_TYPES)

    def buy(
        self,
        trading_pair: str,
        amount: Decimal,
        order_type: OrderType = OrderType.LIMIT,
        price: Decimal = NO_PRICE,
        **options: Any,
    ) -> str:
        """Place an order to buy; returns its client order id. Whatever hinders it reaches the strategy as an event."""
        return self._submit(TradeType.BUY, trading_pair, amount, order_type, price, options)

    def sell(
        self,
        trading_pair: str,
        amount: Decimal,
        order_type: OrderType = OrderType.LIMIT,
        price: Decimal = NO_PRICE,
        **options: Any,
    ) -> str:
        """Place an order to sell; see `buy`."""
        return self._submit(TradeType.SELL, trading_pair, amount, order_type, price, options)

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
        while True:
            reply = await self._orders.cancel(self.venue, order.trading_pair, order.client_order_id)
            if reply.kind is not ReplyKind.CANCEL_FAILED:
                return
            if reply.code == NO_SUCH_ORDER:
                self._update(order, reply, OrderState.CANCELED)  # the venue has forgotten it, or never knew it
                return
            await asyncio.sleep(self.end_again_s)  # it may be open: the market may be closed

    def _create_order_tracker(self) -> SharedOrderTracker:
        return SharedOrderTracker(connector=self)

    def _submit(
        self,
        trade_type: TradeType,
        pair: str,
        amount: Decimal,
        order_type: OrderType,
        price: Decimal,
        options: dict[str, Any],
    ) -> str:
        plain = self._plain(pair, amount, order_type, price, options)
        if plain is None:
            order_id = self._new_id(trade_type, pair)
            task = self._create_order(trade_type, order_id, pair, amount, order_type, price, **options)
            safe_ensure_future(task)
            return order_id
        amount, price = plain
        created_ns = self._services.now_ns()  # from here on it is not Hummingbot's code any more
        order_id = self._new_id(trade_type, pair)
        try:
            answer = self._orders.place(self._intent(order_id, trade_type, pair, amount, order_type, price, created_ns))
        except OrderRefused as refused:
            answer = self._services.loop.create_future()
            answer.set_exception(refused)
        self.start_tracking_order(order_id, None, pair, trade_type, price, amount, order_type)
        safe_ensure_future(self._follow(self._order_tracker.active_orders[order_id], answer))
        return order_id

    def _plain(
        self, pair: str, amount: Decimal, order_type: OrderType, price: Decimal, options: dict[str, Any]
    ) -> tuple[Decimal, Decimal] | None:
        """Return the quantized amount and price of an order that can leave at once, None when it must go the long way.

        The long way begins anew and comes to its own verdict, so what is odd about an order need not be known here.
        """
        rule = self._trading_rules.get(pair)
        if rule is None or order_type not in RESTING or asyncio._get_running_loop() is not self._services.loop:
            return None
        if type(price) is not Decimal or type(amount) is not Decimal or not price.is_finite():
            return None
        try:
            price = self.quantize_order_price(pair, price)
            amount = self.quantize_order_amount(pair, amount)
            enough = price > 0 and amount >= rule.min_order_size and price * amount >= rule.min_notional_size
        except ArithmeticError:
            return None
        if not enough or pair not in self.order_book_tracker.order_books:
            return None
        if options.get("position_action") is PositionAction.CLOSE and self._obstacle(pair):
            return None
        return amount, price

    def _new_id(self, trade_type: TradeType, pair: str) -> str:
        """Return a client order id in Hummingbot's shape: prefix, side, ends of both assets' names, nonce, tail."""
        head = self._id_heads.get((trade_type, pair))
        if head is None:
            ends = "".join(asset[0] + asset[-1] for asset in pair.upper().split("-"))
            head = self._prefix + trade_type.name[0] + ends.replace("$", "")
            self._id_heads[trade_type, pair] = head
        return f"{head}{get_tracking_nonce():x}{self._id_tail}"[:ORDER_ID_MAX]

    def _intent(
        self,
        order_id: str,
        trade_type: TradeType,
        pair: str,
        amount: Decimal,
        order_type: OrderType,
        price: Decimal | None,
        created_ns: int,
    ) -> Intent:
        book = self.order_book_tracker.order_books[pair]
        side = Side.BUY if trade_type is TradeType.BUY else Side.SELL
        kind = ORDER_TYPES[order_type]
        epoch = max(book.epoch, 0)
        return Intent(
            IntentKind.PLACE, self.venue, pair, order_id, side, kind, TimeInForce.GTC, price, amount,
            epoch, book.version, created_ns,
        )  # fmt: skip

    async def _follow(self, order: InFlightOrder, answer: asyncio.Future[Reply]) -> None:
        """Tell the strategy what becomes of an order that was sent."""
        try:
            await self._place_order_and_process_update(order, answer=answer)
        except (OrderRefused, OrderRejected) as error:
            self._on_order_failure(
                order.client_order_id,
                order.trading_pair,
                order.amount,
                order.trade_type,
                order.order_type,
                order.price,
                error,
            )

    async def _place_order(
        self,
        order_id: str,
        trading_pair: str,
        amount: Decimal,
        trade_type: TradeType,
        order_type: OrderType,
        price: Decimal,
        position_action: PositionAction = PositionAction.NIL,
        answer: asyncio.Future[Reply] | None = None,
        **ignored: Any,
    ) -> tuple[str, float]:
        if answer is None:
            if position_action is PositionAction.CLOSE and not await self._exits.wait(order_id, trading_pair):
                unsent = Reply(ReplyKind.REJECTED, self.venue, order_id, text="cancelled before it was sent")
                raise OrderRejected(f"{trade_type.name} order {order_id} was not placed", unsent)
            given = None if order_type is OrderType.MARKET else price
            now_ns = self._services.now_ns()
            intent = self._intent(order_id, trade_type, trading_pair, amount, order_type, given, now_ns)
            answer = self._orders.place(intent)
        reply = await answer
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
