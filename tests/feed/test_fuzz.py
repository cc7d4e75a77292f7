"""Bad messages never stop the feed, are always counted, and never leave a wrong book LIVE."""

import os
import random

import pytest

from feed_fuzz import Rig
from fuzz_client import Client, read, read_snapshot
from fuzz_corpus import MESSAGES, mutate

MESSAGES_IN_CI = 20_000
SYMBOLS = frozenset({"BTCUSDT"})
DIFF = b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":10,"u":12,"b":[["1.0","2.0"]],"a":[["1.5","3"]]}'


async def test_no_mutated_message_hurts():
    rig = Rig(f"{os.getpid():08x}", seed=7)
    try:
        tally = await rig.fuzz(MESSAGES_IN_CI)
    finally:
        rig.close()
    assert tally.details == []
    assert (tally.crashes, tally.wrong_live, tally.uncounted) == (0, 0, 0)
    assert tally.messages >= MESSAGES_IN_CI
    assert tally.malformed > MESSAGES_IN_CI / 10  # or it was no fuzzing
    assert tally.live_checks > MESSAGES_IN_CI / 10
    assert tally.resyncs > 100
    assert tally.reconnects > 0


def test_a_seed_gives_the_same_messages_again():
    runs = [[mutate(rng, rng.choice(MESSAGES)) for _ in range(500)] for rng in (random.Random(3), random.Random(3))]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 400


@pytest.mark.parametrize(
    "raw",
    [
        DIFF[:-1], DIFF + b"x", b"", b"\xff", b"[]", b"7", b"null", DIFF.replace(b"depthUpdate", b"trade"),
        DIFF.replace(b"BTCUSDT", b"ETHUSDT"), DIFF.replace(b"10", b'"10"'), DIFF.replace(b"10", b"13"),
        DIFF.replace(b"10", b"true"), DIFF.replace(b"10", b"NaN"), DIFF.replace(b'"u":12,', b""),
        DIFF.replace(b"12", str(2**63).encode()), DIFF.replace(b'"E":1,', b""), DIFF.ljust((1 << 20) + 1),
    ],
)  # fmt: skip
def test_the_oracle_takes_none_of_these_for_a_diff(raw):
    assert read(raw, SYMBOLS) is None


@pytest.mark.parametrize("level", [b'["1.0"]', b'["0","1"]', b'["1","-1"]', b'["1",1]', b'["1","nan"]', b'[" 1","1"]'])
def test_the_oracle_gives_a_book_up_for_a_bad_level(level):
    event = read(DIFF.replace(b'["1.0","2.0"]', level), SYMBOLS)
    assert (event["U"], event["b"]) == (10, None)


def test_the_oracle_follows_the_documented_procedure():
    client = Client()
    first = read(DIFF, SYMBOLS)
    client.on_diff(first)
    assert not client.live
    client.on_snapshot(read_snapshot(b'{"lastUpdateId":11,"bids":[["0.9","1"],["0.8","1"]],"asks":[["1.5","1"]]}'))
    assert (client.live, client.last) == (True, 12)
    assert client.top(2) == ([(1.0, 2.0), (0.9, 1.0)], [(1.5, 3.0)])
    client.on_diff(first)  # known
    assert client.last == 12
    client.on_diff({**first, "U": 14, "u": 14})
    assert not client.live
    client.on_snapshot(read_snapshot(b'{"lastUpdateId":20,"bids":[["1.6","1"]],"asks":[["1.5","1"]]}'))
    assert not client.live  # crossed
