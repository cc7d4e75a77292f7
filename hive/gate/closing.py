"""Emptying an account: what the fleet has open is cancelled and seen to be gone."""

import asyncio
import logging
from collections.abc import Callable

from hive.gate.account import Account
from hive.gate.errors import VenueError
from hive.gate.order import State
from hive.gate.venue import OrderState
from hive.shm.ids import parse_order_id

LOOK_S = 0.02
CANCEL_AGAIN_NS = 500_000_000


async def close_out(
    account: Account,
    fleet_id: str,
    cancel: bool,
    deadline_ns: int,
    log: logging.Logger,
    now_ns: Callable[[], int],
) -> int | None:
    """See the fleet's orders settled and, with `cancel`, end them. No new ones may come meanwhile.

    Args:
        deadline_ns: monotonic; what is open then stays

    Returns:
        how many orders of the fleet are open at the venue; None: none is known, and the venue has not told in time.
    """
    cancel_at_ns = 0
    while True:
        now = now_ns()
        if cancel and now >= cancel_at_ns:
            cancel_at_ns = now + CANCEL_AGAIN_NS
            for order in account.ledger.open_orders():
                account.cancel(order, urgent=True)
        left = None
        unsettled = [order for order in account.ledger.open_orders() if cancel or order.state is not State.ACKED]
        if not unsettled:
            try:
                left = await _ours(account, fleet_id)
            except VenueError as error:
                log.warning("%s: the open orders could not be read: %s", account.venue.name, error)
            if left is not None and (not left or not cancel):
                return len(left)
            for state in left or ():
                _take_back(account, state, now_ns())
        if now_ns() >= deadline_ns:
            return max(sum(1 for _ in account.ledger.open_orders()), len(left or ())) or None
        await asyncio.sleep(LOOK_S if unsettled else 10 * LOOK_S)


async def _ours(account: Account, fleet_id: str) -> list[OrderState]:
    listed = await account.venue.open_orders()
    owners = ((state, parse_order_id(state.client_order_id)) for state in listed)
    return [state for state, owner in owners if owner is not None and owner[0] == fleet_id]


def _take_back(account: Account, state: OrderState, now_ns: int) -> None:
    """Enter an order that the venue still shows, so that the next round cancels it."""
    order = account.ledger.get(state.client_order_id)
    if order is None:
        owner = parse_order_id(state.client_order_id)
        pair = account.venue.pair(state.symbol) or state.symbol
        order = account.ledger.adopt(state, pair, owner[1], now_ns)
    account.apply(order, account.ledger.observe(order, state, (), now_ns))
