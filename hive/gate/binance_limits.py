"""What Binance's answers say of its limits: which of them a 429 is about, what its counts settle, who else uses them.

    request ──▶ charge ──▶ answered: settled, or the limit that it broke is closed
                      └──▶ unanswered: spent, or taken back when nothing was written

-1015 is about the account's orders: new orders stop, everything else goes on. Every other 429 is about the address:
nothing leaves, of the gate or the feed. 418 and 403 say that the address is banned.

Sources: github.com/binance/binance-spot-api-docs: rest-api.md (limits), errors.md, faqs/order_count_decrement.md.
"""

import logging
import math
import re
import time
from collections.abc import Callable, Sequence

from hive.gate.binance_messages import TOO_MANY_ORDERS, Answer, limit_rules, unknown_intervals, window_ns
from hive.gate.errors import NotSent, Throttled, VenueError, Withheld
from hive.gate.limits import Charge, LimitCount, LimitKind, Limits, Operation
from hive.gate.pace import moment
from hive.gate.server_time import ServerClock
from hive.gate.venue import OrderState, OrderStatus, Trade
from hive.gate.venue_limits import BINANCE_WEIGHTS, binance_open_caps, binance_spot
from hive.shm.budget import Budget

GUARD_NS = 200_000_000
DRIFT_EVERY_S = 1.0

# "Too many new orders; current limit is 100 orders per 10 SECOND."
_BROKEN_WINDOW = re.compile(r" per (\d+) (SECOND|MINUTE|HOUR|DAY)")


class BinanceLimits:
    """The limits of one Binance account.

    Args:
        clock: the venue's
        budget: of the request weight at its REST address
        adaptive: whether the limits give way when the venue allows less than it states
        log: named for the venue
        on_throttled: told (seconds, what the venue said) of each refusal for a limit
        now_ns: monotonic
    """

    def __init__(
        self,
        clock: ServerClock,
        budget: Budget,
        adaptive: bool,
        log: logging.Logger,
        on_throttled: Callable[[float, str], None],
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.sent_before: Sequence[int] | None = None  # when an earlier gate sent orders, if that is known
        self._clock = clock
        self._budget = budget
        self._adaptive = adaptive
        self._log = log
        self._on_throttled = on_throttled
        self._now_ns = now_ns
        self._limits = Limits([], GUARD_NS, budget, BINANCE_WEIGHTS, adaptive)
        self._unread: set[str] = set()  # what has been said

    def take_rules(self, info: dict, counts: Sequence[LimitCount]) -> None:
        """Take exchangeInfo's answer and its counts; the buckets are made anew when the limits are not those known.

        The account's windows then count as spent, until the venue or what an earlier gate sent says otherwise.
        """
        self._say_unread(unknown_intervals(info["rateLimits"]))
        rules = binance_spot(limit_rules(info["rateLimits"]), *binance_open_caps(info))
        if tuple(rules) != self._limits.rules:
            first = not self._limits.rules
            self._limits = Limits(rules, GUARD_NS, self._budget, BINANCE_WEIGHTS, self._adaptive)
            self._limits.doubt(self._clock.venue_ns())
            if first and self.sent_before is not None:
                self._limits.assume_sent(self.sent_before, self._clock.venue_ns())
        self.assume(counts)

    def assume(self, counts: Sequence[LimitCount]) -> None:
        """Take counts that the venue told when it was asked for them."""
        self._limits.assume(counts, *self._now())

    def wait_ns(self, operation: Operation, symbol: str, now_ns: int, age_ns: int = 0) -> int:
        """Return when to ask again for a request, 0 when it may go now; see `Venue.wait_ns`."""
        return self._limits.wait_ns(operation, symbol, self._clock.venue_ns(), now_ns, age_ns)

    def pair_wait_ns(self, operation: Operation, symbol: str, now_ns: int, age_ns: int = 0) -> int:
        """Return the same as far as the pair's own limits go; see `Venue.pair_wait_ns`."""
        return self._limits.pair_wait_ns(operation, symbol, self._clock.venue_ns(), now_ns, age_ns)

    def charge(self, operation: Operation, symbol: str = "") -> Charge:
        """Charge a request that leaves now."""
        return self._limits.charge(operation, symbol, *self._now())

    def spend(self, operation: Operation) -> None:
        """Charge what has no answer of its own."""
        self._limits.settle(self.charge(operation), (), *self._now())

    def answered(self, charge: Charge, answer: Answer) -> object:
        """Settle what a request was charged, and return its result or raise what its answer says."""
        if answer.unread:
            self._say_unread(answer.unread)
        try:
            body = answer.check()
        except Throttled as throttled:
            wait_s = self._throttled(charge, answer, throttled)
            self._on_throttled(wait_s, throttled.text)
            raise Throttled(wait_s, throttled.text) from None
        except VenueError:
            self._limits.settle(charge, answer.counts, *self._now())
            raise
        self._limits.settle(charge, answer.counts, *self._now())
        return body

    def unanswered(self, charge: Charge, error: BaseException) -> None:
        """Take a charge back when nothing was written, else leave it spent."""
        if isinstance(error, NotSent | Withheld):
            self._limits.refund(charge, *self._now())
        else:
            self._limits.settle(charge, (), *self._now())

    def opened(self, symbol: str, order_id: str) -> None:
        """Count an order that is sent now towards the caps on open orders."""
        self._limits.opened(symbol, order_id, self._now_ns())

    def ended(self, symbol: str, order_id: str) -> None:
        """Count an order no longer: it was refused, or not sent."""
        self._limits.ended(symbol, order_id, self._now_ns())

    def track(self, state: OrderState, trade: Trade | None = None) -> OrderState:
        """Take what the venue says of an order, and the fill that says so; returns the state."""
        tell = self.opened if state.status is OrderStatus.LIVE else self.ended
        tell(state.symbol, state.client_order_id)
        if trade is not None and trade.amount == state.executed:  # the first fill gives the order's count back
            self._limits.credit(LimitKind.ORDERS, state.wall_ns, self._clock.venue_ns())
        return state

    def only_open(self, states: Sequence[OrderState], asked_ns: int) -> None:
        """Take it that these orders were open when the venue was asked (monotonic), and no others."""
        by_symbol: dict[str, set[str]] = {}
        for state in states:
            by_symbol.setdefault(state.symbol, set()).add(state.client_order_id)
        self._limits.only_open(by_symbol, asked_ns)

    def closed_ns(self, now_ns: int) -> int:
        """Return how much longer the venue takes no new orders because it said so, 0 when it does."""
        return self._limits.closed_ns(self._clock.venue_ns(), now_ns)

    def order_limit(self) -> tuple[float, int]:
        """Return how many orders the window that binds allows at present, and its length in ns."""
        return self._limits.order_limit(self._clock.venue_ns())

    def figures(self) -> dict[str, int]:
        """Return what the counters show of the limits."""
        venue_ns = self._clock.venue_ns()
        weight_used, weight_limit = self._limits.used(LimitKind.WEIGHT, venue_ns)
        orders_used, orders_limit = self._limits.used(LimitKind.ORDERS, venue_ns)
        usable, _ = self._limits.order_limit(venue_ns)
        return {
            "weight_used": weight_used,
            "weight_limit": weight_limit,
            "request_weight": self._budget.spent,
            "orders_used": orders_used,
            "orders_limit": orders_limit,
            "effective_limit": 0 if math.isinf(usable) else int(usable),
            "drift_weight": self._limits.drift(LimitKind.WEIGHT, venue_ns),
            "drift_orders": self._limits.drift(LimitKind.ORDERS, venue_ns),
        }

    async def watch_drift(self) -> None:
        """Raise the alarm when somebody else uses the limits, until cancelled."""
        while True:
            await moment(DRIFT_EVERY_S)
            for alarm in self._limits.drift_alarms(*self._now()):
                self._log.critical("%s: another program or a person uses this account or this address", alarm)

    def _say_unread(self, intervals: Sequence[str]) -> None:
        for interval in intervals:
            if interval not in self._unread:
                self._unread.add(interval)
                self._log.error("limits per %s are not known here: only the venue keeps them", interval)

    def _now(self) -> tuple[int, int]:
        return self._clock.venue_ns(), self._now_ns()

    def _throttled(self, charge: Charge, answer: Answer, throttled: Throttled) -> float:
        """Close what the venue has closed; returns for how many seconds."""
        broken_ns = _broken_window_ns(answer.text)
        if answer.code == TOO_MANY_ORDERS:
            return self._limits.breached(
                charge, LimitKind.ORDERS, broken_ns, answer.retry_after_s or 0.0, *self._now()
            )
        wait_s = throttled.wait_s
        if answer.status in (418, 403):
            self._limits.settle(charge, answer.counts, *self._now())
            self._log.critical(
                "the venue has BANNED this IP address: nothing leaves for %.0f s, of the gate or the feed: %s",
                wait_s,
                throttled.text,
            )
        else:
            kind = LimitKind.REQUESTS if "raw request" in answer.text.lower() else LimitKind.WEIGHT
            wait_s = self._limits.breached(charge, kind, broken_ns, answer.retry_after_s or 0.0, *self._now())
        self._limits.close_address(wait_s, *self._now())
        return wait_s


def _broken_window_ns(text: str) -> int:
    """Return the length of the window that an error names, 0 when it names none."""
    match = _BROKEN_WINDOW.search(text)
    return window_ns(match[2], int(match[1])) if match else 0
