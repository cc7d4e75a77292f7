"""A venue's request weight between gate and feed: shares, windows, headers, killed parties; on a clock of our own."""

import json
import os
import random
import signal

import pytest

import forks
from hive.shm.budget import ASK_AGAIN_NS, BUDGET_BYTES, EDGE_NS, MINUTE_NS, MOST_WEIGHT, Budget
from hive.shm.errors import LayoutMismatch, ShmError
from hive.shm.segment import Segment

SECOND = 1_000_000_000
START = 1_000 * MINUTE_NS + 10 * SECOND  # well inside a window
TURN = 1_001 * MINUTE_NS


@pytest.fixture
def segment(create):
    return create("budget.binance", BUDGET_BYTES, "budget")


def proven(segment, limit=1_000, feed_share=0.4, at=START):
    """A gate's budget whose first window is known to be empty, and the feed's view of it."""
    gate = Budget.create(segment, limit, feed_share, at)
    gate.settle(0, at)
    return gate, Budget.open(segment)


def test_each_party_has_its_share_and_never_takes_the_others(segment):
    gate, feed = proven(segment)
    assert (gate.share, feed.share) == (600, 400)
    assert feed.reserve(400, START) == 0
    assert feed.reserve(1, START) == TURN + EDGE_NS - START
    assert gate.reserve(600, START) == 0
    assert gate.reserve(1, START) > 0
    assert gate.used(START) == feed.used(START) == (600, 400, 1_000)


def test_a_new_minute_grants_anew(segment):
    _, feed = proven(segment)
    assert feed.reserve(400, START) == 0
    assert feed.reserve(400, TURN + EDGE_NS) == 0
    assert feed.used(TURN + EDGE_NS) == (0, 400, 1_000)
    assert feed.used(TURN + 3 * MINUTE_NS) == (0, 0, 1_000)


def test_what_leaves_at_an_edge_counts_on_both_sides(segment):
    _, feed = proven(segment)
    assert feed.reserve(300, TURN - EDGE_NS // 2) == 0
    assert feed.reserve(150, TURN + EDGE_NS // 2) > 0, "the venue may still count the old minute"
    assert feed.reserve(100, TURN + EDGE_NS // 2) == 0
    assert feed.used(TURN + EDGE_NS)[1] == 400
    assert feed.reserve(1, TURN + EDGE_NS) > 0, "the venue may have counted all of it in the new minute"


def test_a_venue_that_counts_with_another_clock_never_counts_more_than_the_limit(segment):
    rng = random.Random(5)
    gate, feed = proven(segment)
    now = START
    for skew in (-EDGE_NS + 1, 0, EDGE_NS - 1):
        counted = {}
        for _ in range(30_000):
            for party in (gate, feed):
                weight = rng.choice((1, 5, 25, 100))
                if party.reserve(weight, now) == 0:
                    venue_minute = (now + rng.randint(min(0, skew), max(0, skew))) // MINUTE_NS
                    counted[venue_minute] = counted.get(venue_minute, 0) + weight
            now += rng.choice((SECOND // 50, SECOND // 3, 2 * SECOND))
        assert max(counted.values()) <= 1_000
        assert max(counted.values()) > 800
        now += 10 * MINUTE_NS


def test_what_the_venue_counts_beyond_both_is_charged_to_both(segment):
    gate, feed = proven(segment)
    gate.charge(100, START)
    feed.reserve(50, START)
    feed.settle(450, START)  # 300 of them are another program's
    assert gate.foreign(START) == feed.foreign(START) == 300
    assert feed.reserve(51, START) > 0
    assert feed.reserve(50, START) == 0
    assert gate.reserve(201, START) > 0
    assert gate.reserve(200, START) == 0
    assert gate.settled(START) == 450
    assert feed.foreign(TURN + EDGE_NS) == 0


def test_a_later_and_lower_count_gives_nothing_back(segment):
    gate, feed = proven(segment)
    gate.settle(200, START)
    feed.settle(100, START)
    feed.settle(-1, START)
    assert feed.foreign(START) == 200


def test_a_count_of_the_minute_before_is_no_news_of_this_one(segment):
    gate, _ = proven(segment)
    after = TURN + SECOND
    gate.settle(900, after, asked_ns=TURN - SECOND)
    gate.settle(900, TURN + EDGE_NS // 2)
    assert gate.foreign(after) == 0


def test_a_close_by_one_holds_both_and_is_only_pushed_forward(segment):
    gate, feed = proven(segment)
    feed.close(30, START)
    gate.close(5, START)
    assert gate.reserve(1, START) == 30 * SECOND
    assert feed.reserve(1, START + 10 * SECOND) == 20 * SECOND
    assert gate.reserve(1, START + 30 * SECOND) == 0


def test_a_request_heavier_than_the_share_passes_alone(segment):
    _, feed = proven(segment, limit=100)
    assert feed.reserve(80, START) == 0
    assert feed.reserve(1, START) > 0
    assert feed.reserve(1, TURN + EDGE_NS) == 0
    assert feed.reserve(80, TURN + EDGE_NS) > 0
    assert feed.reserve(80, TURN + MINUTE_NS + EDGE_NS) == 0


def test_a_forced_charge_counts_though_it_does_not_fit(segment):
    gate, feed = proven(segment)
    gate.charge(5_000, START)
    gate.charge(MOST_WEIGHT * 4, START)
    assert gate.reserve(1, START) > 0
    assert feed.reserve(400, START) == 0
    assert gate.reserve(600, TURN + EDGE_NS) == 0


def test_an_unknown_window_is_spent_until_the_venue_tells_and_one_request_asks(segment):
    gate = Budget.create(segment, 1_000, 0.4, START)
    feed = Budget.open(segment)
    assert feed.reserve(5, START) == 0
    assert feed.reserve(5, START) > 0
    assert gate.reserve(1, START) == 0
    assert gate.reserve(1, START) > 0
    feed.settle(706, START)  # 6 of them ours
    assert feed.reserve(5, START) > 0
    assert gate.foreign(START) == 700
    assert feed.reserve(5, TURN + EDGE_NS) == 0


def test_an_unknown_window_of_a_venue_that_never_tells_ends_with_the_minute(segment):
    gate = Budget.create(segment, 1_000, 0.4, START)
    assert gate.reserve(1, START) == 0
    waited_ns = 0
    while wait_ns := gate.reserve(1, START + waited_ns):
        waited_ns += wait_ns
    assert 0 < waited_ns <= MINUTE_NS
    assert gate.reserve(1, START + waited_ns) == 0


def test_who_waits_for_the_first_count_goes_on_as_soon_as_it_is_told(segment):
    gate = Budget.create(segment, 1_000, 0.4, START)
    assert gate.reserve(1, START) == 0
    wait_ns = gate.reserve(80, START)
    assert 0 < wait_ns <= ASK_AGAIN_NS
    gate.settle(7, START + wait_ns // 2)
    assert gate.reserve(80, START + wait_ns) == 0


def test_a_later_gate_goes_on_with_the_minute_and_the_feed_brings_its_own(create):
    first = create("budget.binance", BUDGET_BYTES, "budget")
    gate, feed = proven(first)
    gate.offset_ns = -5_000
    gate.charge(100, START)
    feed.charge(200, START)
    feed.settle(350, START)  # 50 of them another program's
    feed.close(1, START)
    second = create("budget.binance", BUDGET_BYTES, "budget", epoch=2)
    heir = Budget.create(second, 1_000, 0.4, START, before=Budget.open(first, "gate"))
    feed.charge(30, START)  # of the old one: it has not been told yet
    heir.charge(1, START + SECOND)
    heir.settle(381, START + SECOND)
    fresh = Budget.open(second)
    fresh.bring(feed, START + SECOND)
    assert heir.used(START + SECOND) == (101, 230, 1_000)
    assert heir.foreign(START + SECOND) == 50
    assert heir.offset_ns == -5_000
    assert fresh.reserve(1, START + SECOND // 2) == SECOND // 2
    assert fresh.reserve(400 - 230 - 50, START + 2 * SECOND) == 0
    assert fresh.reserve(1, START + 2 * SECOND) > 0


def test_what_a_feed_spent_before_any_gate_is_its_own_and_nobody_elses(segment):
    alone = Budget.private(1_000, 0.4)
    assert alone.reserve(300, START) == 0
    assert alone.reserve(101, START) > 0
    gate = Budget.create(segment, 1_000, 0.4, START)
    gate.charge(20, START)
    gate.settle(320, START)
    assert gate.foreign(START) == 300
    feed = Budget.open(segment)
    feed.bring(alone, START)
    assert gate.foreign(START) == 0
    assert gate.used(START) == (20, 300, 1_000)
    gate.settle(370, START)
    assert gate.foreign(START) == 50
    later = START + MINUTE_NS
    feed.bring(alone, later)  # of a minute that is over
    assert feed.used(later) == (0, 0, 1_000)


def test_a_clock_set_back_grants_no_minute_twice_and_blocks_nobody_for_long(segment):
    _, feed = proven(segment)
    assert feed.reserve(400, TURN + EDGE_NS) == 0
    assert feed.reserve(1, TURN) > 0
    hour_before = START - 60 * MINUTE_NS
    assert feed.reserve(1, hour_before) <= MINUTE_NS + EDGE_NS
    assert feed.reserve(1, hour_before + MINUTE_NS + EDGE_NS) >= 0
    assert feed.reserve(400, hour_before + 5 * MINUTE_NS) in range(2 * MINUTE_NS)


def test_a_limit_that_the_venue_tells_later_changes_both_shares(segment):
    gate, feed = proven(segment, limit=6_000)
    gate.set_limit(1_200)
    assert (gate.share, feed.share) == (720, 480)


@pytest.mark.parametrize("limit", [-1, 0, 1, MOST_WEIGHT + 1])
def test_a_limit_that_cannot_be_shared_is_refused(segment, limit):
    with pytest.raises(ValueError, match=f"limit per minute must be 2..{MOST_WEIGHT}, was {limit}"):
        Budget.create(segment, limit, 0.4, START)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_share_that_leaves_one_party_nothing_is_refused(share):
    with pytest.raises(ValueError, match=f"feed_share must be above 0 and below 1, was {share}"):
        Budget.private(100, share)


def test_the_smallest_limit_leaves_each_party_one(segment):
    gate, feed = proven(segment, limit=2, feed_share=0.01)
    assert (gate.share, feed.share) == (1, 1)


def test_a_segment_is_laid_out_once_and_read_only_after_that(segment, create):
    empty = create("budget.other", BUDGET_BYTES, "budget")
    with pytest.raises(LayoutMismatch, match="holds no budget yet"):
        Budget.open(empty)
    Budget.create(segment, 1_000, 0.4, START)
    with pytest.raises(ShmError, match="in use"):
        Budget.create(segment, 1_000, 0.4, START)
    with pytest.raises(ValueError, match="party must be gate or feed, was 'worker'"):
        Budget.open(segment, "worker")


def hammer(name, party, seed, path):
    """Reserve as fast as possible over 40 minutes of a made-up clock; write what was granted by minute."""
    segment = Segment.open(name, kind="budget", writable=True)
    budget = Budget.open(segment, party)
    rng = random.Random(seed)
    now, granted = START, {}
    while now < START + 40 * MINUTE_NS:
        weight = rng.choice((1, 2, 5))
        if budget.reserve(weight, now) == 0:
            minute = (now - EDGE_NS) // MINUTE_NS
            granted[minute] = granted.get(minute, 0) + weight
        elif rng.random() < 0.01:
            budget.settle(0, now)
        now += rng.randrange(SECOND // 10)
    path.write_text(json.dumps([granted, budget.used(now), now]))
    budget = None
    segment.close()


def test_two_processes_at_full_speed_lose_no_charge_and_exceed_no_share(segment, tmp_path):
    proven(segment)
    paths = {party: tmp_path / party for party in ("gate", "feed")}
    children = [forks.Forked(hammer, segment.name, party, 1, path) for party, path in paths.items()]
    assert [child.wait(60) for child in children] == [0, 0]
    for party, share in (("gate", 600), ("feed", 400)):
        granted, used, now = json.loads(paths[party].read_text())
        assert len(granted) >= 40
        assert max(granted.values()) <= share
        assert min(list(granted.values())[1:-1]) >= share - 5
        last = str((now - EDGE_NS) // MINUTE_NS)
        assert used[("gate", "feed").index(party)] == granted.get(last, 0)


def spend_for_ever(name, party, write_fd):
    budget = Budget.open(Segment.open(name, kind="budget", writable=True), party)
    spent = 0
    while True:
        if budget.reserve(1, START) == 0:
            spent += 1
            os.write(write_fd, b".")


@pytest.mark.parametrize("party", ["gate", "feed"])
def test_a_killed_party_leaves_its_charges_and_a_budget_that_works(segment, party):
    views = dict(zip(("gate", "feed"), proven(segment, limit=100_000), strict=True))
    other = "feed" if party == "gate" else "gate"
    for _ in range(20):
        reading, writing = os.pipe()
        before = views[party].used(START)[("gate", "feed").index(party)]
        with forks.Forked(spend_for_ever, segment.name, party, writing) as child:
            os.close(writing)
            told = len(os.read(reading, 50))
            child.signal(signal.SIGKILL)
            child.wait(10)
        while more := os.read(reading, 65536):
            told += len(more)
        os.close(reading)
        spent = views[party].used(START)[("gate", "feed").index(party)] - before
        assert told <= spent <= told + 1
        assert views[other].reserve(1, START) == 0
        assert views[party].reserve(1, START) == 0
