"""Upstream's order tracker, which finds an order by its id without copying all that it remembers.

`ClientOrderTracker` answers most questions with a new dict of up to 1,000 remembered orders, several times for each
reply: at some hundred orders a second that is half of what a worker does. What is found is the same.
"""

from collections import ChainMap

from hummingbot.connector.client_order_tracker import ClientOrderTracker
from hummingbot.core.data_type.in_flight_order import InFlightOrder


class SharedOrderTracker(ClientOrderTracker):
    """The tracker of one connector."""

    @property
    def all_fillable_orders(self) -> ChainMap[str, InFlightOrder]:
        """Active, remembered and lost orders by client order id: a view, which changes with them."""
        return ChainMap(self._lost_orders, self._cached_orders, self._in_flight_orders)

    def fetch_order(
        self, client_order_id: str | None = None, exchange_order_id: str | None = None
    ) -> InFlightOrder | None:
        """Return an active or remembered order, by its client order id if that is known, else by the exchange's."""
        order = self._cached_orders.get(client_order_id)
        if order is None:
            order = self._in_flight_orders.get(client_order_id)
        return order if order is not None else super().fetch_order(client_order_id, exchange_order_id)
