"""Every message has the keys and the value types of the venue's published example.

golden/*.json hold the examples of the venue's API documentation, with document and section. A string that is a
decimal must be one; null stands for null or a string; an element of a list must look like the example's first.
"""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sim.sim_process import Client, SimProcess

GOLDEN = Path(__file__).with_name("golden")
DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def example(name: str) -> Any:
    """Return a published example."""
    return json.loads((GOLDEN / f"{name}.json").read_text())["example"]


def kind(value: Any) -> str:
    """Return the JSON type of a value, with decimals in strings apart."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, str):
        return "decimal" if DECIMAL.fullmatch(value) else "text"
    return {type(None): "null", list: "list", dict: "object"}[type(value)]


def differences(seen: Any, published: Any, path: str = "$") -> list[str]:
    """Return where a message departs from an example."""
    if kind(seen) != kind(published):
        free = {kind(seen), kind(published)} in ({"null", "text"}, {"decimal", "text"})
        is_id = path in ("$.id", "$.event.c", "$.event.C", "$.clientOrderId")
        return [] if free or is_id else [f"{path}: {kind(seen)}, published {kind(published)}"]
    if isinstance(published, dict):
        found = [f"{path}.{key}: missing" for key in published.keys() - seen.keys()]
        found += [f"{path}.{key}: not published" for key in seen.keys() - published.keys()]
        for key in published.keys() & seen.keys():
            found += differences(seen[key], published[key], f"{path}.{key}")
        return found
    if isinstance(published, list) and published:
        if not seen:
            return [f"{path}: empty"]
        if any(kind(each) != kind(published[0]) for each in published):
            if len(seen) != len(published):
                return [f"{path}: {len(seen)} fields, published {len(published)}"]
            pairs = list(zip(seen, published, strict=True))
        else:
            pairs = [(each, published[0]) for each in seen]
        return [line for index, (a, b) in enumerate(pairs) for line in differences(a, b, f"{path}[{index}]")]
    return []


@pytest.fixture(scope="module")
def venue():
    process = SimProcess("--seed", "7", "--rate", "100", "--active", "2", "--symbols", "2", "--weight-limit", "2000",
                         "--ban-after", "2", "--message-limit", "100")
    yield process
    assert process.stop() == 0


@pytest.fixture
async def client(venue: SimProcess):
    async with Client(venue.info) as client:
        await client.control("clear")
        yield client
        await client.signed("DELETE", "openOrders", symbol="ETHUSDT")


def test_the_comparison_itself_notices_a_difference():
    assert differences({"a": "1.0", "b": [1]}, {"a": "2", "b": [7]}) == []
    assert differences({"a": 1.0 and 1}, {"a": "1"}) == ["$.a: integer, published decimal"]
    assert differences({"b": 1}, {"a": 1}) == ["$.a: missing", "$.b: not published"]
    assert differences([[1, "x"]], [[1, "2"]]) == []
    assert differences({"a": []}, {"a": ["x"]}) == ["$.a: empty"]


@pytest.mark.parametrize(("name", "path", "params"), [
    ("server_time", "time", {}),
    ("exchange_info", "exchangeInfo", {}),
    ("depth", "depth", {"symbol": "BTCUSDT"}),
    ("klines", "klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 5}),
    ("ticker_price", "ticker/price", {"symbol": "BTCUSDT"}),
    ("ticker_book", "ticker/bookTicker", {"symbol": "BTCUSDT"}),
    ("ticker_24hr", "ticker/24hr", {"symbol": "BTCUSDT"}),
    ("error", "depth", {"symbol": "NOPE"}),
])
async def test_public_answers(client: Client, name: str, path: str, params: dict[str, Any]):
    _, answer = await client.get(path, **params)
    if name == "exchange_info":
        filters = example("filters")
        for symbol in answer["symbols"]:
            assert {each["filterType"] for each in symbol["filters"]} == set(filters)
            for each in symbol["filters"]:
                assert differences(each, filters[each["filterType"]]) == []
            symbol["filters"] = []
    assert differences(answer, example(name)) == []


@pytest.mark.parametrize(("name", "wanted"), [("order_ack", "ACK"), ("order_result", "RESULT"), ("order_full", "FULL")])
async def test_answers_to_a_new_order(client: Client, name: str, wanted: str):
    _, answer = await client.order("ETHUSDT", "SELL", "MARKET", quantity="0.1", newOrderRespType=wanted)
    assert differences(answer, example(name)) == []


async def test_answers_about_orders_and_the_account(client: Client):
    _, placed = await client.order("ETHUSDT", quantity="0.01", price="3000")
    _, answer = await client.signed("GET", "order", symbol="ETHUSDT", orderId=placed["orderId"])
    assert differences(answer, example("order_status")) == []
    _, answer = await client.signed("GET", "openOrders", symbol="ETHUSDT")
    assert differences(answer, example("open_orders")) == []
    _, answer = await client.signed("DELETE", "order", symbol="ETHUSDT", orderId=placed["orderId"])
    assert differences(answer, example("order_cancel")) == []
    await client.order("ETHUSDT", "BUY", "MARKET", quantity="0.1")
    _, answer = await client.signed("GET", "myTrades", symbol="ETHUSDT")
    assert differences(answer, example("my_trades")) == []
    _, answer = await client.get("trades", symbol="ETHUSDT")
    assert differences(answer, example("trades")) == []
    for name, path, params in (
        ("account", "account", {}), ("order_counts", "rateLimit/order", {}),
        ("account_commission", "account/commission", {"symbol": "ETHUSDT"}),
    ):
        _, answer = await client.signed("GET", path, **params)
        assert differences(answer, example(name)) == []


@pytest.mark.parametrize(("name", "stream"), [
    ("stream_agg_trade", "aggTrade"), ("stream_trade", "trade"), ("stream_book_ticker", "bookTicker"),
    ("stream_depth", "depth@100ms"), ("stream_depth", "depth"), ("stream_kline", "kline_1m"),
])
async def test_stream_events(client: Client, name: str, stream: str):
    async with client.market() as socket:
        await socket.send_json({"method": "SUBSCRIBE", "params": [f"btcusdt@{stream}"], "id": 1})
        assert differences(await socket.receive_json(timeout=10), example("stream_subscribe")) == []
        while True:
            event = await socket.receive_json(timeout=20)
            # One side of a depth update may be unchanged.
            if event.get("e") != "depthUpdate" or (event["b"] and event["a"]):
                break
        assert differences(event, example(name)) == []


async def test_combined_events_and_listed_subscriptions(client: Client):
    url = client.info["rest_url"].replace("http", "ws") + "/stream?streams=btcusdt@aggTrade"
    async with client.session.ws_connect(url) as socket:
        assert differences(await socket.receive_json(timeout=20), example("stream_combined")) == []
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 3})
        while "result" not in (answer := await socket.receive_json(timeout=10)):
            pass
        assert differences(answer, example("stream_list")) == []


async def test_user_events_of_every_kind(client: Client):
    async with client.api() as socket:
        answer = await client.ask(socket, client.api_request("userDataStream.subscribe.signature", "s"))
        assert differences(answer, example("api_subscribe")) == []
        await client.order("ETHUSDT", quantity="0.01", price="3000", newClientOrderId="rest")
        await client.signed("DELETE", "order", symbol="ETHUSDT", origClientOrderId="rest")
        await client.order("ETHUSDT", "BUY", "MARKET", quantity="0.1")
        await client.order("ETHUSDT", quantity="0.01", price="3000", timeInForce="IOC")
        seen = set()
        while seen < {"NEW", "CANCELED", "TRADE", "EXPIRED", None}:
            event = await socket.receive_json(timeout=10)
            seen.add(event["event"].get("x"))
            name = "user_execution" if "x" in event["event"] else "user_position"
            assert differences(event, example(name)) == []


async def test_websocket_api_answers(client: Client):
    async with client.api() as socket:
        order = {"symbol": "ETHUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01",
                 "newOrderRespType": "RESULT"}
        answer = await client.ask(socket, client.api_request("order.place", "a", price="3000", **order))
        assert differences(answer, example("api_order")) == []
        answer = await client.ask(socket, client.api_request(
            "order.place", "b", price="3000", **{**order, "quantity": "2000"}))
        assert differences(answer, example("api_error")) == []
        assert answer["error"] == example("api_error")["error"]
        answer = await client.ask(socket, client.api_request("account.status", "c"))
        assert differences(answer, example("api_account")) == []
        answer = await client.ask(socket, {"id": "d", "method": "time"})
        assert differences(answer, example("api_time")) == []


async def test_the_answer_to_a_banned_address(client: Client):
    async with client.api() as socket:
        for number in range(60):
            answer = await client.ask(socket, {"id": str(number), "method": "ticker.24hr"})
            if answer["status"] == 418:
                break
        assert differences(answer, example("api_banned")) == []
        assert (await socket.receive(timeout=10)).type.name.startswith("CLOS")
    await client.control("clear")
