"""Turns by weight, on a fake clock, against a fluid poured over all flows at once and the max-min fair split."""

import random
from collections import Counter, defaultdict, deque
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gate.fair_queues import NEW, SECOND, backlog, go, pops
from hive.gate.bucket import TokenBucket
from hive.gate.fairness import LEAST_WEIGHT, MOST_COST, MOST_WEIGHT, FairQueue
from oracles import Arrival, fluid_finishes, max_min_fair

# ---- Turns -----------------------------------------------------------------------------------------------------------


def test_flows_of_equal_weight_take_turns():
    queue = backlog(dict.fromkeys("abcde", 1.0), 20)
    assert [flow for flow, _ in pops(queue, 100)] == list("abcde") * 20
    assert queue.pop(NEW, 0, go) is None


def test_a_hog_does_not_delay_a_newcomer_by_more_than_a_round():
    queue = backlog({"hog": 1.0}, 1_000)
    pops(queue, 500)
    queue.push(NEW, "quiet", "quiet")
    assert "quiet" in pops(queue, 2)


def test_a_heavy_flow_sends_evenly_and_not_in_bursts():
    queue = backlog({"heavy": 100.0} | {f"light{n}": 1.0 for n in range(100)}, 200)
    sent = [flow for flow, _ in pops(queue, 200)]
    assert sent.count("heavy") == 100
    assert all("heavy" in sent[at : at + 4] for at in range(197))


def test_no_round_is_iterated_however_far_weights_are_apart():
    queue = backlog({"light": 0.01, "heavy": 100.0}, 30_000)
    asked = []

    def ask(item: tuple[str, int]) -> int:
        asked.append(item)
        return 0

    sent = [queue.pop(NEW, 0, ask) for _ in range(30_000)]
    assert asked == sent
    assert Counter(flow for flow, _ in sent)["light"] in (2, 3, 4)  # one in 10,001, give or take one


def test_ten_thousand_flows_take_turns():
    flows = [f"f{number}" for number in range(10_000)]
    queue = FairQueue(3)
    entries = [queue.push(NEW, flow, flow) for _ in range(3) for flow in flows]
    rng = random.Random(8)
    for entry in rng.sample(entries, 5_000):
        queue.remove(entry)
    counts = Counter(queue.items(NEW))
    for turn in range(3):
        there = [flow for flow in counts if counts[flow] > turn]
        assert sorted(pops(queue, len(there))) == sorted(there)
    assert queue.length(NEW) == 0


# ---- The bound -------------------------------------------------------------------------------------------------------


WEIGHTS = st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0, 0.1, 0.3, 100.0, 0.01])


@example([0.25, 0.25, 3.0, 0.25, 0.25, 0.01, 100.0], [[0, 0, 2], [6], [0, 0, 0, 2], [0, 0, 5], *[[]] * 6, [1]])
@settings(max_examples=300, deadline=None)
@given(
    weights=st.lists(WEIGHTS, min_size=1, max_size=7),
    coming=st.lists(st.lists(st.integers(0, 6), max_size=6), min_size=1, max_size=60),
)
def test_every_item_leaves_at_most_one_slot_after_the_one_in_which_the_fluid_ends_it(weights, coming):
    """Flows of any weights come and go; one item is sent in every slot.

    The one is taken where a flow comes while another is ahead: weights 0.25 of which one comes in the last slot.
    """
    names = [f"f{number}" for number in range(len(weights))]
    queue = FairQueue(1_000)
    for name, weight in zip(names, weights, strict=True):
        queue.set_weight(name, weight)
    arrivals = [
        Arrival(names[one % len(names)], slot) for slot, flows in enumerate(coming) for one in flows
    ]
    finishes = fluid_finishes(arrivals, {n: exact(w) for n, w in zip(names, weights, strict=True)})
    following, slot, left = 0, 0, {}
    while len(left) < len(arrivals):
        while following < len(arrivals) and arrivals[following].slot <= slot:
            queue.push(NEW, arrivals[following].flow, following)
            following += 1
        index = queue.pop(NEW, 0, go)
        slot += 1
        if index is not None:
            left[index] = slot
    for index, slot in left.items():
        assert slot <= ceil(finishes[index] + Fraction(1, 10**6)) + 1


def exact(weight: float) -> Fraction:
    """Return a weight as the queue keeps it."""
    return Fraction(round(weight * 2**24), 2**24)


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (3, 2, 1), (5, 1, 1, 1, 1, 1), (0.01, 100, 1), (7, 3, 0.5, 0.5)])
def test_the_kth_order_of_a_backlogged_flow_is_among_the_next_k_times_all_weights_over_its_own(weights):
    queue = backlog({f"f{n}": float(w) for n, w in enumerate(weights)}, 3_000)
    total = sum(exact(float(weight)) for weight in weights)
    count: Counter = Counter()
    for slot in range(1, 3_000):
        flow, _ = queue.pop(NEW, 0, go)
        count[flow] += 1
        for number, weight in enumerate(weights):
            due = slot * exact(float(weight)) / total  # floor(due) orders must be out: k <= due means slot >= k / share
            assert count[f"f{number}"] >= int(due - Fraction(1, 10**6)), (slot, number)


class Venue:
    """A venue that takes `limit` orders in each aligned window, on a clock of the test's own.

    Args:
        queue: what is sent from, as soon as the window allows
        hold: (item, now_ns) -> ns that its flow has to wait
    """

    def __init__(self, queue: FairQueue, limit: int, window_ns: int, hold=None) -> None:
        self.queue, self.limit, self.window_ns = queue, limit, window_ns
        self.hold = hold or (lambda item, now_ns: 0)
        self.window = -1
        self.used = 0
        self.sent: list[tuple[int, object]] = []

    def pump(self, now_ns: int) -> None:
        if now_ns // self.window_ns != self.window:
            self.window, self.used = now_ns // self.window_ns, 0
        while self.used < self.limit:
            item = self.queue.pop(NEW, now_ns, lambda one: self.hold(one, now_ns))
            if item is None:
                return
            self.used += 1
            self.sent.append((now_ns, item))


def simulate(
    weights: dict[str, float], pushes: list[tuple[int, str]], limit: int, seconds: int, change=None
) -> tuple[dict[str, list[tuple[int, int]]], Venue]:
    """Push at these times, pump every 0.1 s; return (from when it was its flow's head, when it left) by flow."""
    queue = FairQueue(100_000)
    for flow, weight in weights.items():
        queue.set_weight(flow, weight)
    venue = Venue(queue, limit, 10 * SECOND)
    waiting = deque(sorted(pushes))
    arrived: dict[str, deque[int]] = defaultdict(deque)
    left: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for step in range(seconds * 10):
        now = step * SECOND // 10
        while waiting and waiting[0][0] <= now:
            at, flow = waiting.popleft()
            queue.push(NEW, flow, flow)
            arrived[flow].append(at)
        if change:
            change(queue, now)
        seen = len(venue.sent)
        venue.pump(now)
        for at, flow in venue.sent[seen:]:
            before = left[flow][-1][1] if left[flow] else 0
            left[flow].append((max(arrived[flow].popleft(), before), at))
    return left, venue


def bound_ns(weights: dict[str, float], flow: str, limit: int) -> int:
    """Return B = ceil(sum of weights / (own weight * limit)) windows."""
    return ceil(sum(map(exact, weights.values())) / (exact(weights[flow]) * limit)) * 10 * SECOND


@pytest.mark.parametrize(("flows", "limit"), [(100, 100), (101, 100), (30, 7), (5, 100), (250, 100)])
def test_the_head_of_every_backlogged_flow_of_equal_weight_leaves_within_the_bound(flows, limit):
    rng = random.Random(flows)
    weights = {f"f{n}": 1.0 for n in range(flows)}
    pushes = [(rng.randrange(20 * SECOND), flow) for flow in weights for _ in range(40)]
    left, _ = simulate(weights, pushes, limit, 300)
    for flow in weights:
        assert max(at - since for since, at in left[flow]) <= bound_ns(weights, flow, limit)


def test_a_quiet_flow_of_any_weight_leaves_within_the_bound_beside_hogs():
    rng = random.Random(2)
    weights = {f"hog{n}": 1.0 for n in range(5)} | {f"q{n}": rng.choice([0.1, 0.5, 1.0, 3.0]) for n in range(95)}
    pushes = [(rng.randrange(600) * SECOND, flow) for flow in weights for _ in range(2)]
    pushes += [(second * SECOND, f"hog{n}") for n in range(5) for second in range(600) for _ in range(20)]
    left, venue = simulate(weights, pushes, 100, 700)
    for flow in weights:
        if flow.startswith("q"):
            assert len(left[flow]) == 2
            assert max(at - since for since, at in left[flow]) <= bound_ns(weights, flow, 100)
    assert len(venue.sent) >= 0.98 * 100 * 70  # and nothing of the limit was wasted


def test_what_each_flow_gets_is_the_max_min_fair_split():
    rng = random.Random(3)
    for weights in (dict.fromkeys("abcdefgh", 1.0), {flow: rng.choice([0.2, 1.0, 2.0, 5.0]) for flow in "abcdefgh"}):
        demand = {"a": 3, "b": 50, "c": 100, "d": 200, "e": 400, "f": 1_000, "g": 5_000, "h": 5_000}
        pushes = [(number * 300 * SECOND // count, flow) for flow, count in demand.items() for number in range(count)]
        _, venue = simulate(weights, pushes, 40, 300)
        got = Counter(item for _, item in venue.sent)
        ideal = max_min_fair(demand, 40 * 30, weights)
        for flow in demand:  # a window's demand comes evenly, its sends at once
            assert got[flow] == pytest.approx(ideal[flow], abs=3 + demand[flow] / 30), flow


def test_a_weight_that_changes_live_counts_from_then_on():
    weights = {"a": 1.0, "b": 1.0, "c": 0.01}
    queue = backlog(weights, 5_000)
    assert Counter(flow for flow, _ in pops(queue, 400))["a"] == pytest.approx(200, abs=2)
    queue.set_weight("a", 3.0)
    assert Counter(flow for flow, _ in pops(queue, 400))["a"] == pytest.approx(300, abs=4)
    queue.set_weight("c", 100.0)
    for flow in "ab":
        queue.set_weight(flow, 50.0)
    got = Counter(flow for flow, _ in pops(queue, 400))
    assert got["c"] == pytest.approx(200, abs=3)
    assert got["a"] == pytest.approx(100, abs=3)
    queue.set_weight("c", 0.01)
    assert Counter(flow for flow, _ in pops(queue, 400))["c"] <= 1


@settings(max_examples=100, deadline=None)
@given(
    weights=st.lists(WEIGHTS, min_size=2, max_size=6),
    changes=st.lists(st.tuples(st.integers(0, 5), WEIGHTS, st.integers(0, 40)), min_size=1, max_size=12),
)
def test_after_a_change_of_weights_no_head_waits_longer_than_its_new_bound(weights, changes):
    names = [f"f{n}" for n in range(len(weights))]
    now = dict(zip(names, weights, strict=True))
    queue = backlog(now, 3_000)
    for which, weight, served in changes:
        pops(queue, served)
        name = names[which % len(names)]
        now[name] = weight
        queue.set_weight(name, weight)
    total = sum(map(exact, now.values()))
    heads = {name: queue.head(NEW, name) for name in names}
    sent = pops(queue, 2_000)
    for name, head in heads.items():
        # the turn before may still run, and each other flow may have one order due
        due = ceil(2 * total / exact(now[name])) + len(names)
        assert due > 2_000 or head in sent[:due]


@pytest.mark.parametrize("weights", [{"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 4.0, "b": 2.0, "c": 1.0}])
def test_costs_are_shared_by_weight_and_not_orders(weights):
    costs = {"a": 1.0, "b": 5.0, "c": 25.0}
    queue = FairQueue(5_000)
    for flow, weight in weights.items():
        queue.set_weight(flow, weight)
        for number in range(3_000):
            queue.push(NEW, flow, (flow, number), costs[flow])
    spent: Counter = Counter()
    while sum(spent.values()) < 2_000:
        flow, _ = queue.pop(NEW, 0, go)
        spent[flow] += costs[flow]
        for one, weight in weights.items():
            ideal = sum(spent.values()) * weight / sum(weights.values())
            assert spent[one] == pytest.approx(ideal, abs=2 * max(costs.values()))


def test_the_clock_that_starts_again_changes_nothing():
    queue = FairQueue(2_000)
    for flow, weight in {"a": LEAST_WEIGHT, "b": 3 * LEAST_WEIGHT}.items():
        queue.set_weight(flow, weight)
        for number in range(2_000):
            queue.push(NEW, flow, (flow, number), MOST_COST)  # every order takes the clock far past where it restarts
    got = Counter(flow for flow, _ in pops(queue, 1_000))
    assert got["b"] == pytest.approx(750, abs=1)
    queue.set_weight("heavy", MOST_WEIGHT)
    queue.push(NEW, "heavy", ("heavy", 0))
    assert ("heavy", 0) in pops(queue, 2)


# ---- Parking ---------------------------------------------------------------------------------------------------------


def quota(rates: dict[str, float]):
    """Return wait(item, now_ns) by own token buckets, and the buckets."""
    buckets = {flow: TokenBucket(rate, max(1.0, rate)) for flow, rate in rates.items()}

    def hold(flow: str, now_ns: int) -> int:
        if flow not in buckets:
            return 0
        wait = buckets[flow].wait_ns(1, now_ns)
        if not wait:
            buckets[flow].take(1, now_ns)
        return wait

    return hold


def test_a_flow_held_by_its_own_quota_gets_the_lesser_of_quota_and_share_and_holds_up_nobody():
    rates = {"a": 0.3, "b": 0.9, "c": 2.0}
    queue = FairQueue(100_000)
    venue = Venue(queue, 1, SECOND // 5, quota(rates))  # 5 orders a second, one at a time
    flows = ["a", "b", "c", "d", "e"]
    for flow in flows:
        for _ in range(3_000):
            queue.push(NEW, flow, flow)
    for step in range(5 * 400):
        venue.pump(step * SECOND // 5)
    got = Counter(item for _, item in venue.sent)
    ideal = max_min_fair({flow: rates.get(flow, 100.0) * 400 for flow in flows}, 2_000)
    assert len(venue.sent) == 2_000
    for flow in flows:  # a held flow's order leaves at most two slots after its token came
        least = ideal[flow] / (1 + rates.get(flow, 0.0) * 2 / 5)
        assert least - 3 <= got[flow], flow
        assert got[flow] <= rates.get(flow, 5.0) * 400 + 2, flow
    assert max(got[flow] for flow in "cde") - min(got[flow] for flow in "cde") <= 2


def test_an_empty_limit_of_one_pair_holds_up_that_pair_alone_and_starves_none_of_its_flows():
    queue = FairQueue(100_000)
    pair = TokenBucket(1.0, 1.0)
    heavy, light, others = "heavy", "light", [f"other{n}" for n in range(8)]
    queue.set_weight(heavy, 4.0)

    def hold(flow: str, now_ns: int) -> int:
        if flow in others:
            return 0
        wait = pair.wait_ns(1, now_ns)
        if not wait:
            pair.take(1, now_ns)
        return wait

    venue = Venue(queue, 1, SECOND // 10, hold)
    for flow in [heavy, light, *others]:
        for _ in range(3_000):
            queue.push(NEW, flow, flow)
    for step in range(10 * 200):
        venue.pump(step * SECOND // 10)
    got = Counter(item for _, item in venue.sent)
    assert len(venue.sent) == 2_000
    assert got[heavy] + got[light] >= 190  # the pair's own limit is used in full
    assert got[light] >= 35  # at least its share of it by weight
    assert all(got[other] == pytest.approx(1_800 / 8, abs=3) for other in others)


def test_a_flow_that_wakes_delays_the_others_by_one_order_at_most():
    queue = FairQueue(1_000)
    held = {f"held{n}" for n in range(50)}
    free = [f"free{n}" for n in range(50)]
    for flow in [*held, *free]:
        for _ in range(100):
            queue.push(NEW, flow, flow)
    sent = [queue.pop(NEW, 0, lambda flow: SECOND if flow in held else 0) for _ in range(2_000)]
    assert not held & set(sent)  # 40 turns of the others' went by
    queue.push(NEW, "new", "new")
    sent = [queue.pop(NEW, SECOND, go) for _ in range(102)]
    assert "new" in sent
    counts = Counter(sent)
    assert all(counts[flow] <= 2 for flow in held)  # not what it missed in those 40 turns
