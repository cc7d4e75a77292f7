"""Journals in, databases out: every row of an order once, whatever is killed, repeated, removed or full."""

import json
import random
import shutil
import sqlite3
from decimal import Decimal

import pytest

from gate.journal_rig import SECOND, VENUE, WHOLE_LIFE, journal, live_orders, made, newest, opened
from gate.recorder_rig import WitnessedLife, assert_rows
from hive.gate import journal_position
from hive.gate.errors import BootError
from hive.gate.journal_file import list_files
from hive.gate.journal_format import HEADER_BYTES, RECORD_BYTES
from hive.gate.journal_replay import KEEP_DONE_NS
from hive.gate.recorder_settings import RecorderSettings
from hive.gate.venue import Trade
from hive.shm.messages import OrderType, Side


def state_of(rig):
    ((state,),) = rig.rows("SELECT saved_state FROM MarketState")
    return json.loads(state)


# ---- Orders ----------------------------------------------------------------------------------------------------------


def test_a_whole_life_is_an_order_its_statuses_and_its_fills(rig, clock):
    with journal(rig.journal, clock) as one:
        live_orders(one, clock, 1, *WHOLE_LIFE)
        rig.drain()
    (order,) = rig.rows(
        "SELECT config_file_path, strategy, market, symbol, base_asset, quote_asset, order_type, amount, leverage, "
        'price, last_status, exchange_order_id, position FROM "Order"'
    )
    assert order[:6] == ("maker.yml", "pure_market_making", VENUE, "BTC-USDT", "BTC", "USDT")
    assert order[6:] == ("LIMIT", 2_000_000, 1, 30_000_100_000, "OrderCancelled", "xqqq-0", "NIL")
    (fill,) = rig.rows("SELECT trade_type, price, amount, trade_fee, trade_fee_in_quote, position FROM TradeFill")
    assert fill[:3] == ("SELL", 30_000_100_000, 10_000)
    assert json.loads(fill[3]) == {
        "fee_type": "DeductedFromReturns",
        "percent": "0",
        "percent_token": "BNB",
        "flat_fees": [{"token": "BNB", "amount": "-1E-8"}],
    }
    assert fill[4:] == (0, "NIL")
    statuses = [status for (status,) in rig.rows("SELECT status FROM OrderStatus ORDER BY id")]
    assert statuses == ["SellOrderCreated", "OrderFilled", "OrderCancelled"]
    assert state_of(rig) == {}


def test_a_fee_in_base_or_quote_is_told_in_quote(rig, clock):
    with journal(rig.journal, clock) as one:
        (life,) = live_orders(one, clock, 1, "sent", "acked")
        for number, asset in enumerate(("BTC", "USDT", "BNB"), 1):
            trade = Trade(number, Decimal(2), Decimal("0.5"), Decimal("0.1"), asset, True, number * SECOND, number)
            one.fill(life.order, trade)
        one.commit()
        rig.drain()
    fees = dict(rig.rows("SELECT exchange_trade_id, trade_fee_in_quote FROM TradeFill"))
    assert fees == {"1": 200_000, "2": 100_000, "3": 0}


def test_a_market_order_has_no_price_and_a_buy_is_completed_as_one(rig, clock):
    order = made(1, clock, side=Side.BUY, order_type=OrderType.MARKET, price=None, amount=Decimal("0.010"))
    with journal(rig.journal, clock) as one:
        life = WitnessedLife(one, order, clock)
        life.live_through("sent", "acked", "fill")
        order.state = type(order.state).FILLED
        one.ended(order)
        one.commit()
        rig.drain()
    assert rig.rows('SELECT order_type, price, last_status FROM "Order"') == [("MARKET", 0, "BuyOrderCompleted")]
    ((fee,),) = rig.rows("SELECT trade_fee FROM TradeFill")
    assert json.loads(fee)["fee_type"] == "AddedToCost"


def test_what_is_open_is_tracked_as_hummingbot_saves_it(rig, clock):
    with journal(rig.journal, clock) as one:
        (life,) = live_orders(one, clock, 1, "sent", "acked", "fill")
        live_orders(one, clock, 1, "sent", first=5)
        rig.drain()
        tracked = state_of(rig)[life.order.client_order_id]
        assert (tracked["executed_amount_base"], tracked["last_state"]) == ("0.010", "1")
        assert list(tracked["order_fills"]) == ["1"]
        waits = state_of(rig)[made(5, clock).client_order_id]
        assert (waits["exchange_order_id"], waits["last_state"]) == (None, "0")
        life.live_through("ended")
        one.commit()
        rig.drain()
        assert list(state_of(rig)) == [made(5, clock).client_order_id]


def test_an_order_that_is_over_is_not_open_again_because_the_next_run_writes_it_down_whole(rig, clock):
    with journal(rig.journal, clock) as one:
        (life,) = live_orders(one, clock, 1, *WHOLE_LIFE)
        one.adopted(life.order)  # as a gate does with what no strategy has been told
        one.commit()
        rig.drain()
        assert state_of(rig) == {}
        life.live_through("fill")  # and a fill that comes late has its row
        one.commit()
        rig.drain()
        assert len(rig.rows("SELECT * FROM TradeFill")) == 2
        assert state_of(rig) == {}


def test_an_order_that_no_column_can_hold_is_told_and_the_others_have_their_rows(rig, clock):
    huge = made(1, clock, amount=Decimal(10) ** 13)
    with journal(rig.journal, clock) as one:
        WitnessedLife(one, huge, clock).live_through(*WHOLE_LIFE)
        live_orders(one, clock, 1, *WHOLE_LIFE, first=5)
        one.commit()
        rig.drain()
    assert [order for (order,) in rig.rows('SELECT id FROM "Order"')] == [made(5, clock).client_order_id]
    assert rig.complaints
    assert all(f"order {huge.client_order_id}: a number is too large" in one for one in rig.complaints)


def test_orders_of_a_strategy_that_nobody_told_of_are_kept_by_their_tag(rig, clock):
    with journal(rig.journal, clock) as one:
        order = made(1, clock, client_order_id="hvbencaother-1", tag="other")
        WitnessedLife(one, order, clock).live_through("sent", "acked")
        one.commit()
        rig.drain()
    assert rig.rows('SELECT id, strategy FROM "Order"', "tag-other") == [("hvbencaother-1", "tag-other")]


@pytest.mark.parametrize("seed", range(4))
def test_every_row_is_there_once_whenever_the_recorder_and_the_gate_are_killed(rig, clock, seed):
    chance = random.Random(seed)
    one = opened(rig.journal, clock)
    lives: list[WitnessedLife] = []
    for number in range(1200):  # some three files of them
        open_lives = [life for life in lives[-30:] if not life.order.done]
        if not open_lives or chance.random() < 0.3:
            lives.append(WitnessedLife(one, made(number, clock), clock))
            open_lives.append(lives[-1])
        life = chance.choice(open_lives)
        life.step(chance.choice([step for step in life.steps() if step != "fills"]))
        assert one.commit()
        event = chance.random()
        if event < 0.1:
            rig.batches.step()
        elif event < 0.15:
            rig.kill()
        elif event < 0.17:
            rig.batches.step()
            rig.batches.settle()
        elif event < 0.18:  # the next gate begins a new file with what is needed
            one = opened(rig.journal, clock)
            for each in lives:
                each.journal = one
    rig.drain()
    assert_rows(rig, lives)
    rig.batches.settle()
    rig.kill()
    rig.drain()
    assert_rows(rig, lives)
    one.close()
    assert rig.complaints == []


def test_an_order_that_was_given_up_and_lives_has_its_row(rig, clock):
    with journal(rig.journal, clock) as one:
        (life,) = live_orders(one, clock, 1, "sent", "ended")
        rig.drain()
        rig.batches.settle()
        rig.kill()
        life.live_through("acked", "fill")
        one.commit()
        rig.drain()
    assert rig.rows('SELECT last_status FROM "Order"') == [("OrderFilled",)]


# ---- The journal's files ---------------------------------------------------------------------------------------------


def test_reading_goes_on_where_the_last_recorder_was(rig, clock):
    with journal(rig.journal, clock) as one:
        live_orders(one, clock, 3, "sent", "acked")
        rig.drain()
        rig.batches.settle()
        position = journal_position.load(rig.journal)
        rig.kill()
        assert rig.tail.position == position
        live_orders(one, clock, 1, "sent", "acked", first=10)
        assert len(rig.tail.read(100)) == 2


def test_nothing_is_noted_while_something_waits(rig, clock):
    with journal(rig.journal, clock) as one:
        live_orders(one, clock, 1, "sent", "acked")
        rig.drain()
        rig.batches.settle()
        before = journal_position.load(rig.journal)
        with sqlite3.connect(rig.data / "maker.sqlite", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            live_orders(one, clock, 1, "sent", "acked", first=10)
            rig.drain()
            assert "locked" in rig.batches.fault
            rig.batches.settle()
            assert journal_position.load(rig.journal) == before
            other.execute("ROLLBACK")
        other.close()
        rig.drain()
        assert rig.batches.fault == ""
        assert len(rig.rows('SELECT id FROM "Order"')) == 2


def test_a_journal_that_is_begun_anew_is_read_from_its_start(rig, clock):
    with journal(rig.journal, clock) as one:
        live_orders(one, clock, 3, "sent", "acked")
        rig.drain()
        rig.batches.settle()
    shutil.rmtree(rig.journal)
    clock.pass_ns(SECOND)
    with journal(rig.journal, clock) as one:
        live_orders(one, clock, 2, "sent", "acked", first=100)
        rig.drain()
        assert len(rig.rows('SELECT id FROM "Order"')) == 5
    assert rig.complaints == []


def test_a_damaged_record_costs_itself_and_is_told(rig, clock):
    with journal(rig.journal, clock) as one:
        live_orders(one, clock, 3, "sent", "acked")
    path = newest(rig.journal)
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES + 2 * RECORD_BYTES + 50] ^= 1  # the second order's SENT
    path.write_bytes(data)
    with journal(rig.journal, clock) as one:  # a file follows: what is wrong before is damage
        rig.drain()
    assert any("records of the journal were gone" in text for text in rig.complaints)
    assert len(rig.rows('SELECT id FROM "Order"')) == 2


def test_the_gate_keeps_files_until_they_are_read(rig, clock):
    with journal(rig.journal, clock, keep_bytes=0) as one:
        live_orders(one, clock, 5, "sent", "acked")
        rig.drain()
        rig.batches.settle()
        unread = newest(rig.journal)
        lives = live_orders(one, clock, 600, *WHOLE_LIFE, first=100)
        clock.pass_ns(2 * KEEP_DONE_NS)
        lives += live_orders(one, clock, 600, *WHOLE_LIFE, first=1000)
        assert unread in list_files(rig.journal)
        rig.drain()
        rig.batches.settle()
        assert len(rig.rows('SELECT id FROM "Order"')) == 1205
        assert rig.complaints == []
        live_orders(one, clock, 600, *WHOLE_LIFE, first=3000)
        assert unread not in list_files(rig.journal)


def test_a_boot_message_names_what_it_lacks_and_a_replay_has_no_journal(tmp_path):
    boot = {"run": "r", "epoch": 1, "run_dir": str(tmp_path), "state_dir": str(tmp_path)}
    with pytest.raises(BootError, match="lacks 'venues'"):
        RecorderSettings.from_boot(boot)
    venues = [{"name": "binance", "mode": "sim"}, {"name": "old", "mode": "replay"}, {"name": "real", "mode": "live"}]
    settings = RecorderSettings.from_boot({**boot, "venues": venues})
    journals = tmp_path / "journal"
    assert settings.journals == {"binance": journals / "binance" / "simulated", "real": journals / "real"}
