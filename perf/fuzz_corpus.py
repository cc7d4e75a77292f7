"""Messages in the venue's documented shapes, and what can become of them on the way.

The shapes are those of Binance's spot API documentation; the values are made up.
"""

import copy
import json
import random
from typing import Any

MESSAGES: tuple[dict[str, Any], ...] = (
    {
        "e": "depthUpdate", "E": 1763990001123, "s": "LTCUSDT", "U": 4181, "u": 4187,
        "b": [["72.41000000", "10.50000000"], ["72.39000000", "0.00000000"]], "a": [["72.44000000", "3.02500000"]],
    },
    {
        "e": "trade", "E": 1763990001150, "s": "LTCUSDT", "t": 90121, "p": "72.42000000", "q": "0.75000000",
        "T": 1763990001149, "m": True, "M": True,
    },
    {
        "e": "aggTrade", "E": 1763990001150, "s": "LTCUSDT", "a": 55012, "p": "72.42000000", "q": "2.25000000",
        "f": 90119, "l": 90121, "T": 1763990001149, "m": False, "M": True,
    },
    {"u": 4187, "s": "LTCUSDT", "b": "72.41000000", "B": "10.50000000", "a": "72.44000000", "A": "3.02500000"},
    {
        "e": "kline", "E": 1763990002000, "s": "LTCUSDT",
        "k": {
            "t": 1763989980000, "T": 1763990039999, "s": "LTCUSDT", "i": "1m", "f": 90001, "L": 90121,
            "o": "72.30000000", "c": "72.42000000", "h": "72.51000000", "l": "72.28000000", "v": "1204.75000000",
            "n": 121, "x": False, "q": "87234.12450000", "V": "602.25000000", "Q": "43610.00120000", "B": "0",
        },
    },
    {"stream": "ltcusdt@trade", "data": {
        "e": "trade", "E": 1763990001150, "s": "LTCUSDT", "t": 90122, "p": "72.43000000", "q": "0.10000000",
        "T": 1763990001149, "m": False, "M": True,
    }},
    {"result": None, "id": 912},
    {"result": ["ltcusdt@trade", "ltcusdt@depth@100ms"], "id": 913},
)
ENDINGS: tuple[dict[str, Any], ...] = (
    {"error": {"code": 2, "msg": "Invalid request: unknown variant"}, "id": 914},
    {"code": -1121, "msg": "Invalid symbol."},
)
SHUTDOWN = {"e": "serverShutdown", "E": 1763990009999}
ANSWERS: dict[str, Any] = {
    "depth": {"lastUpdateId": 4187, "bids": [["72.41000000", "10.50000000"]], "asks": [["72.44000000", "3.02500000"]]},
    "klines": [[
        1763989980000, "72.30000000", "72.51000000", "72.28000000", "72.42000000", "1204.75000000", 1763990039999,
        "87234.12450000", 121, "602.25000000", "43610.00120000", "0",
    ]],
    "exchangeInfo": {
        "timezone": "UTC", "serverTime": 1763990000000,
        "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}],
        "exchangeFilters": [],
        "symbols": [{
            "symbol": "LTCUSDT", "status": "TRADING", "baseAsset": "LTC", "baseAssetPrecision": 8,
            "quoteAsset": "USDT", "quotePrecision": 8, "quoteAssetPrecision": 8, "orderTypes": ["LIMIT", "MARKET"],
            "icebergAllowed": True, "isSpotTradingAllowed": True,
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1448.00000000",
                 "tickSize": "0.01000000"},
                {"filterType": "LOT_SIZE", "minQty": "0.00100000", "maxQty": "124300.00000000",
                 "stepSize": "0.00100000"},
                {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True,
                 "maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 5},
            ],
            "permissions": [], "permissionSets": [["SPOT"]],
        }],
    },
    "error": {"code": -1003, "msg": "Too much request weight used; current limit is 6000 request weight per 1 MINUTE."},
}
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 0.5, 1e308, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**40, -(2**63) - 1, "", " ", "0",
    "-1", "+1", "1e5", "1e400", "NaN", "Infinity", "-Infinity", "nan", "0x10", "1_0", "1.", ".5", ".", "1.2.3",
    " 1.0", "1.0 ", "00001.5", "18446744073709551616", "9" * 60, "0." + "0" * 60 + "1", "\uff11", "\u0663", "\u03a9",
    "\u0000", "1\u00001", "\ud800",
    "a" * 5000, [], {}, [[]], [[["1", "1"]]], [["1"]], [["1", "1", "x", [1, {"y": "]"}]]], [[1, 1]], [None],
    [["1", "1"], 7], {"0": ["1", "1"]}, "depthUpdate", "trade", "BTCUSDT", "btcusdt", "NOPEUSDT",
)
FLOODS = (b"[" * 4000, b'{"a":' * 2000, b'"' * 3000, b"\xff" * 64, b"\x00" * 64, b" " * 4000, b"\\u0000" * 300)
SIGNS = b'{}[]",:0123456789.eE+-tfn \\\x00\x7f\x80\xc3\xff'
LONG_EVERY = 400  # messages of more than the largest the feed takes are dear to make


def mutate(rng: random.Random, message: dict[str, Any]) -> bytes:
    """Return a message that something has happened to, once or a few times."""
    chance = rng.random()
    if chance < 0.45:
        raw = mutated_json(rng, message)
    elif chance < 0.55:
        raw = _doubled_key(rng, message)
    else:
        raw = _text(message)
    if chance >= 0.45 or rng.random() < 0.1:
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            raw = rng.choice(BYTE_MUTATIONS)(rng, raw)
    return raw


def mutated_json(rng: random.Random, message: Any) -> bytes:
    """Return valid JSON of about the message's shape: values swapped, keys lost, renamed or moved, or wrapped."""
    changed = json.loads(json.dumps(message))
    for _ in range(rng.choice((1, 1, 2, 5))):
        changed = rng.choice(JSON_MUTATIONS)(rng, changed)
    return _text(changed)


def _odd(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(ODD_VALUES))  # what it is put into may be changed again


def _text(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        found.append((value, key))
        _places(inner, found)
    return found


def _swap(rng: random.Random, value: Any) -> Any:
    places = _places(value, [])
    if not places:
        return _odd(rng)
    holder, key = rng.choice(places)
    holder[key] = _odd(rng)
    return value


def _retype(rng: random.Random, value: Any) -> Any:
    places = _places(value, [])
    if places:
        holder, key = rng.choice(places)
        old = holder[key]
        holder[key] = str(old) if isinstance(old, int | float) else [old] if rng.random() < 0.5 else {"x": old}
    return value


def _lose(rng: random.Random, value: Any) -> Any:
    places = _places(value, [])
    if places:
        holder, key = rng.choice(places)
        del holder[key]
    return value


def _rename(rng: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        value[rng.choice((key.upper(), key.lower(), key + " ", "", "é" + key))] = value.pop(key)
    return value


def _shuffle(rng: random.Random, value: Any) -> Any:
    if isinstance(value, dict):
        items = list(value.items())
        rng.shuffle(items)
        return dict(items)
    return value


def _nudge(rng: random.Random, value: Any) -> Any:
    places = [(holder, key) for holder, key in _places(value, []) if type(holder[key]) is int]
    if places:
        holder, key = rng.choice(places)
        holder[key] += rng.choice((-1, 1, 2, -1000, 10**6))
    return value


def _wrap(rng: random.Random, value: Any) -> Any:
    wrapped = {"stream": rng.choice(("btcusdt@depth@100ms", "", 7, None)), "data": value}
    return rng.choice((wrapped, [value], {"data": value}, {"data": wrapped, "stream": "x"}, {"e": 1, **wrapped}))


def _extra(rng: random.Random, value: Any) -> Any:
    if isinstance(value, dict):
        key = rng.choice(("x", "pu", "e2", "U2", "result", "error", "id", "code", "data", "stream"))
        value[key] = _odd(rng)
    elif isinstance(value, list):
        value.insert(rng.randrange(len(value) + 1), _odd(rng))
    return value


def _doubled_key(rng: random.Random, message: dict[str, Any]) -> bytes:
    """Return the message with one of its keys written twice, with different values."""
    key = rng.choice(list(message))
    other = rng.choice((message[key], _odd(rng), message[rng.choice(list(message))]))
    text = json.dumps(message, separators=(",", ":"))
    member = f"{json.dumps(key)}:{json.dumps(other)}"
    return (text[:-1] + "," + member + "}" if rng.random() < 0.5 else "{" + member + "," + text[1:]).encode()


def _truncate(rng: random.Random, raw: bytes) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)]


def _behead(rng: random.Random, raw: bytes) -> bytes:
    return raw[rng.randrange(len(raw) + 1) :]


def _flip(rng: random.Random, raw: bytes) -> bytes:
    if not raw:
        return b"\xff"
    at = rng.randrange(len(raw))
    return raw[:at] + bytes((raw[at] ^ (1 << rng.randrange(8)),)) + raw[at + 1 :]


def _set_sign(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + bytes((rng.choice(SIGNS),)) + raw[at + rng.randrange(2) :]


def _cut(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + raw[at + rng.randrange(1, 9) :]


def _repeat(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw) + 1)
    part = raw[at : at + rng.randrange(1, 40)]
    return raw[:at] + part * rng.choice((2, 3, 50)) + raw[at + len(part) :]


def _flood(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + rng.choice(FLOODS) + raw[at:]


def _join(rng: random.Random, raw: bytes) -> bytes:
    return rng.choice((raw + raw, raw + b"\n" + raw, b"\xef\xbb\xbf" + raw, b" \t\n" + raw + b"\r\n", raw + b"\x00"))


def _escape(rng: random.Random, raw: bytes) -> bytes:
    letters = [at for at, sign in enumerate(raw) if 48 <= sign < 123 and sign not in b"[\\]"]
    if not letters:
        return raw
    at = rng.choice(letters)
    return raw[:at] + b"\\u%04x" % raw[at] + raw[at + 1 :]


def _huge(rng: random.Random, raw: bytes) -> bytes:
    if rng.randrange(LONG_EVERY):
        return _truncate(rng, raw)
    at = max(0, raw.find(b"[")) + 1
    return raw[:at] + b'["1.00000000","1.00000000"],' * 45_000 + raw[at:]


JSON_MUTATIONS = (_swap, _swap, _swap, _retype, _lose, _rename, _shuffle, _nudge, _wrap, _extra)
BYTE_MUTATIONS = (_truncate, _behead, _flip, _flip, _set_sign, _set_sign, _cut, _repeat, _flood, _join, _escape, _huge)
