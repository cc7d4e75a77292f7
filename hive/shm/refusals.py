"""Hive's own refusals: codes outside every venue's, in REJECTED replies to orders that were never sent.

A strategy sees each as an ordinary order failure; the gate counts them by name (`orders_refused{reason}`).
"""

from enum import IntEnum


class Refusal(IntEnum):
    """Why the gate did not send an order."""

    STALE_BOOK = -9001  # its book was not live when it was to be sent
    HALTED = -9002  # an operator, or a loss limit, allows no new orders
    ORDER_NOTIONAL = -9003  # larger than one order may be
    POSITION = -9004  # would exceed the largest position
    OPEN_ORDERS = -9005  # too many are open already
    PRICE_BAND = -9006  # too far from the live book
    SELF_TRADE = -9007  # would trade with another strategy's order of the same account
    DUPLICATE_ID = -9008  # its client order id was used before
    CAPITAL = -9009  # more than the strategy was given
    QUEUE_FULL = -9010  # too many orders of this strategy wait already
    TOO_OLD = -9011  # waited longer than an intent may
    VENUE_CLOSED = -9012  # the account is not ready, or the venue takes no orders
    JOURNAL = -9014  # it could not be recorded, so it was not sent
    INVALID = -9016  # not an order: no such pair, no amount, no price
    WORKER_GONE = -9017  # its worker died while it waited
    GATE_ERROR = -9018  # an error in the gate, before it was sent
    WRONG_WORKER = -9019  # its strategy is not on the worker that sent it


NAMES = {refusal.value: refusal.name.lower() for refusal in Refusal}
"""By code, as the counters' label has it."""
