"""What Binance says, read; and what its errors mean for a request's fate."""

import json
from decimal import Decimal

import pytest

from hive.gate.binance_messages import (
    Answer,
    account_balances,
    account_position,
    account_trade,
    answer_of_rest,
    answer_of_ws,
    execution_report,
    limit_counts,
    limit_rules,
    needed,
    order_params,
    order_state,
    pairs,
    placed_trades,
    signed_order,
)
from hive.gate.errors import ClockRefused, Refused, Throttled, Unanswered
from hive.gate.limit_rules import LimitCount, LimitKind, LimitRule
from hive.gate.signing import Signer
from hive.gate.venue import NewOrder, OrderStatus
from hive.gate.venue_limits import binance_open_caps
from hive.shm.messages import OrderType, Side, TimeInForce

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("status", "code", "text", "fate"),
    [
        (400, -2010, "Account has insufficient balance for requested action.", Refused),
        (400, -1013, "Filter failure: LOT_SIZE", Refused),
        (401, -2015, "Invalid API-key, IP, or permissions for action.", Refused),
        (404, 0, "", Refused),
        (400, -1021, "Timestamp for this request is outside of the recvWindow.", ClockRefused),
        (400, -2010, "Duplicate order sent.", Unanswered),
        (400, -1006, "An unexpected response was received from the message bus.", Unanswered),
        (400, -1007, "Timeout waiting for response from backend server.", Unanswered),
        (408, 0, "", Unanswered),
        (500, 0, "", Unanswered),
        (503, -1008, "Server is currently overloaded.", Unanswered),
        (302, 0, "", Unanswered),
        (429, -1003, "Too much request weight used", Throttled),
        (429, -1015, "Too many new orders", Throttled),
        (418, -1003, "IP banned", Throttled),
        (403, 0, "", Throttled),
    ],
)
def test_an_errors_meaning_for_the_requests_fate(status, code, text, fate):
    with pytest.raises(fate) as caught:
        Answer(status, code=code, text=text).check()
    assert type(caught.value) is fate


def test_a_ban_tells_until_when():
    message = {
        "id": 1,
        "status": 418,
        "error": {
            "code": -1003,
            "msg": "Way too much request weight used; IP banned until 1659146400000.",
            "data": {"serverTime": 1659142907531, "retryAfter": 1659146400000},
        },
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 2411}
        ],
    }
    answer = answer_of_ws(message, 0)
    assert answer.counts == [LimitCount(LimitKind.WEIGHT, 60 * SECOND, 2411)]
    with pytest.raises(Throttled) as caught:
        answer.check()
    assert caught.value.wait_s == pytest.approx(3492.469)


def test_rest_headers_tell_counts_and_when_to_come_again():
    headers = {
        "X-MBX-USED-WEIGHT-1M": "12",
        "X-MBX-USED-WEIGHT": "12",
        "x-mbx-order-count-10s": "3",
        "X-MBX-ORDER-COUNT-1D": "40",
        "Retry-After": "7",
    }
    answer = answer_of_rest(429, {"code": -1003, "msg": "slow down"}, headers)
    assert sorted(answer.counts, key=lambda count: count.window_ns) == [
        LimitCount(LimitKind.ORDERS, 10 * SECOND, 3),
        LimitCount(LimitKind.WEIGHT, 60 * SECOND, 12),
        LimitCount(LimitKind.ORDERS, 86_400 * SECOND, 40),
    ]
    with pytest.raises(Throttled) as caught:
        answer.check()
    assert caught.value.wait_s == 7


def test_a_good_status_without_a_readable_body_leaves_the_fate_open():
    with pytest.raises(Unanswered):
        answer_of_rest(200, None, {})


def test_limits_and_pairs_are_read_from_exchange_info():
    limits = [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
        {"rateLimitType": "SOMETHING_NEW", "interval": "MINUTE", "intervalNum": 5, "limit": 1},
    ]
    assert limit_rules(limits) == [
        LimitRule(LimitKind.WEIGHT, 60 * SECOND, 6000),
        LimitRule(LimitKind.ORDERS, 10 * SECOND, 100),
        LimitRule(LimitKind.REQUESTS, 300 * SECOND, 61000),
    ]
    assert pairs([{"symbol": "ETHBTC", "baseAsset": "ETH", "quoteAsset": "BTC"}]) == {"ETH-BTC": "ETHBTC"}


def test_of_a_symbol_only_names_and_order_cap_are_read_and_all_of_anything_else():
    cap = {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200}
    names = {"symbol": "ETHBTC", "baseAsset": "ETH", "quoteAsset": "BTC"}
    symbol = {**names, "status": "TRADING", "permissions": [], "filters": [{"filterType": "NOTIONAL"}, cap]}
    of_all = {"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": 1000}
    rest = {"exchangeFilters": [of_all], "rateLimits": [{"limit": 6000}]}
    read = json.loads(json.dumps({**rest, "symbols": [symbol]}), object_hook=needed)
    assert read == {**rest, "symbols": [{**names, "filters": [cap]}]}
    assert pairs(read["symbols"]) == {"ETH-BTC": "ETHBTC"}
    assert binance_open_caps(read) == binance_open_caps({**rest, "symbols": [symbol]}) == ({"ETHBTC": 200}, 1000)


@pytest.mark.parametrize(
    ("order_type", "more"),
    [
        (OrderType.LIMIT, {"price": "0.00000010", "timeInForce": "IOC"}),
        (OrderType.LIMIT_MAKER, {"price": "0.00000010"}),
        (OrderType.MARKET, {}),
    ],
)
def test_an_orders_parameters_are_plain_decimals(order_type, more):
    price = None if order_type is OrderType.MARKET else Decimal("1.0E-7")
    order = NewOrder("BTCUSDT", "id", Side.SELL, order_type, TimeInForce.IOC, price, Decimal("1E+3"))
    assert order_params(order) == {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": order_type.name,
        "quantity": "1000",
        "newClientOrderId": "id",
        "newOrderRespType": "FULL",
        **more,
    }


@pytest.mark.parametrize("order_type", OrderType)
def test_a_new_order_is_signed_in_one_piece_as_any_request_is(order_type):
    price = None if order_type is OrderType.MARKET else Decimal("1.0E-7")
    order = NewOrder("BTCUSDT", "hvaaaaabbbbb-x1", Side.BUY, order_type, TimeInForce.GTC, price, Decimal("0.10"))
    signer = Signer("key", "secret")
    expected = signer.params({**order_params(order), "recvWindow": 5000, "timestamp": 1660801715830})
    assert json.loads(signed_order(order, 5000, 1660801715830, signer)) == expected


PLACED = {
    "symbol": "BTCUSDT",
    "orderId": 12569099453,
    "orderListId": -1,
    "clientOrderId": "4d96324ff9d44481926157ec08158a40",
    "transactTime": 1660801715793,
    "price": "23416.10000000",
    "origQty": "0.00847000",
    "executedQty": "0.00847000",
    "cummulativeQuoteQty": "198.33521500",
    "status": "FILLED",
    "timeInForce": "GTC",
    "type": "LIMIT",
    "side": "SELL",
    "fills": [
        {
            "price": "23416.50000000",
            "qty": "0.00847000",
            "commission": "0.000000",
            "commissionAsset": "BNB",
            "tradeId": 1650422482,
        }
    ],
}


def test_the_answer_to_an_order_tells_its_state_and_fills():
    state = order_state(PLACED)
    assert (state.status, state.executed, state.exchange_order_id) == (
        OrderStatus.FILLED,
        Decimal("0.00847"),
        "12569099453",
    )
    assert state.wall_ns == 1660801715793_000_000
    (fill,) = placed_trades(PLACED)
    assert (fill.trade_id, fill.price, fill.fee_asset, fill.maker) == (1650422482, Decimal("23416.5"), "BNB", False)


def test_a_cancels_answer_is_about_the_order_that_was_cancelled():
    body = {**PLACED, "status": "CANCELED", "origClientOrderId": "ours", "clientOrderId": "the-cancels-own"}
    assert order_state(body, "ours").client_order_id == "ours"


EXECUTION = {
    "e": "executionReport",
    "E": 1499405658658,
    "s": "ETHBTC",
    "c": "mUvoqJxFIILMdfAW5iGSOW",
    "S": "BUY",
    "o": "LIMIT",
    "f": "GTC",
    "q": "1.00000000",
    "p": "0.10264410",
    "C": "",
    "x": "NEW",
    "X": "NEW",
    "i": 4293153,
    "l": "0.00000000",
    "z": "0.00000000",
    "L": "0.00000000",
    "n": "0",
    "N": None,
    "T": 1499405658657,
    "t": -1,
    "w": True,
    "m": False,
}


def test_an_execution_report_tells_state_and_fill():
    state, trade = execution_report(EXECUTION)
    assert (state.client_order_id, state.status, trade) == ("mUvoqJxFIILMdfAW5iGSOW", OrderStatus.LIVE, None)
    fill = {
        "x": "TRADE",
        "X": "PARTIALLY_FILLED",
        "l": "0.4",
        "z": "0.4",
        "L": "0.1",
        "n": "0.0004",
        "N": "ETH",
        "t": 9,
    }
    state, trade = execution_report({**EXECUTION, **fill, "m": True})
    assert (state.status, state.executed) == (OrderStatus.LIVE, Decimal("0.4"))
    assert (trade.trade_id, trade.amount, trade.fee, trade.fee_asset, trade.maker) == (
        9,
        Decimal("0.4"),
        Decimal("0.0004"),
        "ETH",
        True,
    )


def test_a_cancelled_orders_report_names_the_order_and_not_the_cancel():
    state, _ = execution_report({**EXECUTION, "x": "CANCELED", "X": "CANCELED", "c": "the-cancels-own", "C": "ours"})
    assert (state.client_order_id, state.status) == ("ours", OrderStatus.CANCELLED)


@pytest.mark.parametrize("now", ["ours", "a-random-one"])
def test_an_amended_orders_report_names_it_as_it_is_called_now(now):
    state, _ = execution_report({**EXECUTION, "x": "REPLACED", "c": now, "C": "ours", "q": "0.50000000"})
    assert (state.client_order_id, state.status, state.amount) == (now, OrderStatus.LIVE, Decimal("0.5"))


@pytest.mark.parametrize("status", ["EXPIRED", "EXPIRED_IN_MATCH"])
def test_both_ways_to_expire_are_an_end(status):
    assert execution_report({**EXECUTION, "x": status, "X": status})[0].status is OrderStatus.EXPIRED


def test_fills_of_the_account_are_read():
    fill = account_trade(
        {
            "symbol": "BNBBTC",
            "id": 28457,
            "orderId": 100234,
            "price": "4.00000100",
            "qty": "12.00000000",
            "commission": "10.10000000",
            "commissionAsset": "BNB",
            "time": 1499865549590,
            "isBuyer": True,
            "isMaker": False,
        }
    )
    assert (fill.trade_id, fill.amount, fill.fee, fill.wall_ns) == (
        28457,
        Decimal(12),
        Decimal("10.1"),
        1499865549590_000_000,
    )


def test_balances_are_read_and_those_of_the_account_are_not_zero():
    event = {"e": "outboundAccountPosition", "B": [{"a": "ABC", "f": "0.00000000", "l": "0.00000000"}]}
    assert account_position(event)[0].asset == "ABC"
    body = {
        "balances": [
            {"asset": "BTC", "free": "0.00000000", "locked": "0.10000000"},
            {"asset": "LTC", "free": "0.00000000", "locked": "0.00000000"},
        ]
    }
    assert [balance.asset for balance in account_balances(body)] == ["BTC"]


def test_a_fee_asset_that_a_reply_cannot_carry_is_cut_and_never_fatal():
    fill = account_trade(
        {"id": 1, "price": "1", "qty": "1", "commission": "1", "commissionAsset": "币" * 20, "time": 1, "isMaker": True}
    )
    assert fill.fee_asset == "?" * 12


def test_limits_of_an_interval_that_nobody_knows_are_left_out_and_named():
    known = {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100, "count": 3}
    strange = {**known, "interval": "FORTNIGHT", "intervalNum": 1}
    answer = answer_of_ws({"id": 1, "status": 200, "result": {}, "rateLimits": [strange, known]}, 0)
    assert answer.check() == {}
    assert answer.counts == limit_counts([known])
    assert answer.unread == ("FORTNIGHT",)
    assert limit_rules([strange, known]) == limit_rules([known])
