"""What waits leaves once, in its flow's order, and not before wait() lets it."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.fair_queues import NEW, SECOND, backlog, go, pops
from hive.gate.fairness import FairQueue


def test_classes_have_rounds_of_their_own():
    queue = FairQueue(10)
    for rank in (1, 3):
        for number in range(3):
            for flow in "ab":
                queue.push(rank, flow, (rank, flow, number))
    assert queue.waiting() == [1, 3]
    assert [queue.pop(3, 0, go)[1] for _ in range(4)] == list("abab")
    assert [queue.pop(1, 0, go)[1] for _ in range(6)] == list("ababab")
    assert queue.items() == [(3, "a", 2), (3, "b", 2)]
    assert queue.waiting() == [3]


# ---- Parking ---------------------------------------------------------------------------------------------------------


def test_wait_ns_tells_when_a_pop_is_worth_trying():
    queue = FairQueue(10)
    assert queue.wait_ns(NEW, 0) == -1
    queue.push(NEW, "a", 1)
    queue.push(NEW, "b", 2)
    assert queue.wait_ns(NEW, 0) == 0
    assert queue.pop(NEW, 1_000, lambda item: 500 * item) is None
    assert queue.wait_ns(NEW, 1_000) == 500
    assert queue.wait_ns(NEW, 1_200) == 300
    assert queue.wait_ns(NEW, 5_000) == 0
    assert queue.wait_ns(4, 0) == -1
    assert queue.pop(NEW, 1_499, go) is None
    assert queue.pop(NEW, 1_500, go) == 1
    assert queue.wait_ns(NEW, 1_500) == 500
    queue.unpark()
    assert queue.wait_ns(NEW, 1_500) == 0
    assert queue.pop(NEW, 1_500, go) == 2


def test_unpark_of_one_flow_leaves_the_others_parked():
    queue = FairQueue(10)
    for flow in "ab":
        queue.push(NEW, flow, flow)
    assert queue.pop(NEW, 0, lambda item: SECOND) is None
    queue.unpark("b")
    assert queue.pop(NEW, 0, go) == "b"
    assert queue.pop(NEW, 0, go) is None


def test_a_parked_flow_is_asked_again_when_its_head_is_removed():
    queue = FairQueue(10)
    first = queue.push(NEW, "a", 1)
    queue.push(NEW, "a", 2)
    assert queue.pop(NEW, 0, lambda item: SECOND) is None
    assert queue.remove(first)
    assert queue.pop(NEW, 0, go) == 2


def test_an_error_of_wait_leaves_the_item_where_it_was():
    queue = FairQueue(10)
    queue.push(NEW, "a", 0)
    with pytest.raises(ZeroDivisionError):
        queue.pop(NEW, 0, lambda item: 1 // item)
    assert queue.pop(NEW, 0, go) == 0


# ---- Put back, removed, full -----------------------------------------------------------------------------------------


def test_an_item_that_was_put_back_is_the_next_and_pays_once():
    weights = {"a": 1.0, "b": 2.0, "c": 0.5}
    straight, retried = backlog(weights, 300), backlog(weights, 300)
    rng = random.Random(5)
    for _ in range(700):
        for _ in range(rng.choice([0, 0, 1, 3])):
            item = retried.pop(NEW, 0, go)
            assert retried.push(NEW, item[0], item, first=True)
        item = retried.pop(NEW, 0, go)
        assert item == straight.pop(NEW, 0, go)


def test_putting_back_for_ever_does_not_delay_a_newcomer():
    queue = backlog({"a": 1.0, "b": 1.0}, 50)
    for _ in range(10_000):
        item = queue.pop(NEW, 0, go)
        queue.push(NEW, item[0], item, first=True)
    queue.push(NEW, "new", "new")
    assert "new" in pops(queue, 3)


def test_the_last_item_of_a_flow_that_was_put_back_is_the_next():
    queue = FairQueue(1)
    for flow in "abc":
        queue.push(NEW, flow, flow)
    assert queue.pop(NEW, 0, go) == "a"
    assert queue.push(NEW, "a", "later") is not None
    assert queue.push(NEW, "a", "a", first=True) is not None  # though the flow is full
    assert queue.depth(NEW, "a") == 2
    assert pops(queue, 4) == ["a", "b", "c", "later"]


def test_a_full_flow_refuses_and_the_others_do_not():
    queue = FairQueue(2)
    assert queue.push(NEW, "a", 1)
    assert queue.push(NEW, "a", 2)
    assert queue.push(NEW, "a", 3) is None
    assert queue.push(NEW, "b", 4)
    assert queue.push(1, "a", 5)
    assert queue.length(NEW) == 3
    assert queue.depth(NEW, "a") == 2
    assert queue.items(NEW) == [1, 2, 4]


def test_an_item_that_was_removed_does_not_leave():
    queue = FairQueue(10)
    entries = [queue.push(NEW, "a", number) for number in range(4)]
    assert (entries[2].item, entries[2].flow, entries[2].rank, entries[2].waiting) == (2, "a", NEW, True)
    assert queue.remove(entries[2])
    assert not entries[2].waiting
    assert not queue.remove(entries[2])
    assert queue.remove(entries[0])
    assert queue.head(NEW, "a") == 1
    assert pops(queue, 3) == [1, 3, None]
    assert not queue.remove(entries[1])
    assert queue.head(NEW, "a") is None
    assert queue.flows(NEW) == []


def test_pushing_and_cancelling_earns_a_flow_nothing():
    queue = backlog({"a": 1.0, "b": 1.0, "busy": 1.0}, 1_000)
    sent: Counter = Counter()
    for _ in range(900):
        for _ in range(3):
            entry = queue.push(NEW, "toggler", ("toggler", 0))
            queue.remove(entry)
        queue.push(NEW, "toggler", ("toggler", 0)) if not queue.depth(NEW, "toggler") else None
        sent[queue.pop(NEW, 0, go)[0]] += 1
    assert all(count == pytest.approx(225, abs=2) for count in sent.values())


@settings(max_examples=200, deadline=None)
@given(program=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 40)), max_size=400))
def test_every_item_leaves_once_and_in_its_flows_order_whatever_happens(program):
    """Any interleaving of pushes, pops, removals, put-backs, parking and weights, beside a model of plain lists."""
    queue, capacity = FairQueue(5), 5
    model: dict[str, list[int]] = {flow: [] for flow in "abcd"}
    entries: dict[int, object] = {}
    now = number = 0
    popped = removed = 0
    for action, which, amount in program:
        flow = "abcd"[which]
        now += amount
        if action <= 3:
            number += 1
            entry = queue.push(NEW, flow, (flow, number), cost=1.0 + amount % 3)
            assert (entry is None) == (len(model[flow]) >= capacity)
            if entry:
                model[flow].append(number)
                entries[number] = entry
        elif action <= 6:
            item = queue.pop(NEW, now, lambda one, amount=amount: (one[1] * 7 + amount) % 3 * 10)
            if item:
                assert model[item[0]].pop(0) == item[1]
                if amount % 5 == 0:
                    entries[item[1]] = queue.push(NEW, item[0], item, first=True)
                    model[item[0]].insert(0, item[1])
                else:
                    popped += 1
        elif action == 7 and entries:
            one = sorted(entries)[amount % len(entries)]
            waits = any(one in waiting for waiting in model.values())
            assert queue.remove(entries[one]) == waits
            if waits:
                model[entries[one].flow].remove(one)
                removed += 1
        elif action == 8:
            queue.set_weight(flow, (0.01, 1.0, 2.5, 100.0)[amount % 4])
        else:
            queue.unpark(flow if amount % 2 else None)
        for each, waiting in model.items():
            assert queue.depth(NEW, each) == len(waiting)
            assert queue.head(NEW, each) == ((each, waiting[0]) if waiting else None)
        assert queue.length(NEW) == sum(map(len, model.values()))
        assert sorted(queue.flows(NEW)) == [each for each, waiting in model.items() if waiting]
    while (item := queue.pop(NEW, now + 1_000, go)) is not None:
        assert model[item[0]].pop(0) == item[1]
        popped += 1
    assert not any(model.values())
    assert queue.wait_ns(NEW, now) == -1
    assert popped + removed == len(entries)


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: FairQueue(0), "capacity must be >= 1, was 0"),
        (lambda: FairQueue(1).set_weight("a", 0.0), r"weight must be 1.52587890625e-05 to 65536.0, was 0.0"),
        (lambda: FairQueue(1).set_weight("a", float("nan")), "weight must be .*, was nan"),
        (lambda: FairQueue(1).push(16, "a", 1), "rank must be 0 to 15, was 16"),
        (lambda: FairQueue(1).push(-1, "a", 1), "rank must be 0 to 15, was -1"),
        (lambda: FairQueue(1).push(1, "a", 1, cost=0.0), "cost must be > 0 and at most 4096.0, was 0.0"),
    ],
)
def test_a_queue_names_the_rule_that_was_broken(call, rule):
    with pytest.raises(ValueError, match=rule):
        call()


# ---- What goes without waiting ---------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["passes", "pushes", "pops"])), max_size=60))
def test_what_goes_without_waiting_counts_as_a_push_and_a_pop(steps):
    passing, pushing = FairQueue(10), FairQueue(10)
    for queue in (passing, pushing):
        queue.set_weight("b", 3.0)
    for number, (flow, step) in enumerate(steps):
        if step == "passes" and not pushing.length(NEW):
            passing.passed(NEW, flow, number, number)
            pushing.push(NEW, flow, number)
            assert pushing.pop(NEW, number, go) == number
        elif step == "pushes":
            assert [queue.push(NEW, flow, number) is None for queue in (passing, pushing)] in ([True] * 2, [False] * 2)
        elif step == "pops":
            assert passing.pop(NEW, number, go) == pushing.pop(NEW, number, go)
    assert pops(passing, 100) == pops(pushing, 100)


def test_an_item_does_not_count_as_passed_while_something_waits():
    queue = FairQueue(10)
    queue.push(NEW, "a", 1)
    queue.passed(NEW, "b", 2, 0)
    assert queue.items() == [1]
    assert queue.flows(NEW) == ["a"]
