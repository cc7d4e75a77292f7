"""The memory guard: who made a worker grow."""

import pytest

from hive.workers.memory import MB, MemoryGuard
from hive.workers.own_memory import JUMP, OwnMemory


class World:
    """Strategies that take the loop and memory as a test says."""

    def __init__(self, limit_mb):
        self.took = {}
        self.mb = 100
        self.guard = MemoryGuard(lambda: dict(self.took), None if limit_mb is None else limit_mb * MB, self.read)
        self.guard.begin()

    def read(self):
        return self.mb * MB

    def step(self, grown_mb, **took_ms):
        self.mb += grown_mb
        for name, ms in took_ms.items():
            self.took[name] = self.took.get(name, 0) + int(ms * 1e6)
        return self.guard.look()


def test_who_made_most_of_the_growth_is_named_above_the_limit():
    world = World(limit_mb=500)
    for _ in range(7):
        assert world.step(50, hog=20, busy=5) is None
    assert world.step(80, hog=25, busy=5) == ("hog", 430 * MB, 530 * MB)


def test_one_jump_is_enough():
    world = World(limit_mb=500)
    assert world.step(0, hog=1, busy=50) is None
    assert world.step(2000, hog=700, busy=20) == ("hog", 2000 * MB, 2100 * MB)


def test_memory_that_is_given_back_is_no_growth():
    world = World(limit_mb=500)
    for _ in range(20):
        assert world.step(100, swings=30) is None
        assert world.step(-100, swings=30) is None
    assert world.step(420, other=300) == ("other", 420 * MB, 520 * MB)


@pytest.mark.parametrize(
    "steps",
    [
        [(450, {"a": 30, "b": 20})],  # neither was on the loop for much longer than the other
        [(450, {"a": 10})],  # too short to have touched so much: a thread did
        [(3, {"a": 50})] * 150,  # too slow to be told from the others' noise
    ],
)
def test_nobody_is_named_when_it_cannot_be_known(steps):
    world = World(limit_mb=500)
    found = [answer for grown, took in steps if (answer := world.step(grown, **took)) is not None]
    assert [who for who, _, _ in found] == [None]


def test_it_is_told_again_only_after_another_quarter_of_the_limit():
    world = World(limit_mb=400)
    assert world.step(400, a=300)[0] == "a"
    assert world.step(50, a=50) is None
    assert world.step(60, a=50)[0] == "a"
    assert world.step(-300, a=300) is None
    assert world.step(300, b=300)[0] == "b"


def test_without_a_limit_nothing_is_read():
    world = World(limit_mb=None)
    world.read = None
    assert world.step(10_000, a=1000) is None


def test_a_limit_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="limit_bytes must be positive, was 0"):
        MemoryGuard(dict, 0, lambda: 0)


def test_own_memory_grows_with_what_is_allocated():
    memory = OwnMemory()
    before = memory.read()
    assert before > MB
    assert not memory.has_jumped()
    kept = bytearray(64 * MB)
    kept[::4096] = b"x" * len(kept[::4096])
    assert memory.has_jumped()
    assert 60 * MB < memory.read() - before < 80 * MB
    assert not memory.has_jumped()
    del kept
    assert memory.has_jumped()  # in either direction
    memory.close()


def test_small_steps_are_a_jump_once_they_are_as_far_from_what_was_read_last():
    memory = OwnMemory()
    memory.read()
    kept = []
    while not memory.has_jumped():
        kept.append(bytearray(b"x") * MB)
        assert len(kept) < 40
    assert len(kept) >= JUMP // MB - 2
    memory.close()
    memory.close()
    with pytest.raises(OSError, match=r"statm|descriptor"):
        memory.read()
    assert not memory.has_jumped()
