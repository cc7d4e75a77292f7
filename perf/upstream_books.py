"""Upstream's way from market messages to books: its Binance data source, OrderBookTracker and OrderBook, as published.

    recorded bytes -> (in place of the WebSocket) -> WSConnection -> WSAssistant -> BinanceAPIOrderBookDataSource
                   -> queues -> OrderBookTracker -> OrderBook

Only what needs a network is replaced: aiohttp's connection object hands out the recorded messages, and the snapshots
come from memory. Every so many messages it waits for the loop once, as aiohttp does between two reads of the socket.
"""

import asyncio
import time
from collections.abc import Sequence

import aiohttp
from bidict import bidict
from hummingbot.connector.exchange.binance.binance_exchange import BinanceExchange
from hummingbot.core.data_type.order_book_tracker import OrderBookTracker
from hummingbot.core.web_assistant.connections.ws_connection import WSConnection
from hummingbot.core.web_assistant.ws_assistant import WSAssistant

MESSAGES_PER_READ = 16  # of those that came while the ones before were worked on


class RecordedSocket:
    """Stands for aiohttp's connection: text messages, and a pause of the loop after each read's worth of them."""

    closed = False

    def __init__(self) -> None:
        self._messages: list[bytes] = []
        self._next = 0
        self._more = asyncio.Event()

    def feed(self, messages: Sequence[bytes]) -> None:
        """Have these arrive."""
        self._messages = list(messages)
        self._next = 0
        self._more.set()

    async def receive(self, _timeout: float | None = None) -> aiohttp.WSMessage:
        """Return the next message."""
        while self._next == len(self._messages):
            self._more.clear()
            await self._more.wait()
        if self._next % MESSAGES_PER_READ == 0:
            await asyncio.sleep(0)
        raw = self._messages[self._next]
        self._next += 1
        return aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, raw.decode(), None)

    async def send_json(self, payload: object) -> None:
        """Take a subscription."""

    async def close(self) -> None:
        """End."""
        self.closed = True


class UpstreamBooks:
    """Books of `snapshots`, symbol -> (pair, GET depth's answer), kept by upstream's own classes."""

    def __init__(self, snapshots: dict[str, tuple[str, dict]]) -> None:
        self._snapshots = dict(snapshots.values())
        self._pair_of = {symbol: pair for symbol, (pair, _) in snapshots.items()}
        pairs = list(self._snapshots)
        self._exchange = BinanceExchange("", "", trading_pairs=pairs, trading_required=False)
        self._exchange._set_trading_pair_symbol_map(bidict(self._pair_of))
        source = self._exchange._orderbook_ds
        source._request_order_book_snapshot = self._snapshot
        source._connected_websocket_assistant = self._connect
        source.get_last_traded_prices = self._no_prices
        self._socket = RecordedSocket()
        self._tracker: OrderBookTracker = self._exchange.order_book_tracker
        self._tracker._sleep = self._no_pause

    async def start(self) -> None:
        """Start the tracker, and wait until every book has its snapshot."""
        self._tracker.start()
        await self._tracker.wait_ready()

    async def take(self, messages: Sequence[bytes], last_ids: dict[str, int]) -> float:
        """Process `messages`, after which each symbol's book has reached its id; return the CPU seconds that took."""
        books = [(self._tracker.order_books[self._pair_of[symbol]], last) for symbol, last in last_ids.items()]
        begun = time.process_time()
        self._socket.feed(messages)
        while any(book.last_diff_uid < last for book, last in books):
            await asyncio.sleep(0)
        return time.process_time() - begun

    def top(self, symbol: str, depth: int) -> tuple[list, list]:
        """Return the best levels of a book, [(price, quantity), ...] of bids and of asks."""
        book = self._tracker.order_books[self._pair_of[symbol]]
        sides = []
        for entries in (book.bid_entries(), book.ask_entries()):
            sides.append([(row.price, row.amount) for row, _ in zip(entries, range(depth), strict=False)])
        return sides[0], sides[1]

    def stop(self) -> None:
        """End the tracker's tasks."""
        self._tracker.stop()

    async def _connect(self) -> WSAssistant:
        connection = WSConnection(None)
        connection._connection = self._socket
        connection._connected = True
        return WSAssistant(connection)

    async def _snapshot(self, trading_pair: str) -> dict:
        return self._snapshots[trading_pair]

    @staticmethod
    async def _no_prices(trading_pairs: list[str], domain: str | None = None) -> dict[str, float]:
        """Stand for the request of last prices that the tracker makes before the first trades."""
        return dict.fromkeys(trading_pairs, 1.0)

    @staticmethod
    async def _no_pause(delay: float) -> None:
        """Start without the pause of a second between two snapshots."""
