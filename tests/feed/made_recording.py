"""A market of two books that remembers every state it had, and a script that writes what it does into a recording."""

import json
import random

from feed.conftest import DEPTH
from hive.feed.binance import BinanceSpot
from hive.feed.recorder import Recorder
from hive.feed.recording import Header
from hive.feed.venue import HttpAnswer

VENUE = BinanceSpot("http://127.0.0.1:1")
PAIRS = {"BTCUSDT": "BTC-USDT", "ETHUSDT": "ETH-USDT"}
MS = 1_000_000
WALL_NS = 1_700_000_000_000 * MS


def exchange_info(*symbols, trading=True):
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "1"},
        {"filterType": "LOT_SIZE", "stepSize": "1", "minQty": "1", "maxQty": "900"},
    ]
    status = "TRADING" if trading else "BREAK"
    listed = [
        {"symbol": one, "baseAsset": one[:3], "quoteAsset": one[3:], "status": status, "filters": filters}
        for one in symbols
    ]
    return json.dumps({"symbols": listed}).encode()


class Market:
    """Two books that change at random, and every state that they ever had."""

    def __init__(self):
        self._rng = random.Random(11)
        self.ids = dict.fromkeys(PAIRS, 100)
        self.sides = {symbol: ({}, {}) for symbol in PAIRS}
        self.tops = {}
        for symbol in PAIRS:
            for level in range(20):
                self.sides[symbol][0][1_000 - level] = level + 1
                self.sides[symbol][1][1_001 + level] = level + 1
            self._keep(symbol)

    def diff(self, symbol):
        """Change some levels; return the message."""
        first = self.ids[symbol] + 1
        self.ids[symbol] += self._rng.randrange(1, 4)
        changed = ([], [])
        for side, (book, low, high) in enumerate(zip(self.sides[symbol], (981, 1_001), (1_000, 1_020), strict=True)):
            for _ in range(self._rng.randrange(3)):
                price, quantity = self._rng.randint(low, high), self._rng.randrange(9)
                if len(book) < 10 and not quantity:
                    quantity = 1
                book.pop(price, None)
                if quantity:
                    book[price] = quantity
                changed[side].append([str(price), str(quantity)])
        self._keep(symbol)
        message = {"e": "depthUpdate", "E": 1, "s": symbol, "U": first, "u": self.ids[symbol]}
        return json.dumps({**message, "b": changed[0], "a": changed[1]}, separators=(",", ":")).encode()

    def trade(self, symbol, number):
        message = {"e": "trade", "E": 1, "s": symbol, "t": number, "p": "1000", "q": "2", "T": 5, "m": True}
        return json.dumps(message, separators=(",", ":")).encode()

    def snapshot(self, symbol):
        bids, asks = self.levels(symbol)
        return json.dumps({"lastUpdateId": self.ids[symbol], "bids": bids, "asks": asks}).encode()

    def levels(self, symbol):
        bids, asks = self.sides[symbol]
        return (
            [[str(price), str(bids[price])] for price in sorted(bids, reverse=True)],
            [[str(price), str(asks[price])] for price in sorted(asks)],
        )

    def _keep(self, symbol):
        sides = [[(float(p), float(q)) for p, q in side[:DEPTH]] for side in self.levels(symbol)]
        self.tops[PAIRS[symbol], self.ids[symbol]] = sides


class Script:
    """Writes a recording: each step is a millisecond after the one before."""

    def __init__(self, path):
        self.ns = 0
        self.market = Market()
        self.recorder = Recorder(path, Header("binance", "http://127.0.0.1:1", "ws://h/ws", WALL_NS, 0), VENUE,
                                 clock=lambda: self.ns)  # fmt: skip
        self.taps = {}
        self._trades = 0

    def on(self, number):
        while number not in self.taps:
            self.taps[len(self.taps) + 1] = self.recorder.connection()
        self.ns += MS
        return self.taps[number]

    def message(self, number, data):
        tap = self.on(number)
        tap.on_message(data, self.ns)

    def diffs(self, number, count):
        for _ in range(count):
            for symbol in PAIRS:
                self.message(number, self.market.diff(symbol))

    def trade(self, number):
        self._trades += 1
        self.message(number, self.market.trade("BTCUSDT", self._trades))

    def answer(self, request, body, status=200):
        self.ns += MS
        self.recorder.on_answer(request, HttpAnswer(status, body, -1, 0.0))

    def rules(self, **options):
        self.answer(VENUE.rules_requests(list(PAIRS))[0], exchange_info(*PAIRS, **options))

    def snapshots(self, limit=100):
        for symbol in PAIRS:
            self.answer(VENUE.snapshot_request(symbol, limit), self.market.snapshot(symbol))

    def subscribed(self, number):
        kinds = ("book", "trades")
        self.on(number).on_subscribed([s for one in PAIRS for kind in kinds for s in VENUE.streams(one, kind)])

    def begin(self, number=1):
        self.rules()
        self.on(number).on_up()
        self.message(number, b'{"result":null,"id":1}')
        self.subscribed(number)
        self.diffs(number, 3)
        self.snapshots()

    def close(self):
        self.recorder.close()
