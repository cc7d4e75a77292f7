"""The trades of one connector's pairs, delivered to the order books that somebody listens to."""

from collections.abc import Mapping

from hummingbot.core.data_type.common import TradeType
from hummingbot.core.data_type.order_book import OrderBook
from hummingbot.core.event.events import OrderBookEvent, OrderBookTradeEvent

from hive.workers.market import MarketData

TRADE_EVENT = OrderBookEvent.TradeEvent
BUYER_IS_MAKER = 1


class FollowedTrades:
    """Keeps, for each pair, up to where its trades were delivered.

    Args:
        books: where trades come from.
        venue: index of the venue.
        order_books: of the connector, by pair.
    """

    def __init__(self, books: MarketData, venue: int, order_books: Mapping[str, OrderBook]):
        self._books = books
        self._venue = venue
        self._order_books = order_books
        self._cursors: dict[str, int] = {}

    def deliver(self) -> None:
        """Give listening order books the trades since the last call; one that nobody listens to starts anew later."""
        for pair, book in self._order_books.items():
            if not book.get_listeners(TRADE_EVENT):
                self._cursors.pop(pair, None)
                continue
            cursor, trades = self._books.trades_since(self._venue, pair, self._cursors.get(pair))
            self._cursors[pair] = cursor
            for trade in trades:
                book.apply_trade(
                    OrderBookTradeEvent(
                        trading_pair=pair,
                        timestamp=trade.exchange_ns * 1e-9,
                        type=TradeType.SELL if trade.flags & BUYER_IS_MAKER else TradeType.BUY,
                        price=trade.price,
                        amount=trade.qty,
                        trade_id=str(trade.trade_id),
                        is_taker=True,
                    )
                )
