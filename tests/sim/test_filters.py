"""From parameters to an order: what only a full account or a big number can show."""
from __future__ import annotations

import pytest

from hive.sim.accounts import Account
from hive.sim.errors import VenueError
from hive.sim.filters import parse_order
from hive.sim.symbols import make_symbol

SYMBOL = make_symbol("BTC", "USDT", "64000.00", "0.01", "0.00001", "5")
LAST = SYMBOL.start_price


def account() -> Account:
    return Account("ann", "key", "secret", {}, 2)


def limit_order(**changes: str) -> dict[str, str]:
    return {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01",
            "price": "64000", **changes}


def test_an_order_is_parsed_exactly():
    order = parse_order(limit_order(price="64000.01", newClientOrderId="x"), account(), SYMBOL, LAST)
    assert (order.price, order.quantity, order.client_id, order.tif) == (6_400_001_000_000, 1_000_000, "x", "GTC")


def test_a_fresh_client_id_is_made_when_none_is_given():
    first, second = (parse_order(limit_order(), account(), SYMBOL, LAST).client_id for _ in range(2))
    assert first != second
    assert len(first) == 22


def test_a_symbol_takes_no_more_open_orders_than_it_says():
    full = account()
    full.open_counts["BTCUSDT"] = SYMBOL.max_orders
    with pytest.raises(VenueError, match="-1013: Filter failure: MAX_NUM_ORDERS"):
        parse_order(limit_order(), full, SYMBOL, LAST)


@pytest.mark.parametrize(("changes", "expected"), [
    ({"quantity": "100000000000"}, "-1108: Parameter 'quantity' overflowed."),
    ({"quantity": "141"}, "-1013: Filter failure: LOT_SIZE"),
    ({"quantity": "139", "price": "70000"}, "-1013: Filter failure: NOTIONAL"),
    ({"price": ""}, "-1102: Mandatory parameter 'price' was not sent, was empty/null, or malformed."),
    ({"quoteOrderQty": "10"}, "-1106: Parameter 'quoteOrderQty' sent when not required."),
    ({"newOrderRespType": "LONG"}, "-1102: Mandatory parameter 'newOrderRespType' was not sent"),
    ({"selfTradePreventionMode": "EXPIRE_MAKER"}, "-1130: Data sent for parameter 'selfTradePreventionMode'"),
])
def test_a_limit_order_is_refused(changes: dict[str, str], expected: str):
    with pytest.raises(VenueError) as refused:
        parse_order(limit_order(**changes), account(), SYMBOL, LAST)
    assert str(refused.value).startswith(expected)


def test_a_market_order_by_quote_amount_needs_the_smallest_notional():
    params = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quoteOrderQty": "4.99"}
    with pytest.raises(VenueError, match="NOTIONAL"):
        parse_order(params, account(), SYMBOL, LAST)
    order = parse_order({**params, "quoteOrderQty": "5"}, account(), SYMBOL, LAST)
    assert (order.quantity, order.quote_quantity) == (0, 500_000_000)
