"""Upstream's order tracker, which finds an order by its id without copying all that it remembers.

`ClientOrderTracker` answers most questions with a new dict of up to 1,000 remembered orders, several times for each
reply: at some hundred orders a second that is half of what a worker does. What is found is the same.

Upstream forgets a failed order after 30 s. A venue that denied an order may turn out to have it later than that, and
its fills are the strategy's: failed orders are remembered for longer.
"""

from collections import ChainMap

from cachetools import TTLCache
from hummingbot.connector.client_order_tracker import ClientOrderTracker
from hummingbot.connector.connector_base import ConnectorBase
from hummingbot.core.data_type.in_flight_order import InFlightOrder

FAILED_KEPT_S = 3600.0


class SharedOrderTracker(ClientOrderTracker):
    """The tracker of one connector."""

    def __init__(self, connector: ConnectorBase, lost_order_count_limit: int = 3) -> None:
        super().__init__(connector, lost_order_count_limit)
        self._failed_orders: TTLCache[str, InFlightOrder] = TTLCache(self.MAX_CACHE_SIZE, FAILED_KEPT_S)

    @property
    def all_fillable_orders(self) -> ChainMap[str, InFlightOrder]:
        """Active, remembered and lost orders by client order id: a view, which changes with them."""
        return ChainMap(self._lost_orders, self._cached_orders, self._failed_orders, self._in_flight_orders)

    def stop_tracking_order(self, client_order_id: str) -> None:
        """Track an order no longer; it is remembered for a while."""
        order = self._in_flight_orders.get(client_order_id)
        if order is not None and order.is_failure:
            self._failed_orders[client_order_id] = order
        super().stop_tracking_order(client_order_id)

    def fetch_order(
        self, client_order_id: str | None = None, exchange_order_id: str | None = None
    ) -> InFlightOrder | None:
        """Return an active or remembered order, by its client order id if that is known, else by the exchange's."""
        order = self._cached_orders.get(client_order_id)
        if order is None:
            order = self._in_flight_orders.get(client_order_id)
        return order if order is not None else super().fetch_order(client_order_id, exchange_order_id)
