"""The arena: places are cut once, reused with the room that they have, and never overlap."""

import random
from itertools import pairwise

import pytest

from hive.shm.arena import Arena, arena_bytes, arena_offset, cells_for, place_bytes, version_bytes

CELLS, LEAST = 4, 10
START = 3968  # a header before a page


def arena(*rooms: int) -> Arena:
    """Return an arena with just enough bytes for places of these rooms."""
    least, deeper = rooms.count(LEAST), [room for room in rooms if room != LEAST]
    return Arena(START, START + arena_bytes(least, LEAST, CELLS, deeper), CELLS, LEAST)


def test_versions_are_rounded_up_to_a_power_of_two():
    assert [cells_for(versions) for versions in (2, 3, 4, 5, 8, 9)] == [2, 4, 4, 8, 8, 16]


def test_a_cell_has_room_for_its_levels_and_lies_across_no_page_if_it_fits_into_one():
    for room in (1, 2, 5, 20, 50, 124, 125, 333, 1000):
        size = version_bytes(room)
        assert 128 + 32 * room <= size < 2 * (128 + 32 * room)
        assert size % 128 == 0
        assert place_bytes(room, CELLS) == 128 + CELLS * size
        if not LEAST < room <= 124:
            continue
        places = arena(LEAST, 20, room, room)
        for depth in (LEAST, 20, room, room):
            offset, _ = places.take(depth)
            for first in range(offset + 128, offset + place_bytes(depth, CELLS), version_bytes(depth)):
                assert first // 4096 == (first + version_bytes(depth) - 1) // 4096


def test_an_arena_begins_before_a_page():
    assert [arena_offset(behind) for behind in (0, 3968, 3969)] == [3968, 3968, 8064]


def test_a_shallow_book_gets_the_least_room_and_a_deep_one_its_own():
    places = arena(LEAST, 50)
    assert places.take(3) == (START, LEAST)
    assert places.take(50)[1] == 50
    assert places.take(1) is None


def test_a_used_place_comes_before_a_new_one_and_the_longest_free_first():
    places = arena(LEAST, LEAST, LEAST)
    first, second = places.take(1), places.take(1)
    places.give_back(*second)
    places.give_back(*first)
    assert [places.take(LEAST), places.take(LEAST)] == [second, first]


def test_a_deep_place_is_given_to_a_shallow_book_only_when_nothing_else_is_left():
    places = arena(50, LEAST)
    deep = places.take(50)
    places.give_back(*deep)
    assert places.take(LEAST)[1] == LEAST
    assert places.take(LEAST) == deep
    assert places.take(LEAST) is None


@pytest.mark.parametrize("seed", range(5))
def test_random_takes_never_overlap_and_keep_their_room(seed):
    rng = random.Random(seed)
    places = arena(*[LEAST] * 6, 20, 20, 30)
    taken: dict[int, int] = {}
    room_of: dict[int, int] = {}
    for _ in range(2000):
        if taken and rng.random() < 0.5:
            offset = rng.choice(list(taken))
            places.give_back(offset, taken.pop(offset))
            continue
        depth = rng.choice([1, 5, 10, 15, 20, 30])
        place = places.take(depth)
        if place is None:
            continue
        offset, room = place
        assert room >= depth
        assert room_of.setdefault(offset, room) == room
        assert offset not in taken
        taken[offset] = room
        spans = sorted((start, start + place_bytes(size, CELLS)) for start, size in taken.items())
        assert all(one[1] <= other[0] for one, other in pairwise(spans))
