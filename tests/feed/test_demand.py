"""Demand against a slow, obvious oracle, and its edges."""

import random

import pytest

from hive.feed.demand import Demand, known_kind

LINGER_NS = 100
BTC, ETH = ("BTC-USDT", "book"), ("ETH-USDT", "book")


@pytest.mark.parametrize("seed", range(20))
def test_what_is_followed_is_what_somebody_wants_or_wanted_a_moment_ago(seed):
    rng = random.Random(seed)
    demand = Demand(LINGER_NS)
    pool = [(f"P{n}", kind) for n in range(6) for kind in ("book", "trades", "candles:1m")]
    lists, last_wanted = {}, {}
    for now_ns in range(0, 10_000, 7):
        if rng.random() < 0.3:
            who = f"worker{rng.randrange(4)}"
            wants = rng.sample(pool, rng.randrange(5))
            demand.update(who, wants, now_ns)
            for wish in lists.get(who, ()):
                last_wanted[wish] = now_ns
            lists[who] = set(wants)
        wanted = set().union(*lists.values())
        lingering = {wish for wish, at_ns in last_wanted.items() if now_ns < at_ns + LINGER_NS}
        kinds = demand.current(now_ns)
        assert {(pair, kind) for pair, some in kinds.items() for kind in some} == wanted | lingering
        assert all(demand.count(wish) == sum(wish in wishes for wishes in lists.values()) for wish in pool)


def test_the_same_list_twice_is_nothing_new():
    demand = Demand(LINGER_NS)
    assert demand.update("a", [BTC, BTC], 0) == [BTC]
    assert demand.update("a", [BTC], 0) == []
    assert demand.count(BTC) == 1
    assert demand.update("b", [BTC, ETH], 0) == [BTC, ETH]


def test_what_the_last_one_left_lingers_and_ends_at_a_known_time():
    demand = Demand(LINGER_NS)
    demand.update("a", [BTC], 0)
    demand.update("a", [], 50)
    assert demand.next_ns == 150
    assert demand.current(149) == {"BTC-USDT": {"book"}}
    assert demand.current(150) == {}
    assert demand.next_ns is None


def test_what_is_wanted_again_while_it_lingers_stays():
    demand = Demand(LINGER_NS)
    demand.update("a", [BTC], 0)
    demand.update("a", [], 50)
    demand.update("b", [BTC], 60)
    assert demand.next_ns is None
    assert demand.current(1_000) == {"BTC-USDT": {"book"}}


def test_a_refused_pair_is_wanted_by_nobody_and_new_when_it_is_asked_for_again():
    demand = Demand(LINGER_NS)
    demand.update("a", [BTC, ETH], 0)
    demand.update("b", [BTC], 0)
    demand.refuse("BTC-USDT")
    assert demand.current(0) == {"ETH-USDT": {"book"}}
    assert demand.next_ns is None
    assert demand.update("b", [BTC], 1) == [BTC]
    assert demand.update("a", [ETH], 1) == []


@pytest.mark.parametrize(
    ("kind", "known"),
    [(kind, True) for kind in ("book", "trades", "tops", "candles:1m")]
    + [(kind, False) for kind in ("candles:", "", "x", "Book")],
)
def test_kinds(kind, known):
    assert known_kind(kind) is known


def test_what_is_wanted_is_followed_in_the_order_of_the_lists():
    demand = Demand(LINGER_NS)
    wishes = [(f"P{number}", "book") for number in (5, 1, 9, 3, 7)]
    assert demand.update("a", wishes, 0) == wishes
    assert list(demand.current(0)) == [pair for pair, _ in wishes]
