"""The ring of a pair's trades, against a list that keeps all."""

import random

import pytest

from hive.shm.instruments import Trade
from hive.shm.layout import TRADE_RECORD
from hive.workers.kept_trades import KeptTrades

CAPACITY = 8


def trade(number):
    return Trade(3, number % 2, 2**40 + number, 10**18 + number, -number, 0.1 + number, 1 / 3, 7)


def record(one):
    return TRADE_RECORD.struct.pack(2, *one)


def test_a_reader_gets_what_came_after_his_cursor_as_far_as_it_is_kept():
    chance = random.Random(5)
    kept, all_of_them = KeptTrades(CAPACITY), []
    for _ in range(300):
        for _ in range(chance.randrange(CAPACITY)):
            all_of_them.append(trade(len(all_of_them)))
            kept.keep(record(all_of_them[-1]))
        assert kept.seen == len(all_of_them)
        cursor = chance.randrange(len(all_of_them) + 1)
        assert kept.since(cursor) == all_of_them[max(cursor, len(all_of_them) - CAPACITY) :]


def test_what_is_read_is_a_trade_with_every_field():
    kept = KeptTrades(CAPACITY)
    kept.keep(record(trade(1)))
    (found,) = kept.since(0)
    assert type(found) is Trade
    assert found == trade(1)


def test_a_record_of_another_size_is_refused_and_moves_nothing():
    kept = KeptTrades(CAPACITY)
    kept.keep(record(trade(1)))
    with pytest.raises(ValueError, match="a trade_record must have 64 bytes, was 63"):
        kept.keep(record(trade(2))[:-1])
    assert kept.since(0) == [trade(1)]


def test_a_ring_of_nothing_is_refused():
    with pytest.raises(ValueError, match="capacity must be >= 1, was 0"):
        KeptTrades(0)
