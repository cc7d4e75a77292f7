"""The journal: everything comes back as it was, and files follow one another."""

import shutil
import struct
from decimal import Decimal
from zlib import crc32

import pytest

from gate.journal_rig import (
    FLEET,
    HOUR,
    SECOND,
    SMALL,
    VENUE,
    WHOLE_LIFE,
    Clock,
    Life,
    facts,
    journal,
    known,
    live_orders,
    made,
    newest,
    opened,
    recovered,
    traded,
)
from hive.gate.errors import JournalError
from hive.gate.journal import Journal
from hive.gate.journal_file import list_files
from hive.gate.journal_format import HEADER_BYTES, RECORD_BYTES
from hive.gate.journal_replay import KEEP_DONE_NS
from hive.gate.order import State
from hive.shm.messages import OrderType

DAY = 24 * HOUR


@pytest.fixture
def clock() -> Clock:
    return Clock()


# ---- What comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps",
    [
        ("sent",),
        ("sent", "unsent"),
        ("sent", "unsent", "sent", "acked"),
        ("sent", "unknown"),
        ("sent", "unknown", "acked", "fill", "fill"),
        ("sent", "ended"),
        ("sent", "ended", "acked", "fill"),
        WHOLE_LIFE,
        (*WHOLE_LIFE, "fill"),
    ],
)
def test_an_order_comes_back_as_it_was_whatever_had_happened_to_it(tmp_path, clock, steps):
    with journal(tmp_path, clock) as one:
        lives = live_orders(one, clock, 3, *steps)
    clock.pass_ns(90 * SECOND)
    assert recovered(tmp_path, clock) == known(lives)
    assert recovered(tmp_path, clock) == known(lives)  # now out of a snapshot


def test_every_field_comes_back_exactly(tmp_path, clock):
    order = made(
        1,
        clock,
        order_type=OrderType.MARKET,
        price=None,
        amount=Decimal("9223372036854775807E-8"),
        worker_epoch=2**32 - 1,
        symbol="币安人生USDT",
    )
    with journal(tmp_path, clock) as one:
        one.sent(order)
        order.exchange_order_id = "9" * 24
        order.executed = Decimal("1E-8")
        order.wall_ns = 2**62
        one.unknown(order)
        assert one.commit()
    order.state, order.sent_ns = State.UNKNOWN, clock.now
    assert recovered(tmp_path, clock) == {order.client_order_id: facts(order)}


def test_a_trade_is_told_once_however_often_it_is_recorded(tmp_path, clock):
    with journal(tmp_path, clock) as one:
        (life,) = live_orders(one, clock, 1, "sent", "acked", "fill")
        one.fill(life.order, traded(1))
        assert one.commit()
    assert recovered(tmp_path, clock) == known([life])


def test_an_order_that_was_found_at_the_venue_comes_back(tmp_path, clock):
    order = made(1, clock, worker_epoch=0)
    order.state = State.UNKNOWN
    with journal(tmp_path, clock) as one:
        one.adopted(order)
        assert one.commit()
    assert recovered(tmp_path, clock) == {order.client_order_id: facts(order)}


def test_what_is_recorded_of_an_order_that_the_journal_never_saw_tells_all_of_it(tmp_path, clock):
    life = Life(opened(tmp_path, clock), made(1, clock), clock)
    life.acked()
    life.fill()
    life.journal.close()
    assert recovered(tmp_path, clock) == known([life])


def test_what_is_not_committed_is_not_on_disk_and_close_commits_it(tmp_path, clock):
    one = opened(tmp_path, clock)
    one.sent(made(1, clock))
    assert (one.backlog, one.records) == (1, 1)
    image = shutil.copytree(tmp_path, tmp_path.with_name("killed"))
    assert recovered(image, clock) == {}
    one.close()
    one.close()
    assert len(recovered(tmp_path, clock)) == 1


def test_a_done_order_is_forgotten_after_a_while_and_one_that_is_not_done_never(tmp_path, clock):
    with journal(tmp_path, clock) as one:
        lives = live_orders(one, clock, 1, *WHOLE_LIFE) + live_orders(one, clock, 1, *WHOLE_LIFE[:-1], first=1)
        clock.pass_ns(KEEP_DONE_NS)
        assert recovered(shutil.copytree(tmp_path, tmp_path / "in-time"), clock) == known(lives)
        clock.pass_ns(1)
        assert recovered(shutil.copytree(tmp_path, tmp_path / "late"), clock) == known(lives[1:])
        clock.pass_ns(100 * DAY)
    assert recovered(tmp_path, clock) == known(lives[1:])


def test_a_fill_after_an_order_was_done_makes_it_undone_for_good(tmp_path, clock):
    with journal(tmp_path, clock) as one:
        (life,) = live_orders(one, clock, 1, *WHOLE_LIFE)
        life.fill()
        clock.pass_ns(2 * HOUR)
        assert one.commit()
        live_orders(one, clock, 100, *WHOLE_LIFE, first=1)  # into a new file, without what is old
    assert len(list_files(tmp_path)) > 1
    assert facts(life.order) == recovered(tmp_path, clock)[life.order.client_order_id]
    assert not life.order.done


def test_a_wall_clock_that_jumps_forgets_nothing_while_the_gate_runs(tmp_path, clock):
    with journal(tmp_path, clock) as one:
        lives = live_orders(one, clock, 2, *WHOLE_LIFE)
        clock.wall += 30 * DAY
        live_orders(one, clock, 1, *WHOLE_LIFE, first=2)
        clock.wall -= 60 * DAY
        lives[0].fill()
        assert one.commit()
    orders = recovered(tmp_path, clock)
    assert len(orders) == 3
    clock.pass_ns(30 * DAY)  # behind the time of what was recorded, still
    assert len(recovered(tmp_path, clock)) == 3


def test_times_are_relative_to_the_next_life_whose_machine_may_just_have_booted(tmp_path, clock):
    with journal(tmp_path, clock) as one:
        (life,) = live_orders(one, clock, 1, "sent", "acked", "ended")
    created, sent, ended = (clock.now - ns for ns in (life.order.created_ns, life.order.sent_ns, life.order.final_ns))
    clock.now, clock.wall = SECOND, clock.wall + HOUR
    with journal(tmp_path, clock) as one:
        (order,) = one.recovered.orders
    assert order.created_ns == SECOND - HOUR - created
    assert order.sent_ns == SECOND - HOUR - sent
    assert order.final_ns == SECOND - HOUR - ended
    clock.wall -= 10 * DAY
    with journal(tmp_path, clock) as one:
        (order,) = one.recovered.orders
    assert order.created_ns == order.final_ns == SECOND  # set back: nothing is of the future


def test_notes_keep_their_last_value_and_an_empty_one_takes_the_key_away(tmp_path, clock):
    with journal(tmp_path, clock) as one:
        one.note("capital/qqqqq/USDT", "1000.50")
        one.note("halt/qqqqq", "ä" * 51)
        one.note("k" * 60, "gone soon")
        one.commit()
        one.note("capital/qqqqq/USDT", "999.50")
        one.note("k" * 60, "")
        one.note("never there", "")
        one.commit()
    for _ in range(2):
        with journal(tmp_path, clock) as one:
            assert one.recovered.notes == {"capital/qqqqq/USDT": "999.50", "halt/qqqqq": "ä" * 51}


def test_orders_sent_are_counted_for_the_last_hour_and_the_utc_day_without_the_unsent(tmp_path, clock):
    clock.pass_ns(DAY - clock.wall % DAY - HOUR // 2)  # 23:30
    with journal(tmp_path, clock) as one:
        live_orders(one, clock, 5, "sent", "acked")
        live_orders(one, clock, 2, "sent", "unsent", "sent", "unsent", first=5)
        early = clock.wall
    with journal(tmp_path, clock) as one:
        assert one.recovered.sent_today == 5
        assert one.recovered.sent_wall_ns == [early] * 5
        clock.pass_ns(HOUR)  # 00:30
        live_orders(one, clock, 300, *WHOLE_LIFE, first=100)
    assert len(list_files(tmp_path)) > 3
    with journal(tmp_path, clock) as one:
        assert one.recovered.sent_today == 300
        assert one.recovered.sent_wall_ns == [clock.wall] * 300
    clock.pass_ns(2 * HOUR)
    for _ in range(2):
        with journal(tmp_path, clock) as one:
            assert (one.recovered.sent_today, one.recovered.sent_wall_ns) == (300, [])


# ---- What cannot be recorded -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"price": Decimal("1." + "1" * 30)}, "63 bits"),
        ({"symbol": "S" * 25}, "symbol must be at most 24 bytes"),
        ({"worker_epoch": -1}, "numbers must fit"),
    ],
)
def test_an_order_that_cannot_be_recorded_fails_its_commit_and_no_other(tmp_path, clock, changes, why):
    with journal(tmp_path, clock) as one:
        order = made(1, clock, **changes)
        one.sent(order)
        assert not one.commit()
        assert why in one.failing
        assert order.client_order_id in one.failing
        one.unsent(order)
        one.done(order.client_order_id)
        lives = live_orders(one, clock, 1, "sent", first=2)
    assert recovered(tmp_path, clock) == known(lives)


def test_a_note_that_is_too_long_is_said_and_keeps_its_last_value(tmp_path, clock):
    with journal(tmp_path, clock) as one:
        one.note("halt", "stop")
        assert one.commit()
        one.note("halt", "x" * 103)
        assert not one.commit()
        assert "value must be at most 102 bytes" in one.failing
    with journal(tmp_path, clock) as one:
        assert one.recovered.notes == {"halt": "stop"}


# ---- Files -----------------------------------------------------------------------------------------------------------


def test_the_newest_file_alone_restores_everything(tmp_path, clock):
    with journal(tmp_path, clock) as one:
        lives = live_orders(one, clock, 40, "sent", "acked", "fills")
        one.note("halt", "yes")
        one.commit()
    files = list_files(tmp_path)
    assert len(files) > 3
    for path in files[:-1]:
        path.unlink()
    assert recovered(tmp_path, clock) == known(lives)


def test_the_records_of_all_files_stand_in_one_row_and_are_all_there(tmp_path, clock):
    with journal(tmp_path, clock) as one:
        live_orders(one, clock, 300, *WHOLE_LIFE)
    serials, news = [], 0
    for path in list_files(tmp_path):
        data = path.read_bytes()
        news += (len(data) - HEADER_BYTES) // RECORD_BYTES - struct.unpack_from("<I", data, 20)[0]
        serials += [struct.unpack_from("<Q", data, at)[0] for at in range(HEADER_BYTES, len(data), RECORD_BYTES)]
        assert len(data) % RECORD_BYTES == 0  # it was cut
    assert serials == list(range(1, len(serials) + 1))
    assert news == 300 * len(WHOLE_LIFE)


def test_an_order_that_is_tried_again_and_again_does_not_fill_snapshots(tmp_path, clock):
    with journal(tmp_path, clock) as one:
        lives = live_orders(one, clock, 1, *["sent", "unsent"] * 500, "sent")
        lives += live_orders(one, clock, 1, *["sent", "unsent"] * 500, first=1)
    assert recovered(tmp_path, clock) == known(lives)
    assert struct.unpack_from("<I", newest(tmp_path).read_bytes(), 20) == (1 + 2,)


def test_only_this_user_may_read_it(tmp_path, clock):
    folder = tmp_path / "state" / "binance"
    with journal(folder, clock):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert newest(folder).stat().st_mode & 0o777 == 0o600


def test_old_files_are_removed_when_they_are_many_bytes_but_never_the_one_before_the_newest(tmp_path, clock):
    with journal(tmp_path, clock, keep_bytes=3 * SMALL) as one:
        for first in range(0, 3000, 100):
            live_orders(one, clock, 100, *WHOLE_LIFE, first=first)
            clock.pass_ns(HOUR + 1)
        files = list_files(tmp_path)
        assert sum(path.stat().st_size for path in files[:-1]) <= 3 * SMALL
        assert len(files) in (3, 4, 5)
    with journal(tmp_path, clock, keep_bytes=0):
        assert len(list_files(tmp_path)) == 2


def test_a_file_whose_snapshot_is_large_becomes_larger_and_is_not_begun_again_at_once(tmp_path, clock):
    with journal(tmp_path, clock) as one:
        lives = live_orders(one, clock, 2000, "sent")
        assert newest(tmp_path).stat().st_size > 2 * 2000 * RECORD_BYTES * 2
        assert len(list_files(tmp_path)) < 20
    assert recovered(tmp_path, clock) == known(lives)


def test_more_records_than_a_file_holds_are_committed_at_once(tmp_path, clock):
    with journal(tmp_path, clock) as one:
        lives = [Life(one, made(number, clock), clock) for number in range(1000)]
        for life in lives:
            life.sent()
        assert one.backlog == 1000
        assert one.commit()
        assert one.backlog == 0
    assert recovered(tmp_path, clock) == known(lives)


@pytest.mark.parametrize(("fleet", "venue"), [("other", VENUE), (FLEET, "okx")])
def test_the_journal_of_another_fleet_or_venue_is_refused(tmp_path, clock, fleet, venue):
    opened(tmp_path, clock).close()
    with pytest.raises(JournalError, match=f"must be of fleet {fleet} and venue {venue}, was of fleet {FLEET}"):
        Journal.open(tmp_path, fleet, venue)


def test_the_journal_of_another_version_is_refused(tmp_path, clock):
    opened(tmp_path, clock).close()
    path = newest(tmp_path)
    data = bytearray(path.read_bytes())
    data[12] = 2
    struct.pack_into("<I", data, 8, crc32(data[12:HEADER_BYTES]))
    path.write_bytes(data)
    with pytest.raises(JournalError, match=f"{path}: a journal must be of version 1 .* was version 2"):
        opened(tmp_path, clock)


@pytest.mark.parametrize("options", [{"policy": "sometimes"}, {"file_bytes": SMALL - 1}])
def test_arguments_out_of_range_are_refused(tmp_path, clock, options):
    with pytest.raises(ValueError, match="must be"):
        opened(tmp_path, clock, **options)
