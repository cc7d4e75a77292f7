"""The order tracker finds what upstream's finds."""

from decimal import Decimal

import pytest
from hummingbot.connector.client_order_tracker import ClientOrderTracker
from hummingbot.core.data_type.common import OrderType, TradeType
from hummingbot.core.data_type.in_flight_order import InFlightOrder, OrderState, OrderUpdate, TradeUpdate
from hummingbot.core.data_type.trade_fee import TradeFeeBase, TradeFeeSchema

from hummingbot.runtime.tracker import SharedOrderTracker


class Connector:
    current_timestamp = 1.0

    def trigger_event(self, tag: object, event: object) -> None:
        pass


def order(number: int) -> InFlightOrder:
    return InFlightOrder(
        client_order_id=f"c{number}",
        exchange_order_id=f"x{number}",
        trading_pair="BTC-USDT",
        order_type=OrderType.LIMIT,
        trade_type=TradeType.BUY,
        amount=Decimal(1),
        creation_timestamp=1.0,
        price=Decimal(10),
    )


async def test_a_fill_of_a_failed_order_that_upstream_has_forgotten_is_still_the_strategys():
    tracker = SharedOrderTracker(Connector())
    denied = order(1)
    tracker.start_tracking_order(denied)
    denied.update_with_order_update(OrderUpdate("BTC-USDT", 1.0, OrderState.FAILED, client_order_id="c1"))
    tracker.stop_tracking_order("c1")
    tracker._cached_orders.clear()  # as after 30 s
    fee = TradeFeeBase.new_spot_fee(TradeFeeSchema(), TradeType.BUY)
    fill = TradeUpdate("7", "c1", "x1", "BTC-USDT", 2.0, Decimal(10), Decimal("0.5"), Decimal(5), fee)
    tracker.process_trade_update(fill)
    assert denied.executed_amount_base == Decimal("0.5")


@pytest.mark.parametrize("kind", [ClientOrderTracker, SharedOrderTracker])
def test_orders_are_found_while_they_live_and_while_they_are_remembered(kind):
    tracker = kind(Connector())
    for number in range(3):
        tracker.start_tracking_order(order(number))
    tracker.stop_tracking_order("c1")
    tracker._lost_orders["c9"] = order(9)
    assert tracker.fetch_order("c0").client_order_id == "c0"
    assert tracker.fetch_order("c1").client_order_id == "c1"
    assert tracker.fetch_order("nobody's", "x2").client_order_id == "c2"
    assert tracker.fetch_order(None, "x1").client_order_id == "c1"
    assert tracker.fetch_order("c9", "x9") is None
    assert tracker.fetch_order() is None
    fillable = tracker.all_fillable_orders
    assert set(fillable) == {"c0", "c1", "c2", "c9"}
    assert [fillable.get(name) is not None for name in ("c0", "c1", "c9", "c5")] == [True, True, True, False]
