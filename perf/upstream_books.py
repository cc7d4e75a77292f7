"""Upstream's way from market messages to books: its Binance data source, OrderBookTracker and OrderBook, as published.

    recorded bytes -> (in place of the WebSocket) -> WSConnection -> WSAssistant -> BinanceAPIOrderBookDataSource
                   -> queues -> OrderBookTracker -> OrderBook

Only what needs a network is replaced: aiohttp's connection object hands out the recorded messages, and the snapshots
come from memory. Messages come one after another, each when the one before is in its book: its four tasks, with a queue
between each two, need TURNS turns of the loop for that. Or several come at a time, so that the tasks share the turns.
The first turn is the socket's, which anybody needs: what it costs is measured with nobody listening, and subtracted.
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

TURNS = 4  # receive and queue; parse and queue; route and queue; apply


class RecordedSocket:
    """Stands for aiohttp's connection: text messages, `at_a_time` of them, after some turns of the loop."""

    closed = False

    def __init__(self, turns: int) -> None:
        self._turns = turns
        self._messages: list[bytes] = []
        self._next = 0
        self._at_a_time = 1
        self._more = asyncio.Event()

    def feed(self, messages: Sequence[bytes], at_a_time: int) -> None:
        """Have these arrive."""
        self._messages = list(messages)
        self._next = 0
        self._at_a_time = at_a_time
        self._more.set()

    async def receive(self, _timeout: float | None = None) -> aiohttp.WSMessage:
        """Return the next message."""
        while self._next == len(self._messages):
            self._more.clear()
            await self._more.wait()
        if self._next % self._at_a_time == 0:
            await _turns(asyncio.get_running_loop(), self._turns)
        raw = self._messages[self._next]
        self._next += 1
        return aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, raw.decode(), None)

    async def send_json(self, payload: object) -> None:
        """Take a subscription."""

    async def close(self) -> None:
        """End."""
        self.closed = True


def _turns(loop: asyncio.AbstractEventLoop, count: int) -> asyncio.Future:
    """Return what is done after `count` turns of the loop, without waking anybody in between."""
    done = loop.create_future()

    def turn(left: int) -> None:
        if left:
            loop.call_soon(turn, left - 1)
        else:
            done.set_result(None)

    loop.call_soon(turn, count - 1)
    return done


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
        self._socket = RecordedSocket(TURNS)
        self._tracker: OrderBookTracker = self._exchange.order_book_tracker
        self._tracker._sleep = self._no_pause

    async def start(self) -> None:
        """Start the tracker, and wait until every book has its snapshot."""
        self._tracker.start()
        await self._tracker.wait_ready()

    async def take(self, messages: Sequence[bytes], last_ids: dict[str, int], at_a_time: int = 1) -> float:
        """Process `messages`, after which each symbol's book has reached its id; return the CPU seconds that took."""
        books = [(self._tracker.order_books[self._pair_of[symbol]], last) for symbol, last in last_ids.items()]
        begun = time.process_time()
        self._socket.feed(messages, at_a_time)
        while any(book.last_diff_uid < last for book, last in books):
            await asyncio.sleep(0.01)
        took = time.process_time() - begun
        return took - await self._unheard(messages, at_a_time)

    async def _unheard(self, messages: Sequence[bytes], at_a_time: int) -> float:
        """Return the CPU seconds of one turn for each read, with nobody to work on what comes."""
        socket = RecordedSocket(1)
        begun = time.process_time()
        socket.feed(messages, at_a_time)
        for _ in messages:
            await socket.receive()
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
