"""The gate's budgets: one per address, and a later gate goes on where the one before ended."""

import dataclasses
import secrets
import time

import pytest

from hive.gate.budgets import DOCUMENTED_LIMIT, VenueBudgets
from hive.gate.limit_rules import LimitCount, LimitKind, LimitRule, Operation
from hive.gate.limits import Limits
from hive.gate.settings import VenueSettings
from hive.gate.venue_limits import binance_spot
from hive.shm.budget import BUDGET_BYTES, MINUTE_NS, Budget
from hive.shm.segment import Segment, list_segments, segment_name, unlink

START = 1_000 * MINUTE_NS + 10_000_000_000
SECOND = 1_000_000_000
VENUE = VenueSettings(0, "binance", "http://127.0.0.1:1", "ws://127.0.0.1:1", "key", "secret")
RULES = binance_spot([LimitRule(LimitKind.WEIGHT, MINUTE_NS, 1_000), LimitRule(LimitKind.ORDERS, 10 * SECOND, 1_000)])
WEIGHTS = {Operation.PLACE: 1, Operation.CANCEL: 1, Operation.ACCOUNT: 30, Operation.TIME: 1}


@pytest.fixture
def run():
    name = secrets.token_hex(4)
    yield name
    for info in list_segments(name):
        unlink(info.name)


def budgets(run, epoch=1, venues=(VENUE,), wall_ns=START):
    return VenueBudgets(run, epoch, venues, 0.4, wall_ns)


def used(weight):
    return [LimitCount(LimitKind.WEIGHT, MINUTE_NS, weight)]


def test_the_feed_opens_what_the_gate_names(run):
    made = budgets(run)
    segment = Segment.open(made.names["binance"], kind="budget", writable=True)
    made.of("binance").charge(10, START)
    assert Budget.open(segment).used(START) == (10, 0, DOCUMENTED_LIMIT)


def test_accounts_at_one_address_share_a_budget_and_others_do_not(run):
    other = dataclasses.replace(VENUE, name="second", rest_url="http://127.0.0.1:1/")
    third = dataclasses.replace(VENUE, name="third", rest_url="http://127.0.0.1:2")
    made = budgets(run, venues=(VENUE, other, third))
    assert made.names["binance"] == made.names["second"] != made.names["third"]
    made.of("binance").charge(10, START)
    made.of("second").charge(5, START)
    assert made.of("binance").used(START)[0] == made.of("second").used(START)[0] == 15
    assert made.of("third").used(START)[0] == 0


def test_a_later_gate_goes_on_with_the_minute_and_removes_the_old_segment(run):
    first = budgets(run)
    first.of("binance").charge(100, START)
    first.of("binance").close(3, START)
    second = budgets(run, epoch=4, wall_ns=START + SECOND)
    assert second.of("binance").used(START + SECOND)[0] == 100
    assert second.of("binance").wait_ns(1, START + SECOND) == 2 * SECOND
    assert [info.name for info in list_segments(run)] == [second.names["binance"]]


def test_a_later_gate_may_spend_what_the_venue_allowed_the_one_before(run):
    first = budgets(run).of("binance")
    first.set_limit(10 * DOCUMENTED_LIMIT)  # as exchangeInfo told it
    first.charge(DOCUMENTED_LIMIT, START)
    second = budgets(run, epoch=2).of("binance")
    second.settle(DOCUMENTED_LIMIT, START)
    assert second.wait_ns(300, START) == 0


def test_what_gates_left_that_died_while_they_took_over_is_removed_too(run):
    first = budgets(run)
    first.of("binance").charge(100, START)
    name = segment_name(run, "budget.binance", 2)
    Segment.create(name, BUDGET_BYTES, kind="budget", epoch=2)  # nothing is laid out in it yet
    third = budgets(run, epoch=3, wall_ns=START + SECOND)
    assert third.of("binance").used(START + SECOND)[0] == 100
    Segment.create(name, BUDGET_BYTES, kind="budget", epoch=2)  # beside the one that was gone on with
    fourth = budgets(run, epoch=4, wall_ns=START + 2 * SECOND)
    assert fourth.of("binance").used(START + 2 * SECOND)[0] == 100
    assert [info.name for info in list_segments(run)] == [fourth.names["binance"]]


def test_a_gate_that_finds_nothing_takes_the_minute_as_spent_until_the_venue_tells(run):
    budget = budgets(run, epoch=2).of("binance")
    limits = Limits([], 0, budget, WEIGHTS)
    charge = limits.charge(Operation.TIME, "", START, 0)  # which waits for nothing
    assert limits.wait_ns(Operation.TIME, "", START, 0) > 0
    limits.settle(charge, used(700), START, 0)
    assert limits.wait_ns(Operation.TIME, "", START, 0) == 0
    assert budget.foreign(START) == 699


def test_the_venues_rules_set_the_limit_of_both(run):
    made = budgets(run)
    Limits(RULES, 0, made.of("binance"), WEIGHTS)
    segment = Segment.open(made.names["binance"], kind="budget", writable=True)
    assert Budget.open(segment).share == 400


def test_the_gate_spends_its_share_whatever_the_feed_spends(run):
    made = budgets(run)
    gate = Limits(RULES, 0, made.of("binance"), WEIGHTS)
    gate.assume(used(0), START, 0)
    feed = Budget.open(Segment.open(made.names["binance"], kind="budget", writable=True))
    assert feed.reserve(400, START) == 0
    spent = 0
    while spent < 1_000 and (charge := gate.acquire(Operation.PLACE, "BTCUSDT", START, 0)) is not None:
        spent += 1
        gate.settle(charge, used(400 + spent), START, 0)
    assert spent == 600 - 600 // 20, "new orders leave a reserve"
    assert gate.acquire(Operation.ACCOUNT, "", START, 0) is not None, "which cancels and questions may use"
    assert gate.wait_ns(Operation.CANCEL, "BTCUSDT", START, 0) > 0
    assert feed.reserve(1, START) > 0


def test_what_is_asked_of_the_budget_in_advance_is_never_more_than_it_grants(run):
    gate = Limits(RULES, 0, budgets(run).of("binance"), WEIGHTS, adaptive=False)
    gate.settle(gate.charge(Operation.TIME, "", START, 0), used(1), START, 0)
    spent = 0
    while spent < 1_000 and gate.acquire(Operation.PLACE, "BTCUSDT", START, 0) is not None:
        spent += 1
    assert spent == 600 - 600 // 20 - 1


def test_an_address_that_the_venue_turns_away_closes_for_the_feed_too(run):
    made = budgets(run)
    gate = Limits(RULES, 0, made.of("binance"), WEIGHTS)
    feed = Budget.open(Segment.open(made.names["binance"], kind="budget", writable=True))
    order = gate.charge(Operation.PLACE, "BTCUSDT", START, 0)
    gate.breached(order, LimitKind.ORDERS, 0, 5, START, 0)
    assert gate.wait_ns(Operation.PLACE, "BTCUSDT", START, 0) > 0
    assert feed.wait_ns(1, START) == 0, "the account's limits are not the address's"
    gate.close_address(2, START, 0)
    assert feed.wait_ns(1, START) == 2 * SECOND
    feed.close(9, START)
    assert gate.wait_ns(Operation.CANCEL, "BTCUSDT", START, 60 * SECOND) == 9 * SECOND
    assert gate.closed_ns(START, 60 * SECOND) == 9 * SECOND


def test_weight_is_counted_over_all_minutes(run):
    budget = budgets(run).of("binance")
    limits = Limits(RULES, 0, budget, WEIGHTS)
    for minute in range(3):
        limits.charge(Operation.ACCOUNT, "", START + minute * MINUTE_NS, 0)
    assert budget.spent == 90


def test_the_feeds_weight_is_no_drift_and_somebody_elses_is(run):
    made = budgets(run)
    gate = Limits(RULES, 0, made.of("binance"), WEIGHTS)
    feed = Budget.open(Segment.open(made.names["binance"], kind="budget", writable=True))
    gate.assume(used(0), START, 0)
    feed.charge(100, START)
    gate.settle(gate.charge(Operation.TIME, "", START, 0), used(101), START, 0)
    assert gate.drift(LimitKind.WEIGHT, START) == 0
    gate.settle(gate.charge(Operation.TIME, "", START, 0), used(142), START, 0)
    assert gate.drift(LimitKind.WEIGHT, START) == 40


def test_two_gates_of_one_epoch_do_not_share_a_name(run):
    budgets(run, wall_ns=time.time_ns())
    with pytest.raises(Exception, match="exists already"):
        budgets(run, wall_ns=time.time_ns())
