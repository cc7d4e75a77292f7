"""Shares of the loop: who takes too much of it, on quiet and on crowded hosts."""

import pytest

from hive.workers.shares import WINDOW_NS, LoopShares, greediest


class Delay:
    """A run delay that a test sets."""

    def __init__(self):
        self.waited = 0

    def ns(self):
        return self.waited


class World:
    """Windows of a second, one after the other."""

    def __init__(self, most=0.5):
        self.took = {}
        self.delay = Delay()
        self.now = 10 * WINDOW_NS
        self.shares = LoopShares(lambda: dict(self.took), self.delay, most)
        self.shares.look(self.now)

    def second(self, waited=0.0, **took):
        self.now += WINDOW_NS
        self.delay.waited += int(waited * WINDOW_NS)
        for name, share in took.items():
            self.took[name] = self.took.get(name, 0) + int(share * WINDOW_NS)
        return self.shares.look(self.now)


def test_who_takes_most_of_the_loop_for_two_seconds_is_named():
    world = World()
    assert world.second(hog=0.8, other=0.1) is None
    who, share = world.second(hog=0.8, other=0.1)
    assert (who, round(share, 3)) == ("hog", 0.8)


def test_a_single_long_computation_is_borne():
    world = World()
    assert [world.second(a=0.9), world.second(a=0.1), world.second(a=0.9), world.second(b=0.9)] == [None] * 4


def test_many_that_fill_the_loop_together_are_nobody_in_particular():
    world = World()
    assert [world.second(**{f"s{k}": 0.09 for k in range(10)}) for _ in range(5)] == [None] * 5


def test_waiting_for_a_cpu_is_nobodys_fault_and_hides_no_hog():
    crowded = World()  # 15 % of a CPU, and three quarters of the time others have it
    assert [crowded.second(waited=0.75, heavy=0.6, b=0.1, c=0.1) for _ in range(4)] == [None] * 4
    hogged = World()
    hogged.second(waited=0.6, hog=0.95, other=0.02)
    assert hogged.second(waited=0.6, hog=0.95, other=0.02)[0] == "hog"


def test_looks_within_a_window_say_nothing():
    world = World()
    world.took["hog"] = WINDOW_NS
    assert world.shares.look(world.now + WINDOW_NS // 2) is None


def test_nobody_took_an_idle_window():
    assert greediest({}, 0, WINDOW_NS) == (None, 0.0)
    assert greediest({"a": 5}, WINDOW_NS, WINDOW_NS) == (None, 0.0)


def test_no_limit_and_a_limit_that_is_none():
    assert [World(most=None).second(hog=1.0) for _ in range(3)] == [None] * 3
    with pytest.raises(ValueError, match=r"most must be in \(0, 1\], was 0"):
        World(most=0)
