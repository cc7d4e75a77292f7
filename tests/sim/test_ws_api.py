"""The WebSocket API and the user data stream over a real connection."""
from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from sim.sim_process import Client, SimProcess

KEYS = [
    {"api_key": "ann", "api_secret": "a-secret", "balances": {"BTC": "10", "USDT": "1000000"}},
    {"api_key": "bob", "api_secret": "b-secret", "balances": {"BTC": "10", "USDT": "1000000"}},
]


@pytest.fixture(scope="module")
def pair():
    """A quiet exchange with two accounts."""
    process = SimProcess("--rate", "0", "--orders-10s", "1000", keys=KEYS)
    yield process
    assert process.stop() == 0


@pytest.fixture
async def ann(pair: SimProcess):
    async with Client(pair.info, 0) as client:
        yield client
        await client.signed("DELETE", "openOrders", symbol="BTCUSDT")


@pytest.fixture
async def bob(pair: SimProcess):
    async with Client(pair.info, 1) as client:
        yield client
        await client.signed("DELETE", "openOrders", symbol="BTCUSDT")


def limit(client: Client, request_id: Any, side: str, price: str, quantity: str, **more: Any) -> dict[str, Any]:
    return client.api_request(
        "order.place", request_id, symbol="BTCUSDT", side=side, type="LIMIT", timeInForce="GTC", price=price,
        quantity=quantity, **more,
    )


async def events(socket: Any, count: int) -> list[dict[str, Any]]:
    """Return the next events without their wrapping."""
    found = []
    while len(found) < count:
        message = await socket.receive_json(timeout=10)
        if "event" in message:
            assert message["subscriptionId"] == 0
            found.append(message["event"])
    return found


async def test_an_order_is_placed_asked_for_and_cancelled(ann: Client):
    async with ann.api() as socket:
        placed = await ann.ask(socket, limit(ann, "p", "BUY", "60000.00", "0.01", newClientOrderId="mine"))
        assert placed["status"] == 200
        assert [entry["rateLimitType"] for entry in placed["rateLimits"]] == ["ORDERS", "ORDERS", "REQUEST_WEIGHT"]
        order_id = placed["result"]["orderId"]
        seen = await ann.ask(socket, ann.api_request("order.status", 2, symbol="BTCUSDT", orderId=order_id))
        assert (seen["result"]["status"], seen["result"]["clientOrderId"]) == ("NEW", "mine")
        opened = await ann.ask(socket, ann.api_request("openOrders.status", 3, symbol="BTCUSDT"))
        assert [order["orderId"] for order in opened["result"]] == [order_id]
        cancelled = await ann.ask(
            socket, ann.api_request("order.cancel", 4, symbol="BTCUSDT", origClientOrderId="mine"))
        assert (cancelled["result"]["status"], cancelled["result"]["origClientOrderId"]) == ("CANCELED", "mine")
        gone = await ann.ask(socket, ann.api_request("order.cancel", 5, symbol="BTCUSDT", origClientOrderId="mine"))
        assert (gone["status"], gone["error"]) == (400, {"code": -2011, "msg": "Unknown order sent."})


async def test_numbers_may_be_sent_as_numbers(ann: Client):
    async with ann.api() as socket:
        request = ann.api_request(
            "order.place", 1, symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", price=60000.5,
            quantity=0.01,
        )
        assert (await ann.ask(socket, request))["result"]["price"] == "60000.50000000"


async def test_the_user_stream_tells_the_whole_life_of_an_order(ann: Client, bob: Client):
    async with ann.api() as user, ann.api() as trading, bob.api() as other:
        subscribed = await ann.ask(user, ann.api_request("userDataStream.subscribe.signature", "s"))
        assert (subscribed["status"], subscribed["result"]) == (200, {"subscriptionId": 0})
        await ann.ask(trading, limit(ann, 1, "BUY", "64249.00", "0.02", newClientOrderId="whole"))
        new, position = await events(user, 2)
        assert (new["x"], new["X"], new["c"], new["l"]) == ("NEW", "NEW", "whole", "0.00000000")
        assert position["e"] == "outboundAccountPosition"
        usdt = next(balance for balance in position["B"] if balance["a"] == "USDT")
        assert Decimal(usdt["l"]) == Decimal("1284.98")
        await bob.ask(other, limit(bob, 1, "SELL", "64249.00", "0.005"))
        fill, _ = await events(user, 2)
        assert (fill["x"], fill["X"], fill["z"], fill["m"]) == ("TRADE", "PARTIALLY_FILLED", "0.00500000", True)
        assert (fill["N"], fill["n"], fill["C"]) == ("BTC", "0.00000500", "")
        await ann.ask(trading, ann.api_request(
            "order.cancel", 2, symbol="BTCUSDT", origClientOrderId="whole", newClientOrderId="the-cancel"))
        end, position = await events(user, 2)
        assert (end["x"], end["X"], end["c"], end["C"]) == ("CANCELED", "CANCELED", "the-cancel", "whole")
        usdt = next(balance for balance in position["B"] if balance["a"] == "USDT")
        assert Decimal(usdt["l"]) == 0
        _, trades = await ann.signed("GET", "myTrades", symbol="BTCUSDT")
        assert (trades[-1]["id"], trades[-1]["orderId"]) == (fill["t"], fill["i"])


async def test_an_account_sees_only_its_own_events(ann: Client, bob: Client):
    async with ann.api() as user:
        await ann.ask(user, ann.api_request("userDataStream.subscribe.signature"))
        await bob.order(quantity="0.01", price="60000")
        await ann.order(quantity="0.01", price="60001")
        report, _ = await events(user, 2)
        assert report["p"] == "60001.00000000"


async def test_a_stream_is_ended_and_cannot_be_doubled(ann: Client):
    async with ann.api() as user:
        await ann.ask(user, ann.api_request("userDataStream.subscribe.signature"))
        again = await ann.ask(user, ann.api_request("userDataStream.subscribe.signature"))
        assert again["status"] == 400
        ended = await ann.ask(user, {"id": 9, "method": "userDataStream.unsubscribe"})
        assert (ended["status"], ended["result"]) == (200, {})
        await ann.order(quantity="0.01", price="60000")
        answer = await ann.ask(user, {"id": 10, "method": "ping"})
        assert answer["result"] == {}
        shown = await ann.control("connections")
        assert shown["user"] == []


async def test_account_and_market_data_are_answered_too(ann: Client):
    async with ann.api() as socket:
        status = await ann.ask(socket, ann.api_request("account.status", 1, omitZeroBalances=True))
        assert {balance["asset"] for balance in status["result"]["balances"]} == {"BTC", "USDT"}
        depth = await ann.ask(socket, {"id": 2, "method": "depth", "params": {"symbol": "BTCUSDT", "limit": 5}})
        assert len(depth["result"]["bids"]) == 5
        info = await ann.ask(socket, {"id": 3, "method": "exchangeInfo", "params": {"symbols": ["BTCUSDT"]}})
        assert info["result"]["symbols"][0]["symbol"] == "BTCUSDT"
        prices = await ann.ask(socket, {"id": 4, "method": "v3/ticker.price", "params": {"symbol": "BTCUSDT"}})
        assert float(prices["result"]["price"]) > 0


@pytest.mark.parametrize(("change", "status", "code"), [
    ({"signature": "0" * 64}, 400, -1022),
    ({"timestamp": 1}, 400, -1021),
    ({"apiKey": "nobody"}, 401, -2015),
    ({"apiKey": ""}, 401, -2014),
    ({"symbol": "NOPE"}, 400, -1022),
])
async def test_a_request_that_is_not_authentic_is_refused(ann: Client, change: dict[str, Any], status: int, code: int):
    async with ann.api() as socket:
        request = ann.api_request("openOrders.status", 1, symbol="BTCUSDT")
        request["params"].update(change)
        answer = await ann.ask(socket, request)
        assert (answer["status"], answer["error"]["code"]) == (status, code)


async def test_what_is_no_request_is_refused(ann: Client):
    async with ann.api() as socket:
        await socket.send_str("{")
        answer = await socket.receive_json(timeout=10)
        assert (answer["id"], answer["status"], answer["error"]["code"]) == (None, 400, -1135)
        assert (await ann.ask(socket, {"id": 1, "method": "order.guess"}))["error"]["code"] == -1020
        assert (await ann.ask(socket, {"id": 2}))["error"]["code"] == -1102
