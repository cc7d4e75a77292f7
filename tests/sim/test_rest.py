"""The REST API over real HTTP: what it answers, and the exact code and text of every refusal."""
from __future__ import annotations

import time
from decimal import Decimal
from urllib.parse import urlencode

import pytest

from sim.sim_process import Client

CLOSED = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}


async def test_ping_time_and_listing(client: Client):
    assert await client.get("ping") == (200, {})
    status, answer = await client.get("time")
    assert status == 200
    assert abs(answer["serverTime"] - time.time() * 1000) < 1000
    status, info = await client.get("exchangeInfo")
    assert len(info["symbols"]) == 30
    assert {limit["rateLimitType"] for limit in info["rateLimits"]} == {"REQUEST_WEIGHT", "ORDERS", "RAW_REQUESTS"}
    status, info = await client.get("exchangeInfo", symbols='["BTCUSDT","ETHBTC"]')
    assert [symbol["symbol"] for symbol in info["symbols"]] == ["BTCUSDT", "ETHBTC"]
    status, info = await client.get("exchangeInfo", symbolStatus="HALT")
    assert info["symbols"] == []


async def test_depth_has_as_many_levels_as_asked_for_best_first(client: Client):
    status, depth = await client.get("depth", symbol="ETHUSDT", limit=7)
    bids, asks = ([Decimal(price) for price, _ in depth[side]] for side in ("bids", "asks"))
    assert status == 200
    assert len(bids) == len(asks) == 7
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]


async def test_every_level_of_both_sides_fits_into_a_snapshot(client: Client):
    _, depth = await client.get("depth", symbol="ETHUSDT", limit=1000)
    assert len(depth["bids"]) >= 60
    assert len(depth["asks"]) >= 60


async def test_weights_are_charged_as_documented(client: Client):
    async def weight(path: str, **params: object) -> int:
        await client.get("ping")
        before = int(client.headers["X-MBX-USED-WEIGHT-1M"])
        assert (await client.get(path, **params))[0] == 200
        after = int(client.headers["X-MBX-USED-WEIGHT-1M"])
        assert client.headers["X-MBX-USED-WEIGHT"] == str(after)
        # A minute may have begun in between.
        return after - before if after > before else after

    assert await weight("time") == 1
    assert await weight("exchangeInfo", symbol="BTCUSDT") == 20
    for limit, expected in ((5, 5), (100, 5), (101, 25), (500, 25), (1000, 50), (5000, 250)):
        assert await weight("depth", symbol="BTCUSDT", limit=limit) == expected
    assert await weight("ticker/price", symbol="BTCUSDT") == 2
    assert await weight("ticker/price") == 4
    assert await weight("ticker/24hr") == 80
    assert await weight("klines", symbol="BTCUSDT", interval="1m") == 2


async def test_an_accepted_order_costs_no_weight_and_one_order(client: Client):
    await client.get("ping")
    before = int(client.headers["X-MBX-USED-WEIGHT-1M"])
    status, order = await client.order(quantity="0.001", price="60000")
    assert status == 200
    assert int(client.headers["X-MBX-USED-WEIGHT-1M"]) in (before, 0)
    assert int(client.headers["X-MBX-ORDER-COUNT-10S"]) >= 1
    assert int(client.headers["X-MBX-ORDER-COUNT-1D"]) >= 1
    assert (await client.signed("DELETE", "order", symbol="BTCUSDT", orderId=order["orderId"]))[0] == 200


async def test_klines_reach_back_beyond_the_start(client: Client):
    status, rows = await client.get("klines", symbol="BTCUSDT", interval="1m", limit=500)
    assert status == 200
    assert len(rows) == 500
    opens = [row[0] for row in rows]
    assert opens == list(range(opens[0], opens[0] + 500 * 60_000, 60_000))
    for row in rows:
        low, high = Decimal(row[3]), Decimal(row[2])
        assert low <= Decimal(row[1]) <= high
        assert low <= Decimal(row[4]) <= high
    assert await client.get("klines", symbol="BTCUSDT", interval="1m", limit=500, endTime=opens[100]) != (200, rows)


async def test_the_life_of_an_order(client: Client):
    status, placed = await client.order(
        quantity="0.00200000", price="60000.00", newClientOrderId="life-1", newOrderRespType="RESULT"
    )
    assert (status, placed["status"], placed["clientOrderId"]) == (200, "NEW", "life-1")
    status, seen = await client.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="life-1")
    assert (seen["orderId"], seen["status"], seen["isWorking"]) == (placed["orderId"], "NEW", True)
    status, opened = await client.signed("GET", "openOrders", symbol="BTCUSDT")
    assert [order["orderId"] for order in opened] == [placed["orderId"]]
    status, cancelled = await client.signed("DELETE", "order", symbol="BTCUSDT", origClientOrderId="life-1")
    assert (status, cancelled["status"], cancelled["origClientOrderId"]) == (200, "CANCELED", "life-1")
    assert cancelled["clientOrderId"] not in ("", "life-1")
    status, seen = await client.signed("GET", "order", symbol="BTCUSDT", orderId=placed["orderId"])
    assert seen["status"] == "CANCELED"
    assert (await client.signed("GET", "openOrders"))[1] == []


async def test_a_market_order_fills_with_fills_and_trades(client: Client):
    status, order = await client.order("SOLUSDT", "SELL", "MARKET", quantity="3")
    assert (status, order["status"]) == (200, "FILLED")
    assert sum(Decimal(fill["qty"]) for fill in order["fills"]) == 3
    for fill in order["fills"]:
        received = Decimal(fill["price"]) * Decimal(fill["qty"])
        assert fill["commissionAsset"] == "USDT"
        assert Decimal(fill["commission"]) == (received / 1000).quantize(Decimal("1E-8"), "ROUND_DOWN")
    status, trades = await client.signed("GET", "myTrades", symbol="SOLUSDT", orderId=order["orderId"])
    assert [(trade["id"], trade["isBuyer"], trade["isMaker"]) for trade in trades] == [
        (fill["tradeId"], False, False) for fill in order["fills"]
    ]
    status, public = await client.get("trades", symbol="SOLUSDT")
    assert public[-1]["id"] == trades[-1]["id"]
    assert public[-1]["isBuyerMaker"] is True


async def test_orders_are_cancelled_all_at_once(client: Client):
    for price in ("2000", "2001"):
        await client.order("ETHUSDT", quantity="0.01", price=price)
    status, cancelled = await client.signed("DELETE", "openOrders", symbol="ETHUSDT")
    assert (status, len(cancelled), {order["status"] for order in cancelled}) == (200, 2, {"CANCELED"})
    assert await client.signed("DELETE", "openOrders", symbol="ETHUSDT") == (
        400, {"code": -2011, "msg": "Unknown order sent."})


@pytest.mark.parametrize(("changes", "code", "message"), [
    ({"symbol": "NOPE"}, -1121, "Invalid symbol."),
    ({"symbol": "btcusdt"}, -1100,
     "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'."),
    ({"side": "HOLD"}, -1117, "Invalid side."),
    ({"type": "GUESS"}, -1116, "Invalid orderType."),
    ({"timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
    ({"timeInForce": None}, -1102, "Mandatory parameter 'timeInForce' was not sent, was empty/null, or malformed."),
    ({"price": None}, -1102, "Mandatory parameter 'price' was not sent, was empty/null, or malformed."),
    ({"quantity": None}, -1102, "Mandatory parameter 'quantity' was not sent, was empty/null, or malformed."),
    ({"quantity": "-1"}, -1100,
     r"Illegal characters found in parameter 'quantity'; legal range is '^([0-9]{1,20})(\.[0-9]{1,20})?$'."),
    ({"quantity": "0"}, -1013, "Invalid quantity."),
    ({"price": "0"}, -1013, "Invalid price."),
    ({"quantity": "0.001000001"}, -1111, "Parameter 'quantity' has too much precision."),
    ({"price": "60000.001"}, -1013, "Filter failure: PRICE_FILTER"),
    ({"price": "2000000"}, -1013, "Filter failure: PRICE_FILTER"),
    ({"price": "10000"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    ({"quantity": "0.000001"}, -1013, "Filter failure: LOT_SIZE"),
    ({"quantity": "0.001001"}, -1013, "Filter failure: LOT_SIZE"),
    ({"quantity": "0.00005"}, -1013, "Filter failure: NOTIONAL"),
    ({"quantity": "100"}, -2010, "Account has insufficient balance for requested action."),
    ({"type": "LIMIT_MAKER", "timeInForce": None, "price": "70000"}, -2010,
     "Order would immediately match and take."),
    ({"type": "LIMIT_MAKER"}, -1106, "Parameter 'timeInForce' sent when not required."),
    ({"type": "MARKET", "timeInForce": None}, -1106, "Parameter 'price' sent when not required."),
    ({"type": "MARKET", "timeInForce": None, "price": None, "quantity": None}, -1102,
     "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!"),
    ({"type": "MARKET", "timeInForce": None, "price": None, "quantity": "20"}, -1013,
     "Filter failure: MARKET_LOT_SIZE"),
    ({"type": "STOP_LOSS_LIMIT"}, -2010, "Stop loss limit orders are not supported for this symbol."),
    ({"newClientOrderId": "not allowed!"}, -1100,
     r"Illegal characters found in parameter 'newClientOrderId'; legal range is '^[\.A-Z\:/a-z0-9_-]{1,36}$'."),
    ({"newClientOrderId": "x" * 37}, -1100,
     r"Illegal characters found in parameter 'newClientOrderId'; legal range is '^[\.A-Z\:/a-z0-9_-]{1,36}$'."),
    ({"surprise": "1"}, -1104, "Not all sent parameters were read; read '8' parameter(s) but was sent '9'."),
])
async def test_an_order_that_breaks_a_rule_is_refused(client: Client, changes: dict, code: int, message: str):
    params = {**CLOSED, "quantity": "0.001", "price": "60000", **changes}
    status, answer = await client.signed(
        "POST", "order", **{name: value for name, value in params.items() if value is not None}
    )
    assert (status, answer) == (400, {"code": code, "msg": message})


async def test_a_client_id_is_unique_among_open_orders(client: Client):
    assert (await client.order(quantity="0.001", price="60000", newClientOrderId="twice"))[0] == 200
    assert await client.order(quantity="0.001", price="60000", newClientOrderId="twice") == (
        400, {"code": -2010, "msg": "Duplicate order sent."})
    assert (await client.signed("DELETE", "order", symbol="BTCUSDT", origClientOrderId="twice"))[0] == 200
    assert (await client.order(quantity="0.001", price="60000", newClientOrderId="twice"))[0] == 200
    assert (await client.signed("DELETE", "order", symbol="BTCUSDT", origClientOrderId="twice"))[0] == 200


async def test_an_order_that_is_not_there(client: Client):
    assert await client.signed("GET", "order", symbol="BTCUSDT", origClientOrderId="ghost") == (
        400, {"code": -2013, "msg": "Order does not exist."})
    assert await client.signed("DELETE", "order", symbol="BTCUSDT", origClientOrderId="ghost") == (
        400, {"code": -2011, "msg": "Unknown order sent."})
    assert await client.signed("DELETE", "order", symbol="BTCUSDT") == (
        400, {"code": -1102,
              "msg": "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!"})


async def test_keys_signatures_and_times_are_checked(client: Client):
    now = int(time.time() * 1000)
    query = f"timestamp={now}"
    signed = f"{query}&signature={client.sign(query)}"
    account = "/api/v3/account"
    assert (await client.raw("GET", account, signed, key=client.key))[0] == 200
    assert (await client.raw("GET", account, signed.upper().replace("TIMESTAMP", "timestamp").replace(
        "SIGNATURE", "signature"), key=client.key))[0] == 200
    assert await client.raw("GET", account, signed) == (
        401, {"code": -2014, "msg": "API-key format invalid."})
    assert await client.raw("GET", account, signed, key="unknown") == (
        401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."})
    assert await client.raw("GET", account, f"{query}&signature={'0' * 64}", key=client.key) == (
        400, {"code": -1022, "msg": "Signature for this request is not valid."})
    assert await client.raw("GET", account, query, key=client.key) == (
        400, {"code": -1102, "msg": "Mandatory parameter 'signature' was not sent, was empty/null, or malformed."})
    assert await client.raw("GET", account, "signature=00", key=client.key) == (
        400, {"code": -1102, "msg": "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed."})
    for shift, message in (
        (-6000, "Timestamp for this request is outside of the recvWindow."),
        (3000, "Timestamp for this request was 1000ms ahead of the server's time."),
    ):
        assert await client.signed("GET", "account", timestamp=now + shift) == (
            400, {"code": -1021, "msg": message})
    assert (await client.signed("GET", "account", timestamp=now - 6000, recvWindow=20000))[0] == 200
    assert (await client.signed("GET", "account", recvWindow=60001))[1]["code"] == -1131


async def test_a_signature_covers_query_and_body_as_they_were_sent(client: Client):
    now = int(time.time() * 1000)
    params = {**CLOSED, "quantity": "0.001", "price": "60000", "timestamp": now}
    body = urlencode(params)
    in_body = f"{body}&signature={client.sign(body)}"
    for query, sent_body in (
        (in_body, ""),
        ("", in_body),
        ("symbol=BTCUSDT&side=BUY", "type=LIMIT&timeInForce=GTC&quantity=0.001&price=60000&"
         f"timestamp={now}"),
    ):
        if "signature" not in query + sent_body:
            sent_body += f"&signature={client.sign(query + sent_body)}"
        status, answer = await client.raw("POST", "/api/v3/order", query, sent_body, key=client.key)
        assert status == 200, answer
    await client.signed("DELETE", "openOrders", symbol="BTCUSDT")
    assert (await client.raw("POST", "/api/v3/order", "", in_body.replace("0.001", "0.002"), key=client.key))[1][
        "code"] == -1022
    twice = f"symbol=BTCUSDT&symbol=ETHUSDT&timestamp={now}"
    assert (await client.raw("GET", "/api/v3/openOrders", f"{twice}&signature={client.sign(twice)}",
                             key=client.key))[1] == {
        "code": -1101, "msg": "Duplicate values for a parameter detected."}


async def test_balances_show_what_open_orders_lock(client: Client):
    _, before = await client.signed("GET", "account", omitZeroBalances="true")
    await client.order("ADAUSDT", quantity="100", price="0.4")
    _, after = await client.signed("GET", "account", omitZeroBalances="true")
    free, locked = ({balance["asset"]: Decimal(balance[kind]) for balance in after["balances"]}
                    for kind in ("free", "locked"))
    was = {balance["asset"]: Decimal(balance["free"]) for balance in before["balances"]}
    assert locked["USDT"] == 40
    assert was["USDT"] - free["USDT"] == 40
    await client.signed("DELETE", "openOrders", symbol="ADAUSDT")


async def test_an_unknown_path_is_not_found(client: Client):
    assert (await client.raw("GET", "/api/v3/nothing"))[0] == 404
