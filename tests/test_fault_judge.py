"""The judge of perf/feed_faults.py finds what is wrong, and nothing else."""

from dataclasses import replace

import pytest

from fault_judge import Truth, Window, judge, stale_spans
from fault_probe import Claim

MS = 1_000_000
TENTH = 100 * MS


def truth_of(count, start=1000):
    """Return a book that changes every 100 ms from t = 0: update id n goes out at (n - start) tenths."""
    truth = Truth()
    for number in range(count):
        truth.add([number, "BTCUSDT", start + number, number * TENTH, 1, *content(start + number)])
    return truth


def content(update_id):
    return (100.0, update_id / 10, 101.0, 2.0, 5, 5, update_id * 7)


def claim(update_id, first_ms, last_ms, state="LIVE", epoch=1, **changes):
    reads = max(1, last_ms - first_ms)
    made = Claim("BTC-USDT", epoch, first_ms * MS, last_ms * MS, reads, state, update_id, *content(update_id))
    return replace(made, **changes)


def followed(from_tenth, to_tenth, delay_ms=3):
    """Return the claims of a reader that sees every update 3 ms after it went out."""
    return [
        claim(1000 + tenth, tenth * 100 + delay_ms, tenth * 100 + 99 + delay_ms)
        for tenth in range(from_tenth, to_tenth)
    ]


def judged(claims, windows=(), orders_ms=(), since_ns=0):
    orders = [("BTCUSDT", ms * MS) for ms in orders_ms]
    return judge(claims, {"BTCUSDT": truth_of(100)}, windows, orders, since_ns)


def counts(verdict):
    return verdict.wrong_reads, verdict.false_stale, verdict.orders_on_stale


def test_a_reader_that_follows_is_right_and_its_orders_too():
    verdict = judged(followed(0, 50), orders_ms=range(0, 5000, 37))
    assert counts(verdict) == (0, 0, 0)
    assert verdict.live_reads == 50 * 99
    assert verdict.latest_ns == 2 * MS
    assert verdict.stale_spans == []


@pytest.mark.parametrize("change", [{"checksum": 1}, {"bid": 99.0}, {"asks": 4}, {"bid_qty": 0.0}])
def test_other_content_is_a_wrong_read_even_during_a_fault(change):
    claims = followed(0, 10)
    claims[5] = replace(claims[5], **change)
    window = Window("gap", 0, 10**10)
    assert judged(claims).wrong_reads == claims[5].reads
    assert judged(claims, [window]).wrong_reads == claims[5].reads
    claims[5] = replace(claims[5], state="RESYNCING")
    assert judged(claims, [window]).wrong_reads == 0


def test_an_update_that_never_was_is_a_wrong_read():
    assert judged([claim(5, 0, 10)]).wrong_reads == 10


def test_an_old_book_that_says_live_is_wrong_after_the_bound():
    assert judged([*followed(0, 5), claim(1005, 503, 899)]).wrong_reads == 0  # the next went out at 600
    assert judged([*followed(0, 5), claim(1005, 503, 901)]).wrong_reads > 0
    hidden = Window("mute", 550 * MS, 3000 * MS, hidden_ns=1000 * MS)
    assert judged([*followed(0, 5), claim(1005, 503, 1800)], [hidden]).wrong_reads == 0
    assert judged([*followed(0, 5), claim(1005, 503, 1950)], [hidden]).wrong_reads > 0


def test_a_dead_feed_must_be_known_within_100_ms():
    stopped = Window("SIGSTOP", 520 * MS, 1500 * MS, dead_ns=520 * MS, alive_ns=1400 * MS)
    dead = claim(1005, 620, 1410, "WRITER_DEAD")
    assert counts(judged([*followed(0, 5), claim(1005, 503, 615), dead, *followed(14, 20, 20)], [stopped])) == (0, 0, 0)
    assert judged([*followed(0, 5), claim(1005, 503, 625), dead], [stopped]).wrong_reads == 1
    killed = Window("SIGKILL", 520 * MS, 1500 * MS, dead_ns=520 * MS, dead_epoch=1)
    assert judged([*followed(0, 5), dead, claim(1009, 901, 905, epoch=2)], [killed]).wrong_reads == 0
    assert judged([*followed(0, 5), dead, claim(1009, 901, 905, epoch=1)], [killed]).wrong_reads == 1


def test_a_stretch_that_is_not_live_needs_a_fault_that_excuses_it():
    claims = [*followed(0, 5), claim(1004, 503, 510, "STALE"), claim(1004, 511, 520, "RESYNCING"), *followed(6, 9)]
    assert judged(claims).false_stale == 1
    assert judged(claims, [Window("gap", 450 * MS, 700 * MS)]).false_stale == 0
    assert judged(claims, [Window("duplicate", 450 * MS, 700 * MS, harmless=True)]).false_stale == 1
    assert judged(claims, [Window("gap", 0, 100 * MS)]).false_stale == 1
    assert judged([*followed(0, 5), claim(1004, 503, 510, "STALE")]).false_stale == 1  # it lasts until the end


def test_an_order_counts_from_100_ms_after_the_book_was_stale_until_it_is_live_again():
    claims = [*followed(0, 5), claim(1004, 503, 1410, "STALE"), *followed(14, 20, 15)]
    orders = (450, 550, 599, 601, 1000, 1414, 1500)  # the first diff that is missing went out at 500
    window = Window("drop", 480 * MS, 1450 * MS)
    assert judged(claims, [window], orders).orders_on_stale == 3
    hidden = Window("mute", 480 * MS, 1450 * MS, hidden_ns=700 * MS)
    assert judged(claims, [hidden], orders).orders_on_stale == 1
    assert judged(claims, [window], [450, 599, 1416]).orders_on_stale == 0


def test_the_book_is_stale_by_the_truth_whatever_the_reader_was_told():
    lying = [*followed(0, 5), claim(1004, 503, 1410), *followed(14, 20, 15)]
    assert stale_spans(lying, truth_of(100)) == [(500 * MS, 1415 * MS)]
    assert judged(lying, orders_ms=[1000]).orders_on_stale == 1


def test_what_was_before_the_start_is_left_out():
    claims = [claim(1000, 0, 90, "EMPTY"), *followed(1, 9)]
    assert judged(claims, since_ns=100 * MS).false_stale == 0
