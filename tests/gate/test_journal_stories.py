"""The stories that a journal holds in memory: what goes in comes out, whatever is done and goes on."""

import random

from gate.journal_rig import SECOND
from hive.gate.journal_format import KIND_AT, TAIL_BYTES, Kind
from hive.gate.journal_stories import Stories


def tail(kind: Kind, number: int) -> bytes:
    body = bytearray(TAIL_BYTES)
    body[KIND_AT] = kind
    body[-8:] = number.to_bytes(8, "little")
    return bytes(body)


def all_tails(stories: Stories) -> list[bytes]:
    joined = b"".join(stories.all())
    return [joined[at : at + TAIL_BYTES] for at in range(0, len(joined), TAIL_BYTES)]


def test_stories_are_those_of_a_list_per_order_whatever_is_added_done_and_forgotten():
    rng, now = random.Random(5), 0
    stories, told, done = Stories({}, {}), {}, {}
    for number in range(5_000):
        now += rng.randrange(SECOND)
        name = f"order-{rng.randrange(40)}"
        if rng.random() < 0.7 or name not in told or name in done:
            one = tail(rng.choice((Kind.SENT, Kind.ACKED, Kind.FILL)), number)
            stories.add(name, one)
            told.setdefault(name, []).append(one)
            done.pop(name, None)
        else:
            stories.finish(name, now)
            done[name] = now
        if number % 50 == 0:
            before = now - 20 * SECOND
            stories.forget(before)
            gone = [name for name, when in done.items() if when <= before]
            for name in gone:
                del done[name], told[name]
        assert len(stories) == len(told)
        assert stories.unfinished == len(told) - len(done)
    assert 0 < len(done) < len(told)
    assert all(name in stories for name in told)
    in_order = [*done, *(name for name in told if name not in done)]
    found = all_tails(stories)
    assert len(found) == len(set(found))
    assert set(found) == {one for name in in_order for one in told[name]}
    for tails in told.values():
        at = found.index(tails[0])
        assert found[at : at + len(tails)] == tails


def test_those_that_were_read_are_there_and_the_oldest_done_is_forgotten_first():
    told = {name: [tail(Kind.SENT, number), tail(Kind.DONE, number)] for number, name in enumerate("abc")}
    stories = Stories(told, {"c": 1 * SECOND, "a": 3 * SECOND})
    assert (len(stories), stories.unfinished) == (3, 1)
    stories.forget(1 * SECOND)
    assert ("c" in stories, "a" in stories, "b" in stories) == (False, True, True)
    stories.forget(9 * SECOND)
    assert all_tails(stories) == told["b"]


def test_only_a_story_that_ends_with_unsent_begins_anew():
    stories = Stories({"a": [tail(Kind.SENT, 1), tail(Kind.UNSENT, 2)], "b": [tail(Kind.SENT, 3)]}, {})
    for number, name in enumerate("abc", 4):
        stories.send(name, tail(Kind.SENT, number))
    assert all_tails(stories) == [tail(Kind.SENT, number) for number in (4, 3, 5, 6)]
