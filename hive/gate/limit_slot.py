"""One rule of a venue at work: its bucket, or its buckets by pair, and what steers and watches them."""

from collections.abc import Sequence

from hive.gate.allowance import EarnedAllowance, RollingWindow
from hive.gate.bucket import AlignedWindow
from hive.gate.drift import DriftWatch
from hive.gate.limit_rules import Aligned, Bucket, Cost, LimitCount, Operation, Rule
from hive.gate.throttle import Throttle

MOST_PAIRS = 4096
PAIRS_WAIT_NS = 1_000_000_000


class Charge:
    """What a request was charged: hand it back once, with what became of the request."""

    __slots__ = ("entries", "now_ns", "open", "venue_ns")

    def __init__(self, entries: list["Entry"], venue_ns: int, now_ns: int) -> None:
        self.entries = entries
        self.venue_ns = venue_ns
        self.now_ns = now_ns
        self.open = True


class Slot:
    """A rule and its buckets.

    Args:
        rule: the venue's
        bucket: its only one; None: one for each pair, made when it is first used
        guard_ns: see Limits
        adaptive: whether a Throttle steers the bucket
        reserve: how much new orders leave to cancels and questions
    """

    __slots__ = ("_guard_ns", "_pairs", "_reserve", "aligned", "bucket", "rule", "throttle", "watch")

    def __init__(self, rule: Rule, bucket: Bucket | None, guard_ns: int, adaptive: bool, reserve: float) -> None:
        self.rule = rule
        self.bucket = bucket
        self.aligned = isinstance(rule.counting, Aligned)
        self.throttle = Throttle(bucket) if adaptive and isinstance(bucket, AlignedWindow) else None
        self.watch = DriftWatch(bucket.limit, bucket.window_ns) if isinstance(bucket, AlignedWindow) else None
        self._pairs: dict[str, Bucket] = {}
        self._guard_ns = guard_ns
        self._reserve = reserve

    def of(self, symbol: str, now_ns: int) -> Bucket | None:
        """Return the bucket of a pair, or the only one.

        None: `symbol` is "" and the rule is of pairs, or so many pairs are in use that none can be added.
        """
        if self.bucket is not None or not symbol:
            return self.bucket
        bucket = self._pairs.get(symbol)
        if bucket is None:
            if len(self._pairs) >= MOST_PAIRS:
                self._pairs = {pair: one for pair, one in self._pairs.items() if one.used(now_ns)}
                if len(self._pairs) >= MOST_PAIRS:
                    return None
            bucket = self._pairs[symbol] = self.rule.counting.make(self._guard_ns, symbol)
        return bucket

    def buckets(self) -> dict[str, Bucket]:
        """Return the buckets by pair; the only one's pair is ""."""
        return self._pairs if self.bucket is None else {"": self.bucket}

    def needed(self, bucket: Bucket, operation: Operation, cost: float) -> float:
        """Return what must be free for a request of that cost; what is dearer than the limit goes alone."""
        if operation is Operation.PLACE:
            cost += self._reserve
        return cost if isinstance(bucket, EarnedAllowance) else min(cost, bucket.limit)

    def wait_ns(self, operation: Operation, symbol: str, venue_ns: int, now_ns: int, cost: float) -> int:
        """Return when to ask again for a request of that cost, 0 when it fits."""
        bucket = self.bucket or self._pairs.get(symbol) or self.of(symbol, now_ns)
        if bucket is None:
            return PAIRS_WAIT_NS if symbol else 0
        need = self.needed(bucket, operation, cost)
        wait = bucket.wait_ns(need, venue_ns if self.aligned else now_ns)
        return self.throttle.wait_ns(need, venue_ns, now_ns) if wait and self.throttle is not None else wait

    def settle(self, entry: "Entry", charge: Charge, counts: Sequence[LimitCount], venue_ns: int, now_ns: int) -> None:
        """Take the answer to a charged request."""
        _, bucket, cost, mark = entry
        if self.aligned:
            count = count_of(counts, self.rule.name, bucket.window_ns) if counts else -1
            bucket.settle(mark, cost, charge.venue_ns, count, venue_ns)
            if self.throttle is not None:
                self.throttle.answered(count, charge.now_ns, venue_ns, now_ns)
        elif counts and isinstance(bucket, RollingWindow):
            bucket.assume(count_of(counts, self.rule.name, bucket.window_ns), now_ns)

    def take_back(self, entry: "Entry", charge: Charge, venue_ns: int, now_ns: int) -> None:
        """Take a charge back: its request was not sent, or the venue did not count it."""
        _, bucket, cost, _ = entry
        if not self.aligned:
            bucket.refund(cost, charge.now_ns, now_ns)
            return
        bucket.refund(cost, charge.venue_ns, venue_ns)
        if self.throttle is not None:
            self.throttle.dropped(now_ns)


Entry = tuple[Slot, Bucket, float, int]
Touched = tuple[Slot, Cost, float]


def count_of(counts: Sequence[LimitCount], name: str, window_ns: int) -> int:
    """Return the venue's count of a rule, -1 when it does not say."""
    for count in counts:
        if count.kind == name and count.window_ns in (window_ns, 0):
            return count.count
    return -1
