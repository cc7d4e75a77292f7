"""The shared order book answers as the stock one does, and one callback sees one version."""

import random
import secrets
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from math import isnan
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hummingbot.core.data_type.order_book import OrderBook
from hummingbot.core.data_type.order_book_row import OrderBookRow

from hive.pure import COMPILED, implementation
from hive.shm.book import BookDirectory, BookTable, books_size
from hive.shm.segment import Segment, segment_name
from hive.workers.clock import CallbackCounter
from hummingbot.runtime.order_book import SharedOrderBook
from hummingbot.runtime.selftest import KNOWN
from tests.runtime.book_writer import DEPTH, mid_of

TICKS = 1_000_000 if implementation() == COMPILED else 100_000


@pytest.fixture
def segment():
    made = Segment.create(segment_name(secrets.token_hex(4), "books", 1), books_size(2, 30), kind="books", epoch=1)
    yield made
    made.close()
    made.unlink()


@pytest.fixture
def table(segment):
    return BookTable(segment, 2, 30)


def shared_book(segment, slot=0):
    callbacks = CallbackCounter()
    directory = BookDirectory(segment)
    source = SimpleNamespace(generation=1, reader=lambda: directory.reader(slot))
    return SharedOrderBook(source, callbacks), callbacks


def publish(table, slot, update_id, bids, asks):
    columns = [np.array([row[i] for row in side]) for side in (bids, asks) for i in (0, 1)]
    table.writer(slot).publish(update_id, 0, 0, 0, *columns)


def random_side(rng, best, direction, count):
    prices = [round(best + direction * 0.01 * step, 2) for step in sorted(rng.sample(range(200), count))]
    return [(price, round(rng.uniform(0.001, 3), 3)) for price in prices]


def same(a, b):
    return (isnan(a) and isnan(b)) or a == pytest.approx(b, rel=1e-12)


def test_every_query_answers_as_the_stock_order_book_does(segment, table):
    rng = random.Random(5)
    slot = table.add(KNOWN)
    book, callbacks = shared_book(segment, slot)
    for update_id in range(1, 200):
        bids, asks = random_side(rng, 99.99, -1, rng.randint(1, 30)), random_side(rng, 100.01, 1, rng.randint(1, 30))
        publish(table, slot, update_id, bids, asks)
        callbacks.bump()
        stock = OrderBook()
        stock.apply_snapshot(
            [OrderBookRow(price, amount, update_id) for price, amount in bids],
            [OrderBookRow(price, amount, update_id) for price, amount in asks],
            update_id,
        )
        assert list(book.bid_entries()) == list(stock.bid_entries())
        assert list(book.ask_entries()) == list(stock.ask_entries())
        assert book.snapshot_uid == update_id
        for is_buy in (True, False):
            assert book.get_price(is_buy) == stock.get_price(is_buy)
            for query, arguments in {
                "get_price_for_volume": (0.0005, 0.3, 5.0, 500.0),
                "get_vwap_for_volume": (0.0005, 0.3, 5.0, 500.0),
                "get_price_for_quote_volume": (1.0, 90.0, 2_000.0, 90_000.0),
                "get_quote_volume_for_base_amount": (0.0005, 0.3, 5.0, 500.0),
                "get_volume_for_price": (98.0, 99.9, 100.1, 102.0),
                "get_quote_volume_for_price": (98.0, 99.9, 100.1, 102.0),
            }.items():
                for argument in arguments:
                    ours, theirs = getattr(book, query)(is_buy, argument), getattr(stock, query)(is_buy, argument)
                    for field in ("query_price", "query_volume", "result_price", "result_volume"):
                        assert same(getattr(ours, field), getattr(theirs, field)), (query, is_buy, argument, field)
            assert book.simulate_buy(1.0) == stock.simulate_buy(1.0)


def test_a_book_does_not_change_inside_a_callback_and_does_at_the_next(segment, table):
    slot = table.add(KNOWN)
    publish(table, slot, 1, [(99.0, 1.0)], [(101.0, 1.0)])
    book, callbacks = shared_book(segment, slot)
    assert book.get_price(True) == 101.0
    publish(table, slot, 2, [(98.0, 1.0)], [(102.0, 1.0)])
    assert (book.get_price(True), [row.price for row in book.ask_entries()]) == (101.0, [101.0])
    callbacks.bump()
    assert (book.get_price(True), [row.price for row in book.ask_entries()]) == (102.0, [102.0])


def test_an_iterator_kept_for_ten_ticks_yields_the_book_that_it_was_made_from(segment, table):
    slot = table.add(KNOWN)
    old = [(100.0 - k, float(k)) for k in range(1, 11)]
    publish(table, slot, 1, old, [(101.0, 1.0)])
    book, callbacks = shared_book(segment, slot)
    kept = book.bid_entries()
    seen = [next(kept)]
    for update_id in range(2, 12):
        publish(table, slot, update_id, [(50.0 - k, 9.0) for k in range(1, 21)], [(60.0, 1.0)])
        callbacks.bump()
        assert next(book.bid_entries()).price == 49.0
        seen += islice(kept, 1)
    assert seen == [OrderBookRow(price, amount, 1) for price, amount in old]


def test_a_book_without_a_version_is_empty_and_says_so(segment, table):
    book, _ = shared_book(segment, table.add(KNOWN))
    with pytest.raises(EnvironmentError, match="empty"):
        book.get_price(True)
    assert (list(book.bid_entries()), book.snapshot_uid, book.version) == ([], 0, -1)


def test_only_the_feed_writes_books(segment, table):
    book, _ = shared_book(segment, table.add(KNOWN))
    for write in (book.apply_snapshot, book.apply_diffs):
        with pytest.raises(NotImplementedError, match="feed"):
            write([], [], 1)


def test_a_new_generation_of_the_feed_is_read_from_the_next_callback_on(segment, table):
    slot, other = table.add(KNOWN), table.add(replace(KNOWN, pair="ETH-USDT"))
    publish(table, slot, 1, [(99.0, 1.0)], [(101.0, 1.0)])
    publish(table, other, 1, [(9.0, 1.0)], [(11.0, 1.0)])
    directory, callbacks = BookDirectory(segment), CallbackCounter()
    source = SimpleNamespace(generation=1, reader=lambda: directory.reader(slot))
    book = SharedOrderBook(source, callbacks)
    assert book.get_price(True) == 101.0
    source.generation, source.reader = 2, lambda: directory.reader(other)
    callbacks.bump()
    assert book.get_price(True) == 11.0


def test_a_million_ticks_against_a_writer_at_full_speed_never_mix_versions():
    name = segment_name(secrets.token_hex(4), "books", 1)
    writer = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("book_writer.py")), name, "120"],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
    )
    try:
        assert writer.stdout.readline() == b"ready\n"
        opened = Segment.open(name)
        book, callbacks = shared_book(opened)
        mixed = seen_versions = 0
        last = -1
        for tick in range(TICKS):
            callbacks.bump()
            ask, bid = book.get_price(True), book.get_price(False)
            mid = (ask + bid) / 2
            amount = mid % 97 + 1
            consistent = (
                book.get_vwap_for_volume(True, amount * 0.5).result_price == mid + 1
                and mid_of(book.snapshot_uid) == mid
                and next(book.bid_entries()) == (mid - 1, amount, book.snapshot_uid)
            )
            if tick % 50 == 0:
                rows = list(book.ask_entries())
                consistent &= len(rows) == DEPTH and all(
                    row == (mid + k, amount - 1 + k, book.snapshot_uid) for k, row in enumerate(rows, start=1)
                )
            mixed += not consistent
            seen_versions += book.version != last
            last = book.version
        assert (mixed, book.mixed) == (0, 0)
        assert seen_versions > TICKS / 1000  # the writer was really running meanwhile
        del book
        opened.close()
    finally:
        writer.terminate()
        writer.wait(10)
        leftover = Path("/dev/shm") / name.lstrip("/")
        leftover.unlink(missing_ok=True)  # SIGTERM ends the writer before it can unlink
