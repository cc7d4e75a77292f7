"""A venue account's limits: one bucket for each rule of the venue, and the pauses that it asks for.

    wait_ns ─▶ closed? ─▶ budget of the address ─▶ every bucket that the operation touches ─▶ 0: it may go
    charge  ─▶ budget and buckets pay ─▶ Charge ─▶ settle (answered) | refund (not sent) | breached (over a limit)

All buckets that a request touches grant, or none pays. New orders leave a reserve of the request weight to cancels
and questions, so that a venue full of new orders can still be asked and cleared. Windows that are aligned to the
venue's clock get `venue_ns`, its wall time; everything else gets `now_ns`, monotonic.

Request weight per minute is drawn from the venue's budget as well, which the feed shares: there the gate has a share
of its own, and the reserve is a part of that.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from hive.gate.allowance import EarnedAllowance, OpenOrders, RollingWindow
from hive.gate.bucket import AlignedWindow
from hive.gate.limit_rules import (
    Aligned,
    Bucket,
    LimitCount,
    LimitKind,
    OpenCap,
    Operation,
    Rule,
    Scope,
    WiderForCancels,
)
from hive.gate.limit_slot import Charge, Slot, Touched, count_of
from hive.shm.budget import MINUTE_NS, Budget

RESERVE = 20  # new orders leave one part in this of the gate's share of a budget
ROOM = 20  # how much weight is asked of the budget in advance: one question costs as much as five buckets
ROOM_NS = 1_000_000  # how long that answer holds


class Limits:
    """The buckets of one venue account.

    Args:
        rules: the venue's, see venue_limits.py
        guard_ns: how far the venue's clock and the way there may be off at a window's edge
        budget: of the request weight at the venue's address; None leaves the buckets alone
        weights: what operations cost that budget
        adaptive: whether the limits give way when the venue allows less than it states (throttle.py)
        shared: buckets of the address by rule name, when accounts share one; windows of weight share the budget instead
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        guard_ns: int,
        budget: Budget | None = None,
        weights: Mapping[Operation, int] | None = None,
        adaptive: bool = True,
        shared: dict[str, Bucket] | None = None,
    ) -> None:
        self.rules = tuple(rules)
        self._guard_ns = guard_ns
        self._budget = budget
        self._weights = [int((weights or {}).get(operation, 0)) for operation in Operation]
        self._room = 0
        self._room_until_ns = -1
        self._told = False  # the venue has told a count of weight: the budget's first window is over
        self._closed_ns = [0] * len(Operation)
        self._slots = [
            Slot(rule, bucket, guard_ns, adaptive, self._reserve(rule))
            for rule, bucket in self._made(shared)
        ]
        self._touched: list[list[Touched]] = [
            [(slot, cost, cost.of()) for slot in self._slots if (cost := slot.rule.costs.get(operation)) is not None]
            for operation in Operation
        ]
        self._plain = [self._asked_plainly(operation) for operation in Operation]
        self._special = [
            [one for one in self._touched[operation] if one[0].bucket is None or one[1].ages]
            for operation in Operation
        ]
        self._aging = [any(cost.ages for _, cost, _ in special) for special in self._special]
        touched = [slot for slot, *_ in self._touched[Operation.PLACE]]
        self._open_caps = [slot for slot in touched if isinstance(slot.rule.counting, OpenCap)]
        minutes = [rule.counting.limit for rule in rules if _is_weight_per_minute(rule)]
        if budget is not None and minutes:
            budget.set_limit(min(minutes))

    def _made(self, shared: dict[str, Bucket] | None) -> Iterable[tuple[Rule, Bucket | None]]:
        made: dict[str, Bucket] = {}
        for rule in self.rules:
            bucket: Bucket | None = None
            if isinstance(rule.counting, WiderForCancels):
                bucket = rule.counting.make(made[rule.counting.rule])
            elif rule.scope is not Scope.PAIR:
                bucket = rule.counting.make(self._guard_ns, "")
            if rule.scope is Scope.IP and shared is not None and not isinstance(bucket, AlignedWindow):
                bucket = shared.setdefault(rule.name, bucket)
            made[rule.name] = bucket
            yield rule, bucket

    def _reserve(self, rule: Rule) -> float:
        return 0 if self._budget is not None and rule.name == LimitKind.WEIGHT else rule.reserve

    def _asked_plainly(self, operation: Operation) -> list[tuple]:
        """Return how to ask the buckets whose cost is always the same for one order: no pair, no age."""
        return [
            (slot.bucket.wait_ns, slot.needed(slot.bucket, operation, cost.of()), slot.aligned, slot.throttle)
            for slot, cost, _ in self._touched[operation]
            if slot.bucket is not None and not cost.ages and cost.of()
        ]

    # --- asking and paying

    def wait_ns(
        self, operation: Operation, symbol: str, venue_ns: int, now_ns: int, age_ns: int = 0, orders: int = 1
    ) -> int:
        """Return when to try a request again, in ns from now; 0 when it may go now.

        Args:
            symbol: its pair; "" asks only what holds for all pairs
            venue_ns: the venue's wall time
            now_ns: monotonic
            age_ns: of the order that is cancelled or amended
            orders: how many orders it carries
        """
        wait = self._closed_ns[operation] - now_ns
        if wait > 0:
            return wait
        wait = 0
        if self._budget is not None and not (self._room >= self._weights[operation] and now_ns < self._room_until_ns):
            wait = self._budget_wait_ns(operation, venue_ns, now_ns)
        if orders != 1:
            for slot, cost, _ in self._touched[operation]:
                wait = max(wait, slot.wait_ns(operation, symbol, venue_ns, now_ns, cost.of(orders, age_ns)))
            return wait
        for ask, need, aligned, throttle in self._plain[operation]:
            held = ask(need, venue_ns if aligned else now_ns)
            if held and throttle is not None:
                held = throttle.wait_ns(need, venue_ns, now_ns)
            if held > wait:
                wait = held
        if symbol or self._aging[operation]:
            return max(wait, self.pair_wait_ns(operation, symbol, venue_ns, now_ns, age_ns))
        return wait

    def pair_wait_ns(self, operation: Operation, symbol: str, venue_ns: int, now_ns: int, age_ns: int = 0) -> int:
        """Return when to try a request for one order again as far as limits of its pair, or by its age, hold it up."""
        wait = 0
        for slot, cost, each in self._special[operation]:
            amount = cost.of(1, age_ns) if cost.ages else each
            held = slot.wait_ns(operation, symbol, venue_ns, now_ns, amount)
            if held > wait:
                wait = held
        return wait

    def charge(
        self, operation: Operation, symbol: str, venue_ns: int, now_ns: int, age_ns: int = 0, orders: int = 1
    ) -> Charge:
        """Charge a request that leaves now to all that it touches; see `wait_ns`."""
        weight = self._weights[operation]
        if self._budget is not None and weight:
            self._budget.charge(weight, venue_ns)
            self._room -= weight
        entries = []
        for slot, cost, each in self._touched[operation]:
            amount = each if orders == 1 and not cost.ages else cost.of(orders, age_ns)
            bucket = slot.bucket if slot.bucket is not None else slot.of(symbol, now_ns)
            if bucket is not None and amount:
                if slot.throttle is not None:
                    slot.throttle.sent(now_ns)
                entries.append((slot, bucket, amount, bucket.charge(amount, venue_ns if slot.aligned else now_ns)))
        return Charge(entries, venue_ns, now_ns)

    def acquire(
        self, operation: Operation, symbol: str, venue_ns: int, now_ns: int, age_ns: int = 0, orders: int = 1
    ) -> Charge | None:
        """Charge a request when everything that it touches grants it; else charge nothing and return None."""
        if self.wait_ns(operation, symbol, venue_ns, now_ns, age_ns, orders):
            return None
        return self.charge(operation, symbol, venue_ns, now_ns, age_ns, orders)

    def _budget_wait_ns(self, operation: Operation, venue_ns: int, now_ns: int) -> int:
        budget, weight = self._budget, self._weights[operation]
        if not weight:
            return 0
        share = budget.share
        spared = share // RESERVE if operation is Operation.PLACE else 0
        ahead = weight + ROOM + spared
        if self._told and spared and ahead <= share and not budget.wait_ns(ahead, venue_ns):
            self._room = weight + ROOM
            self._room_until_ns = now_ns + ROOM_NS
            return 0
        return budget.wait_ns(min(weight + spared, share), venue_ns)

    # --- what became of a request

    def settle(self, charge: Charge, counts: Sequence[LimitCount], venue_ns: int, now_ns: int) -> None:
        """Take the counts of the answer to a charged request; without a count its cost stays spent."""
        if not charge.open:
            return
        charge.open = False
        if self._budget is not None:
            count = count_of(counts, LimitKind.WEIGHT, MINUTE_NS)
            self._budget.settle(count, venue_ns, charge.venue_ns)
            self._told = self._told or count >= 0
        for entry in charge.entries:
            entry[0].settle(entry, charge, counts, venue_ns, now_ns)

    def refund(self, charge: Charge, venue_ns: int, now_ns: int) -> None:
        """Take a charge back whose request was not sent; the budget's stays spent."""
        if not charge.open:
            return
        charge.open = False
        for entry in charge.entries:
            entry[0].take_back(entry, charge, venue_ns, now_ns)

    def breached(
        self, charge: Charge, name: str, window_ns: int, retry_after_s: float, venue_ns: int, now_ns: int
    ) -> float:
        """Take it that the venue refused a request for one of its limits, and send nothing that touches that one for
        `retry_after_s`, or else until its window has ended; orders wait for both.

        Args:
            name, window_ns: the rule; 0: the shortest of that name
            retry_after_s: what the venue asked for; 0: it did not say

        Returns:
            how many seconds that is
        """
        wait_ns = int(retry_after_s * 1e9)
        counted = charge.open
        charge.open = False
        named = []
        for entry in charge.entries if counted else ():
            slot = entry[0]
            if slot.aligned and slot.rule.name == name:
                slot.take_back(entry, charge, venue_ns, now_ns)
                named.append(entry)
            else:
                slot.settle(entry, charge, (), venue_ns, now_ns)
        if not named:
            self._close(Operation, wait_ns, now_ns)
            return wait_ns * 1e-9
        slot, window, *_ = min(named, key=lambda e: (e[1].window_ns != window_ns, e[1].window_ns))
        into = charge.venue_ns % window.window_ns
        told = wait_ns and name != LimitKind.ORDERS
        if not told and not (wait_ns and into < window.guard_ns):  # there it may have been the window before
            left_ns = charge.venue_ns - into + window.window_ns + window.guard_ns - venue_ns
            wait_ns = max(wait_ns, min(left_ns, window.window_ns + window.guard_ns))
        if slot.throttle is not None:
            slot.throttle.breached(charge.venue_ns, charge.now_ns, venue_ns, now_ns)
        self._close((operation for operation in Operation if operation in slot.rule.costs), wait_ns, now_ns)
        return wait_ns * 1e-9

    def close_address(self, wait_s: float, venue_ns: int, now_ns: int) -> None:
        """Send nothing for `wait_s` seconds, nor let the feed: the venue turns this IP address away."""
        self._close(Operation, int(wait_s * 1e9), now_ns)
        for slot in self._slots:
            if slot.throttle is not None:
                slot.throttle.start_slowly(now_ns)
        if self._budget is not None:
            self._budget.close(wait_s, venue_ns)
            self._room = 0

    def _close(self, operations: Iterable[Operation], wait_ns: int, now_ns: int) -> None:
        for operation in operations:
            self._closed_ns[operation] = max(self._closed_ns[operation], now_ns + wait_ns)

    def credit(self, name: str, at_venue_ns: int, venue_ns: int) -> None:
        """Take it that the venue gave one back of each window of a limit, at its time `at_venue_ns`."""
        for slot in self._named(name):
            slot.bucket.credit(1, at_venue_ns, venue_ns)

    def earn(self, amount: float) -> None:
        """Take it that so much was traded, where that raises a limit."""
        for slot in self._slots:
            if isinstance(slot.bucket, EarnedAllowance):
                slot.bucket.earn(amount)

    # --- open orders

    def opened(self, symbol: str, order_id: str, now_ns: int) -> None:
        """Count an order that is open, or may be, towards the caps on open orders."""
        for bucket in self._caps(symbol, now_ns):
            bucket.opened(order_id, now_ns)

    def ended(self, symbol: str, order_id: str, now_ns: int) -> None:
        """Count an order that is open no longer."""
        for bucket in self._caps(symbol, now_ns):
            bucket.ended(order_id)

    def only_open(self, order_ids: Mapping[str, set[str]], asked_ns: int) -> None:
        """Take it that these orders of each symbol were open at `asked_ns`, and no others."""
        everything = {order_id for ids in order_ids.values() for order_id in ids}
        for slot in self._slots:
            if not isinstance(slot.rule.counting, OpenCap):
                continue
            for symbol in order_ids:
                slot.of(symbol, 0)
            for symbol, bucket in slot.buckets().items():
                bucket.only(order_ids.get(symbol, set()) if symbol else everything, asked_ns)

    def _caps(self, symbol: str, now_ns: int) -> list[OpenOrders]:
        buckets = [slot.of(symbol, now_ns) for slot in self._open_caps]
        return [bucket for bucket in buckets if bucket is not None]

    # --- a start

    def doubt(self, venue_ns: int) -> None:
        """Count the account's windows as spent until a count is read: an earlier life may have used them."""
        for slot in self._slots:
            if slot.aligned and slot.rule.scope is Scope.ACCOUNT:
                slot.bucket.doubt(venue_ns)

    def assume(self, counts: Sequence[LimitCount], venue_ns: int, now_ns: int) -> None:
        """Take counts that no request of ours asked for, as at a start."""
        if self._budget is not None:
            self._budget.settle(count_of(counts, LimitKind.WEIGHT, MINUTE_NS), venue_ns)
            self._room = 0
        for slot in self._slots:
            if isinstance(slot.bucket, AlignedWindow | RollingWindow):
                count = count_of(counts, slot.rule.name, slot.bucket.window_ns)
                if count >= 0:
                    slot.bucket.assume(count, venue_ns if slot.aligned else now_ns)

    def assume_sent(self, times_venue_ns: Sequence[int], venue_ns: int) -> None:
        """Take it that an earlier life sent orders at these times: its journal says so."""
        for slot in self._named(LimitKind.ORDERS):
            window: AlignedWindow = slot.bucket
            start_ns = venue_ns - venue_ns % window.window_ns - window.guard_ns
            window.assume(sum(at_ns >= start_ns for at_ns in times_venue_ns), venue_ns)

    # --- looking

    def closed_ns(self, venue_ns: int, now_ns: int) -> int:
        """Return how much longer the venue takes no new orders because it said so; 0 when it is open."""
        closed_ns = self._closed_ns[Operation.PLACE] - now_ns
        address_ns = self._budget.closed_ns(venue_ns) if self._budget is not None else 0
        return max(0, closed_ns, address_ns) if closed_ns > 0 else address_ns

    def order_limit(self, venue_ns: int) -> tuple[float, int]:
        """Return how many orders the window that binds allows at present, and its length.

        That is the shortest one, unless a longer one is used up. Without a rule, (inf, 1 s).
        """
        slots = sorted(self._named(LimitKind.ORDERS), key=lambda slot: slot.bucket.window_ns)
        if not slots:
            return math.inf, 1_000_000_000
        full = [slot for slot in slots[1:] if slot.bucket.used(venue_ns) >= slot.bucket.limit]
        slot = full[-1] if full else slots[0]
        return float(slot.throttle.usable if slot.throttle is not None else slot.bucket.limit), slot.bucket.window_ns

    def used(self, kind: LimitKind, venue_ns: int) -> tuple[int, int]:
        """Return (used, limit) of the shortest window of a kind; (0, 0) when the venue has none."""
        slot = self._shortest(kind)
        return (slot.bucket.used(venue_ns), slot.bucket.limit) if slot is not None else (0, 0)

    def drift(self, kind: LimitKind, venue_ns: int) -> int:
        """Return what the venue counted last in the shortest window of a kind beyond what was charged here."""
        if kind is LimitKind.WEIGHT and self._budget is not None:
            return self._budget.foreign(venue_ns)
        slot = self._shortest(kind)
        return slot.bucket.drift if slot is not None else 0

    def drift_alarms(self, venue_ns: int, now_ns: int) -> list[str]:
        """Return what to say of limits that somebody else uses, once for each episode; ask every second or so."""
        alarms = []
        for slot in self._slots:
            if not slot.aligned or slot.bucket is None:
                continue
            drift = slot.bucket.drifting(venue_ns)
            if _is_weight_per_minute(slot.rule) and self._budget is not None:
                drift = self._budget.foreign(venue_ns)
            if slot.watch.see(drift, venue_ns, now_ns):
                window_s = slot.bucket.window_ns / 1e9
                alarms.append(f"{drift} of {slot.bucket.limit} {slot.rule.name} per {window_s:g} s are somebody else's")
        return alarms

    def _named(self, name: str) -> list[Slot]:
        return [slot for slot in self._slots if slot.rule.name == name and slot.aligned and slot.bucket is not None]

    def _shortest(self, name: str) -> Slot | None:
        return min(self._named(name), key=lambda slot: slot.bucket.window_ns, default=None)


def _is_weight_per_minute(rule: Rule) -> bool:
    counting = rule.counting
    return rule.name == LimitKind.WEIGHT and isinstance(counting, Aligned) and counting.window_ns == MINUTE_NS
