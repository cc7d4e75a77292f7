"""Binance's published shapes, and everything that is not one of them."""

import json
from decimal import Decimal

import pytest

from hive.feed.binance import LONGEST_MESSAGE, BinanceSpot
from hive.feed.errors import MalformedMessage, VenueRefused
from hive.feed.venue import Answer, CandleEvent, Diff, HttpAnswer, Notice, TradeEvent

VENUE = BinanceSpot("http://127.0.0.1:1/")

DIFF = {
    "e": "depthUpdate",
    "E": 1672515782136,
    "s": "BNBBTC",
    "U": 157,
    "u": 160,
    "b": [["0.0024", "10"]],
    "a": [["0.0026", "100"]],
}
TRADE = {
    "e": "trade",
    "E": 1672515782136,
    "s": "BNBBTC",
    "t": 12345,
    "p": "0.001",
    "q": "100",
    "T": 1672515782136,
    "m": True,
    "M": True,
}
KLINE = {
    "e": "kline",
    "E": 1672515782136,
    "s": "BNBBTC",
    "k": {
        "t": 1672515780000,
        "T": 1672515839999,
        "s": "BNBBTC",
        "i": "1m",
        "f": 100,
        "L": 200,
        "o": "0.0010",
        "c": "0.0020",
        "h": "0.0025",
        "l": "0.0015",
        "v": "1000",
        "n": 100,
        "x": False,
        "q": "1.0000",
        "V": "500",
        "Q": "0.500",
        "B": "123456",
    },
}
HISTORY = [
    1499040000000,
    "0.01634790",
    "0.80000000",
    "0.01575800",
    "0.01577100",
    "148976.11427815",
    1499644799999,
    "2434.19055334",
    308,
    "1756.87402397",
    "28.46694368",
    "0",
]
SYMBOL = {
    "symbol": "ETHBTC",
    "status": "TRADING",
    "baseAsset": "ETH",
    "quoteAsset": "BTC",
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.00000100", "maxPrice": "100000.00", "tickSize": "0.00000100"},
        {"filterType": "LOT_SIZE", "minQty": "0.00100000", "maxQty": "100000.00000000", "stepSize": "0.00100000"},
        {
            "filterType": "NOTIONAL",
            "minNotional": "10.00000000",
            "applyMinToMarket": False,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
    ],
}


def answer(body, status=200, retry_after_s=0.0):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpAnswer(status=status, body=raw, used_weight=1, retry_after_s=retry_after_s)


def levels(raw):
    return json.loads(bytes(raw))


def enveloped(message, stream="bnbbtc@depth@100ms"):
    return {"stream": stream, "data": message}


@pytest.mark.parametrize("message", [DIFF, enveloped(DIFF), {"data": DIFF, "stream": "x"}])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_published_diff_is_read_alone_and_in_a_combined_stream(message, separators):
    diff = VENUE.parse(json.dumps(message, separators=separators).encode())
    assert type(diff) is Diff
    assert (diff.symbol, diff.first_id, diff.last_id, diff.prev_id) == ("BNBBTC", 157, 160, -1)
    assert diff.exchange_ns == 1672515782136_000_000
    assert (levels(diff.bids), levels(diff.asks)) == ([["0.0024", "10"]], [["0.0026", "100"]])


def test_a_derivative_diff_names_the_one_before_it():
    assert VENUE.parse(json.dumps({**DIFF, "pu": 149}).encode()).prev_id == 149


def test_a_published_trade_is_read():
    expected = TradeEvent("BNBBTC", 12345, 1672515782136_000_000, 0.001, 100.0, True)
    assert VENUE.parse(json.dumps(TRADE).encode()) == expected


def test_answers_are_told_from_events():
    assert VENUE.parse(b'{"result":null,"id":1}') == Answer(1, "")
    refused = VENUE.parse(b'{"error":{"code":2,"msg":"Invalid request"},"id":3}')
    assert refused == Answer(3, "Invalid request")
    assert VENUE.parse(b'{"code":3,"msg":"Invalid JSON"}') == Answer(-1, "Invalid JSON")


def test_an_event_of_another_kind_is_nothing():
    assert VENUE.parse(b'{"e":"24hrTicker","E":1}') is None
    assert VENUE.parse(json.dumps(enveloped({"e": "bookTicker"})).encode()) is None


def test_a_published_candle_is_read():
    expected = CandleEvent(
        symbol="BNBBTC",
        interval="1m",
        open_ms=1672515780000,
        open=0.001,
        high=0.0025,
        low=0.0015,
        close=0.002,
        volume=1000.0,
        close_ms=1672515839999,
        quote_volume=1.0,
        trades=100,
        taker_base=500.0,
        taker_quote=0.5,
        closed=False,
    )
    assert VENUE.parse(json.dumps(KLINE).encode()) == expected
    assert VENUE.parse(json.dumps(enveloped(KLINE)).encode()) == expected


def test_a_shutdown_that_the_venue_announces_is_a_notice():
    assert VENUE.parse(b'{"e":"serverShutdown","E":1770123456789}') == Notice("shutdown", "serverShutdown")


def test_past_candles_are_read_and_only_the_newest_may_not_be_over():
    first, second = VENUE.klines(answer([HISTORY, HISTORY]))
    assert (first.open_ms, first.close_ms, first.trades) == (1499040000000, 1499644799999, 308)
    assert (first.open, first.high, first.low, first.close) == (0.0163479, 0.8, 0.015758, 0.015771)
    assert (first.volume, first.quote_volume) == (148976.11427815, 2434.19055334)
    assert (first.taker_base, first.taker_quote) == (1756.87402397, 28.46694368)
    assert (first.closed, second.closed) == (True, False)
    assert VENUE.klines(answer([])) == []


@pytest.mark.parametrize("body", [b"", {}, [[]], [HISTORY[:8]], [["x", *HISTORY[1:]]], [[1, "nan", *HISTORY[2:]]]])
def test_malformed_past_candles_are_named_as_such(body):
    with pytest.raises(MalformedMessage):
        VENUE.klines(answer(body))


def without(message, key):
    return {name: value for name, value in message.items() if name != key}


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"nonsense", b"[]", b"[1,2]", b"1", b"null", b'"text"', b"NaN", b"{}", b'{"e":7}', b'{"stream":1}',
        b"\xff\xfe\x00", b'{"a":1}x', b"[" * 100_000, b'{"a":' * 100_000, b'"' + b"x" * LONGEST_MESSAGE + b'"',
        *[json.dumps(without(DIFF, key)) for key in ("E", "s", "U", "u", "b", "a")],
        *[json.dumps(without(TRADE, key)) for key in ("s", "t", "T", "p", "q", "m")],
        *[
            json.dumps({**DIFF, key: value})
            for key in ("E", "U", "u")
            for value in (None, "1", 1.5, -1, True, 2**63, 10**30, [], {})
        ],
        *[json.dumps({**DIFF, "pu": value}) for value in (None, "1", -2, 2**63)],
        *[json.dumps({**KLINE, "k": without(KLINE["k"], key)}) for key in "tTiochlvnxqVQ"],
        *[json.dumps({**KLINE, "k": {**KLINE["k"], "o": value}}) for value in (1, "0", "nan", None)],
        json.dumps({**KLINE, "k": None}),
        *[json.dumps({**DIFF, "s": value}) for value in (None, 1, [], {})],
        json.dumps({**DIFF, "U": 161}),
        *[
            json.dumps({**TRADE, key: value})
            for key in ("p", "q")
            for value in (None, 1, "", "x", "0", "-1", "nan", "inf", "1e999", [])
        ],
        *[json.dumps({**TRADE, "t": value}) for value in (None, "1", -1, 2**63)],
    ],
)  # fmt: skip
def test_a_malformed_message_is_named_as_such(raw):
    with pytest.raises(MalformedMessage):
        VENUE.parse(raw if type(raw) is bytes else raw.encode())


def test_an_exchange_info_gives_exact_rules():
    rules = VENUE.rules(answer({"symbols": [SYMBOL]}))["ETHBTC"]
    assert (rules.pair, rules.base, rules.quote, rules.trading) == ("ETH-BTC", "ETH", "BTC", True)
    assert (rules.tick, rules.step) == (Decimal("0.000001"), Decimal("0.001"))
    assert (rules.min_qty, rules.max_qty) == (Decimal("0.001"), Decimal(100_000))
    assert (rules.min_notional, rules.max_notional) == (Decimal(10), Decimal(9_000_000))
    assert str(rules.max_qty) == "100000"


def test_the_older_notional_filter_and_a_halt_are_understood():
    filters = [*SYMBOL["filters"][:2], {"filterType": "MIN_NOTIONAL", "minNotional": "0.00010000"}]
    rules = VENUE.rules(answer({"symbols": [{**SYMBOL, "filters": filters, "status": "BREAK"}]}))["ETHBTC"]
    assert (rules.min_notional, rules.max_notional, rules.trading) == (Decimal("0.0001"), None, False)


def test_an_entry_without_readable_rules_is_as_if_not_listed():
    broken = [{}, None, 1, {**SYMBOL, "filters": []}, {**SYMBOL, "filters": [{"filterType": "PRICE_FILTER"}]}]
    assert VENUE.rules(answer({"symbols": broken})) == {}


def test_a_snapshot_is_read_with_the_size_that_was_asked_for():
    snapshot = VENUE.snapshot(answer({"lastUpdateId": 1027024, "bids": [["4.0", "431.0"]], "asks": []}), 100)
    assert (snapshot.last_id, snapshot.limit) == (1027024, 100)
    assert (levels(snapshot.bids), levels(snapshot.asks)) == ([["4.0", "431.0"]], [])


@pytest.mark.parametrize("body", [b"", b"[]", b"oops", {"bids": [], "asks": []}, {"lastUpdateId": "1"}, {"bids": 1}])
def test_a_malformed_snapshot_is_named_as_such(body):
    with pytest.raises(MalformedMessage):
        VENUE.snapshot(answer(body), 100)


def test_a_refusal_carries_status_code_and_wait():
    with pytest.raises(VenueRefused, match="Invalid symbol") as caught:
        VENUE.snapshot(answer({"code": -1121, "msg": "Invalid symbol."}, 400), 100)
    assert (caught.value.status, caught.value.code) == (400, -1121)
    with pytest.raises(VenueRefused) as caught:
        VENUE.snapshot(answer(b"<html>", 429, 7.0), 100)
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (429, 0, 7.0)


def test_the_cheapest_snapshot_holds_twice_the_depth():
    assert VENUE.snapshot_limits(50)[0] == 100
    assert VENUE.snapshot_limits(51) == [500, 1_000, 5_000]
    assert VENUE.snapshot_limits(5_000) == [5_000]
    assert [VENUE.snapshot_request("BTCUSDT", limit).weight for limit in VENUE.snapshot_limits(1)] == [5, 25, 50, 250]


def test_requests_name_what_the_venue_documents():
    assert VENUE.symbol("BTC-USDT") == "BTCUSDT"
    assert VENUE.streams("BTCUSDT", "book") == ("btcusdt@depth@100ms",)
    assert VENUE.streams("BTCUSDT", "trades") == ("btcusdt@trade",)
    assert VENUE.streams("BTCUSDT", "candles:1M") == ("btcusdt@kline_1M",)
    asked = VENUE.klines_request("BTCUSDT", "1m", 500, end_ms=17)
    assert asked.url == "http://127.0.0.1:1/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=500&endTime=17"
    assert VENUE.klines_request("BTCUSDT", "1m", 1).url.endswith("&limit=1")
    assert json.loads(VENUE.subscribe(4, ["a", "b"])) == {"method": "SUBSCRIBE", "params": ["a", "b"], "id": 4}
    assert json.loads(VENUE.unsubscribe(5, ["a"])) == {"method": "UNSUBSCRIBE", "params": ["a"], "id": 5}
    assert VENUE.snapshot_request("BTCUSDT", 100).url == "http://127.0.0.1:1/api/v3/depth?symbol=BTCUSDT&limit=100"
    requests = VENUE.rules_requests([f"SYM{i}USDT" for i in range(250)])
    assert [request.weight for request in requests] == [20, 20, 20]
    assert requests[0].url.startswith("http://127.0.0.1:1/api/v3/exchangeInfo?symbols=%5B%22SYM0USDT%22%2C")


@pytest.mark.parametrize("kind", ["books", "candles", "candles:7m", "candles:", "trades:1m"])
def test_a_kind_that_the_venue_does_not_have_is_refused(kind):
    with pytest.raises(ValueError, match="a kind must be"):
        VENUE.streams("BTCUSDT", kind)


@pytest.mark.parametrize(("interval", "limit"), [("7m", 1), ("1m", 0), ("1m", 1_001)])
def test_candles_that_the_venue_does_not_have_are_refused(interval, limit):
    with pytest.raises(ValueError, match="candles must be"):
        VENUE.klines_request("BTCUSDT", interval, limit)
