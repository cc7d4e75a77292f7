"""BookSync against an exchange that remembers every book it ever had."""

import random

import pytest

from hive.feed.sync import LONGEST_RETRY_NS, SNAPSHOT_INTERVAL_NS, BookSync, Join, Phase, Verdict

MS = 1_000_000


class Exchange:
    """One side of a book as {price: quantity}; update n changes one price; `history[n]` is the book after it."""

    def __init__(self, rng):
        self.rng = rng
        self.history = [{}]
        self.touched = [None]
        self.sent = 0

    @property
    def last_id(self):
        return len(self.history) - 1

    def step(self):
        book = dict(self.history[-1])
        price = self.rng.randrange(20)
        quantity = self.rng.randrange(4)
        if quantity:
            book[price] = quantity
        else:
            book.pop(price, None)
        self.history.append(book)
        self.touched.append(price)

    def diff(self):
        """Return (first_id, last_id, prices touched since the last diff with their quantities now)."""
        first, last = self.sent + 1, self.last_id
        self.sent = last
        return first, last, {price: self.history[last].get(price, 0) for price in self.touched[first:]}


class Client:
    """What the feed does with the answers of BookSync, with a dict for a book."""

    def __init__(self):
        self.sync = BookSync()
        self.book = {}

    def apply(self, changes):
        for price, quantity in changes.items():
            if quantity:
                self.book[price] = quantity
            else:
                self.book.pop(price, None)

    def on_diff(self, diff, now_ns):
        verdict = self.sync.on_diff(*diff, now_ns)
        if verdict is Verdict.APPLY:
            self.apply(diff[2])
        return verdict

    def on_snapshot(self, ticket, snapshot_id, book, now_ns):
        join, payloads = self.sync.on_snapshot(ticket, snapshot_id, now_ns)
        if join is Join.JOINED:
            self.book = dict(book)
            for changes in payloads:
                self.apply(changes)
        return join


@pytest.mark.parametrize("seed", range(40))
def test_a_live_book_is_the_exchanges_book_whatever_is_lost_doubled_or_reordered(seed):
    rng = random.Random(seed)
    exchange, client = Exchange(rng), Client()
    wire, answers = [], []
    live, gaps = 0, 0
    client.sync.up()
    client.sync.subscribed(0)
    for step in range(3_000):
        now_ns = step * 10 * MS
        calm = step > 2_500
        for _ in range(rng.randrange(4)):
            exchange.step()
        if exchange.last_id > exchange.sent and rng.random() < 0.7:
            diff = exchange.diff()
            fate = 1.0 if calm else rng.random()
            if fate >= 0.03:
                wire.append(diff)
            if 0.03 <= fate < 0.06:
                wire.append(diff)
            if 0.06 <= fate < 0.09 and len(wire) > 1:
                wire[-1], wire[-2] = wire[-2], wire[-1]
        if not calm and rng.random() < 0.002:
            client.sync.down()
            wire.clear()
            client.sync.up()
            client.sync.subscribed(now_ns)
        if rng.random() < 0.01:
            client.sync.refresh(now_ns)
        while wire and rng.random() < 0.6:
            gaps += client.on_diff(wire.pop(0), now_ns) is Verdict.GAP
        due_ns = client.sync.snapshot_due_ns
        if due_ns is not None and due_ns <= now_ns:
            lag = 0 if calm else rng.choice((0, 0, 0, 1, 5, 30))  # a replica behind the matching engine
            snapshot_id = max(0, exchange.last_id - lag)
            ticket = client.sync.request(now_ns)
            answers.append((step + rng.randrange(8), ticket, snapshot_id, exchange.history[snapshot_id]))
        for answer in [one for one in answers if one[0] <= step]:
            answers.remove(answer)
            if not calm and rng.random() < 0.2:
                client.sync.snapshot_failed(answer[1], now_ns)
            else:
                client.on_snapshot(*answer[1:], now_ns)
        if client.sync.phase is Phase.LIVE:
            live += 1
            assert client.book == exchange.history[client.sync.last_id]
    assert client.sync.phase is Phase.LIVE
    assert client.sync.last_id >= exchange.sent - len(wire) * 4 - 4
    assert live > 500
    assert gaps > 5


def live_sync(last_id=100):
    sync = BookSync()
    sync.up()
    sync.subscribed(0)
    assert sync.on_snapshot(sync.request(0), last_id, 0) == (Join.JOINED, [])
    return sync


def test_a_quiet_instrument_is_live_without_any_diff():
    sync = live_sync(100)
    assert sync.phase is Phase.LIVE
    assert sync.on_diff(101, 103, "next", 0) is Verdict.APPLY


def test_diffs_that_came_before_the_snapshot_are_joined_to_it():
    sync = BookSync()
    sync.up()
    for first, last in ((90, 95), (96, 102), (103, 104)):
        assert sync.on_diff(first, last, (first, last), 0) is Verdict.BUFFERED
    sync.subscribed(0)
    assert sync.on_snapshot(sync.request(0), 100, 0) == (Join.JOINED, [(96, 102), (103, 104)])
    assert sync.last_id == 104


def test_a_gap_ends_live_at_once_and_asks_for_a_snapshot():
    sync = live_sync(100)
    assert sync.on_diff(102, 103, None, SNAPSHOT_INTERVAL_NS) is Verdict.GAP
    assert sync.phase is Phase.BUFFERING
    assert sync.snapshot_due_ns == SNAPSHOT_INTERVAL_NS


def test_what_is_known_already_is_a_duplicate_and_an_overlap_is_not():
    sync = live_sync(100)
    assert sync.on_diff(99, 100, None, 0) is Verdict.DUPLICATE
    assert sync.on_diff(99, 101, None, 0) is Verdict.APPLY


def test_a_snapshot_from_before_the_first_diff_is_refused_and_asked_for_later_and_later():
    sync = BookSync()
    sync.up()
    sync.on_diff(50, 60, None, 0)
    sync.subscribed(0)
    waits = []
    for _ in range(8):
        now_ns = sync.snapshot_due_ns
        assert sync.on_snapshot(sync.request(now_ns), 48, now_ns)[0] is Join.TOO_OLD
        waits.append(sync.snapshot_due_ns - now_ns)
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_RETRY_NS


def test_a_hole_between_buffered_diffs_needs_a_snapshot_from_behind_it():
    sync = BookSync()
    sync.up()
    sync.on_diff(10, 12, "a", 0)
    sync.on_diff(15, 16, "b", 0)
    sync.subscribed(0)
    assert sync.on_snapshot(sync.request(0), 11, 0)[0] is Join.BROKEN
    assert sync.on_snapshot(sync.request(0), 14, 0) == (Join.JOINED, ["b"])


def test_an_answer_to_a_question_of_an_earlier_connection_is_outdated():
    sync = BookSync()
    sync.up()
    sync.subscribed(0)
    ticket = sync.request(0)
    sync.down()
    sync.up()
    assert sync.on_snapshot(ticket, 10, 0) == (Join.OUTDATED, [])
    assert sync.phase is Phase.BUFFERING


def test_a_refresh_never_takes_a_live_book_back():
    sync = live_sync(100)
    sync.refresh(0)
    ticket = sync.request(0)
    assert sync.on_snapshot(ticket, 99, 0)[0] is Join.TOO_OLD
    assert (sync.phase, sync.last_id, sync.refreshing) == (Phase.LIVE, 100, True)
    sync.on_diff(101, 105, "new", 0)
    assert sync.on_snapshot(sync.request(0), 102, 0) == (Join.JOINED, ["new"])
    assert (sync.last_id, sync.refreshing) == (105, False)


def test_a_stream_that_is_down_ignores_diffs():
    assert BookSync().on_diff(1, 2, None, 0) is Verdict.IGNORED


def test_where_diffs_name_the_one_before_that_name_decides_and_not_the_ids():
    sync = live_sync(100)
    assert sync.on_diff(98, 105, None, 0, prev_id=90) is Verdict.APPLY  # right after a snapshot its id decides
    assert sync.on_diff(120, 125, None, 0, prev_id=105) is Verdict.APPLY
    assert sync.on_diff(126, 130, None, SNAPSHOT_INTERVAL_NS, prev_id=124) is Verdict.GAP


def test_buffered_diffs_are_joined_by_the_names_of_those_before():
    sync = BookSync()
    sync.up()
    sync.on_diff(10, 12, "a", 0, prev_id=7)
    sync.on_diff(20, 22, "b", 0, prev_id=12)
    sync.on_diff(30, 32, "c", 0, prev_id=25)
    sync.subscribed(0)
    assert sync.on_snapshot(sync.request(0), 11, 0)[0] is Join.BROKEN
    assert sync.on_snapshot(sync.request(0), 31, 0) == (Join.JOINED, ["c"])
    assert sync.on_diff(40, 42, None, 0, prev_id=32) is Verdict.APPLY


def test_a_refresh_that_changes_nothing_keeps_the_name_to_follow():
    sync = live_sync(100)
    sync.on_diff(101, 105, None, 0, prev_id=100)
    sync.refresh(0)
    assert sync.on_snapshot(sync.request(0), 105, 0) == (Join.JOINED, [])
    assert sync.on_diff(106, 110, None, SNAPSHOT_INTERVAL_NS, prev_id=104) is Verdict.GAP


@pytest.mark.parametrize(
    ("diff", "follows"),
    [((101, 103), True), ((95, 99), True), ((99, 101), True), ((102, 103), False), ((95, 99, 90), True)],
)
def test_what_would_follow_can_be_asked_without_applying_it(diff, follows):
    sync = live_sync(100)
    assert sync.follows(*diff) is follows
    assert sync.last_id == 100


def test_a_diff_with_an_id_out_of_this_world_does_not_keep_a_book_from_its_snapshots():
    sync = BookSync()
    sync.up()
    sync.subscribed(0)
    assert sync.on_diff(1 << 60, (1 << 60) + 1, "absurd", 0) is Verdict.BUFFERED
    now_ns = 0
    joins = []
    for last_id in range(100, 120):
        now_ns = sync.snapshot_due_ns
        joins.append(sync.on_snapshot(sync.request(now_ns), last_id, now_ns)[0])
        if joins[-1] is Join.JOINED:
            break
    assert joins[-1] is Join.JOINED
    assert set(joins[:-1]) == {Join.TOO_OLD}
    assert sync.on_diff(sync.last_id + 1, sync.last_id + 2, "next", now_ns) is Verdict.APPLY
