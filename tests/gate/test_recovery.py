"""Gates that are killed and take over from each other: nothing is lost, sent twice, or told to the wrong life."""

import asyncio
from decimal import Decimal

import pytest

from gate.fake_venue import OTHER, SECOND, TAG, AccountBench, live, trade
from hive.gate.errors import NotSent, Unanswered
from hive.gate.order import State
from hive.gate.venue import OrderStatus, Trade
from hive.shm.messages import MAYBE_SENT, IntentKind
from hive.shm.refusals import Refusal


def stuck() -> asyncio.Future:
    """Return an answer that never comes."""
    return asyncio.get_running_loop().create_future()


def hear_filled(bench: AccountBench, order: str, *trades: Trade) -> None:
    """Have a bench's account hear from the venue that these trades filled an order of 1."""
    entry = bench.account.ledger.get(order)
    done = live(order, OrderStatus.FILLED, "1")
    bench.account.apply(entry, bench.account.ledger.observe(entry, done, trades, bench.clock.now))


async def half_filled(bench: AccountBench) -> str:
    """Return an order of 1 of which half was filled, by trade 7, and told; the journal has it."""
    order = bench.place("1")
    await bench.settle()
    entry = bench.account.ledger.get(order)
    half = live(order, executed="0.5")
    bench.account.apply(entry, bench.account.ledger.observe(entry, half, (trade(7, "0.5"),), bench.clock.now))
    bench.journal.commit()
    return order


async def handed_over(bench: AccountBench) -> str:
    """Return an open order that has been handed over to its strategy's second life."""
    order = bench.place("1")
    await bench.settle()
    bench.account.part(TAG, cancel=False)
    bench.account.lives.hand_over(TAG, 2)
    return order


async def test_an_order_that_was_written_and_not_answered_is_asked_for_and_never_sent_again(gates):
    first = gates()
    first.venue.script["place"].append(stuck())
    order = first.place("1")
    assert first.venue.placed() == [order]
    second = gates()
    assert second.account.ledger.get(order).state is State.UNKNOWN
    second.place("1", flags=MAYBE_SENT)  # its worker has no answer, and sends it again
    assert second.kinds(order) == ["UNKNOWN"]
    second.venue.orders[order] = live(order)
    second.account.inquiry.compare({order: live(order)}, second.clock.now)
    await second.settle()
    assert second.kinds(order) == ["UNKNOWN", "ACKED"]
    assert second.venue.placed() == [order]


async def test_an_order_that_waited_in_a_killed_gate_goes_once_through_the_next(gates):
    first = gates(total=1.0)
    sent, waited = first.place("1"), first.place("2")
    await first.settle()
    assert first.venue.placed() == [sent]
    second = gates(total=1.0)
    for name in ("1", "2"):
        second.place(name, flags=MAYBE_SENT)
    await second.settle()
    second.clock.now += SECOND
    second.account.pump()
    await second.settle()
    assert second.venue.placed() == [sent, waited]
    assert second.kinds(waited) == ["ACKED"]


async def test_an_order_that_may_have_been_sent_by_a_gate_of_another_run_is_not_sent(gates):
    gates()
    second = gates(same_run=False)
    order = second.place("1", flags=MAYBE_SENT)
    await second.settle()
    assert second.venue.placed() == []
    assert second.kinds(order) == ["UNKNOWN"]


async def test_an_order_that_may_have_been_sent_takes_of_its_strategys_capital_until_its_fate_is_known(gates):
    gates()
    second = gates(same_run=False, given={TAG: {"USDT": Decimal(10)}})
    maybe = second.place("1", flags=MAYBE_SENT)
    second.place("2")
    assert second.told[-1][1].code == Refusal.CAPITAL
    order = second.account.ledger.get(maybe)
    second.account.apply(order, second.account.ledger.reject(order, -2013, "never arrived", second.clock.now))
    third = second.place("3")
    await second.settle()
    assert second.venue.placed() == [third]


async def test_a_live_order_is_live_in_the_next_gate_and_can_be_cancelled(gates):
    first = gates()
    order = first.place("1")
    await first.settle()
    second = gates()
    known = second.account.ledger.get(order)
    assert known.state is State.ACKED
    second.ask(IntentKind.CANCEL, order)
    await second.settle()
    assert second.kinds(order) == ["CANCELLED"]


async def test_a_fill_that_was_told_by_the_gate_before_is_not_counted_again(gates):
    first = gates()
    order = await half_filled(first)
    second = gates()
    entry = second.account.ledger.get(order)
    assert (entry.filled, list(entry.trades)) == (Decimal("0.5"), [7])
    hear_filled(second, order, trade(7, "0.5"), trade(8, "0.5"))
    assert second.kinds(order) == ["FILL", "FILLED"]
    assert [reply.trade_id for _, reply in second.told if reply.trade_id] == [8]


async def test_fills_while_a_worker_was_dead_are_told_to_its_next_life_once(gates):
    bench = gates()
    order = bench.place("1")
    await bench.settle()
    bench.account.worker_gone({TAG}, 1, cancel=False)
    hear_filled(bench, order, trade(3))
    bench.told.clear()  # the worker was not there
    bench.account.lives.tell_again({TAG}, 2)
    bench.account.lives.tell_again({TAG}, 2)
    assert bench.kinds(order) == ["FILL", "FILLED"]


async def test_what_ended_while_everything_was_dead_is_told_to_the_next_life(gates):
    first = gates()
    order = first.place("1")
    await first.settle()
    first.venue.orders[order] = live(order, OrderStatus.FILLED, "1")
    first.venue.fills[first.account.ledger.get(order).exchange_order_id] = [trade(3)]
    second = gates()
    second.account.inquiry.compare({}, second.clock.now)  # it is not open at the venue any more
    await second.settle()
    second.told.clear()
    third = gates()
    third.account.lives.tell_again({TAG}, 2)
    assert third.kinds(order) == ["FILL", "FILLED"]


async def test_what_a_worker_has_taken_in_long_ago_is_not_told_again(gates):
    first = gates()
    order = first.place("1")
    await first.settle()
    first.ask(IntentKind.CANCEL, order)
    await first.settle()
    first.account.taken(order)
    first.journal.commit()
    first.clock.now += 120 * SECOND
    second = gates()
    second.account.lives.tell_again({TAG}, 2)
    assert second.kinds(order) == []
    assert second.account.ledger.get(order).done


@pytest.mark.parametrize("late_s", [2, 31, 600])
async def test_an_unknown_order_stays_open_until_the_venue_tells_however_late(gates, late_s):
    """A strategy that cancels with every tick meanwhile gets neither an end nor a refusal that is a guess."""
    bench = gates()
    bench.venue.script["place"].append(Unanswered("no answer in time"))
    bench.venue.script["status"].extend([Unanswered("still none")] * 10_000)
    order = bench.place("1")
    await bench.settle()
    for _ in range(late_s):
        bench.ask(IntentKind.CANCEL, order)
        bench.clock.now += SECOND
        bench.account.tick()
        await bench.settle()
    assert bench.kinds(order) == ["UNKNOWN"]
    assert bench.venue.calls.count(("cancel", order)) == 0
    bench.venue.script["status"].clear()
    bench.venue.orders[order] = live(order, executed="0.5")
    bench.venue.fills[live(order).exchange_order_id] = [trade(5, "0.5")]
    entry = bench.account.ledger.get(order)
    bench.account.apply(
        entry, bench.account.ledger.observe(entry, bench.venue.orders[order], (trade(5, "0.5"),), bench.clock.now)
    )
    await bench.settle()
    assert bench.kinds(order) == ["UNKNOWN", "ACKED", "FILL", "CANCELLED"]
    assert bench.venue.placed() == [order]
    assert bench.venue.calls.count(("cancel", order)) == 1


async def test_fills_that_were_lost_with_a_gate_are_told_before_what_the_next_one_hears(gates):
    first = gates()
    order = await half_filled(first)
    second = gates()
    second.account.lives.tell_again({TAG}, 1)  # its worker lives, and has not asked for its orders yet
    hear_filled(second, order, trade(8, "0.5"))
    assert second.kinds(order) == ["FILL", "FILL", "FILLED"]
    assert [reply.trade_id for _, reply in second.told if reply.trade_id] == [7, 8]


async def test_orders_of_an_earlier_run_are_told_by_every_gate_of_the_next(gates):
    order = gates().place("1")
    second = gates(same_run=False)
    second.venue.orders[order] = live(order)
    second.account.inquiry.compare({order: live(order)}, second.clock.now)
    await second.settle()
    for bench in (second, gates()):
        bench.told.clear()
        bench.account.lives.tell_again({TAG}, 1)  # epochs begin at 1 in each run
        assert bench.kinds(order) == ["ACKED"]


async def test_an_order_that_could_not_be_sent_goes_once_through_the_next_gate(gates):
    first = gates()
    first.venue.script["place"].append(NotSent("down"))
    order = first.place("1")
    await first.settle()
    second = gates()
    second.venue.calls.clear()
    second.place("1", flags=MAYBE_SENT)
    await second.settle()
    assert second.venue.placed() == [order]
    assert second.kinds(order) == ["ACKED"]


async def test_an_id_that_comes_with_another_order_is_refused(gates):
    bench = gates()
    order = bench.place("1")
    await bench.settle()
    bench.ask(IntentKind.CANCEL, order)
    await bench.settle()
    told = len(bench.kinds(order))
    bench.place("1", amount="2")
    assert bench.kinds(order)[told:] == ["REJECTED"]
    assert bench.told[-1][1].code == Refusal.DUPLICATE_ID
    assert bench.venue.placed() == [order]


async def test_the_same_intent_that_comes_again_is_answered_and_not_sent(gates):
    bench = gates()
    order = bench.place("1")
    await bench.settle()
    bench.place("1")
    assert bench.kinds(order) == ["ACKED", "ACKED"]
    assert bench.count("duplicates_dropped") == 1
    assert bench.venue.placed() == [order]


@pytest.mark.parametrize("same_run", [True, False])
async def test_nothing_is_sent_for_a_worker_that_died_before_the_account_was_ready(gates, same_run):
    gates()
    second = gates(ready=False, same_run=same_run)
    order = second.place("1", flags=MAYBE_SENT)
    second.account.worker_gone({TAG}, 1, cancel=True)
    second.venue.orders[order] = live(order)  # what the gate before may have sent
    second.account.accept()
    await second.settle()
    assert second.venue.placed() == []
    assert (("cancel", order) in second.venue.calls) is not same_run


async def test_an_end_that_was_lost_with_a_gate_is_told_with_its_fills_to_the_life_that_was_handed_the_order(gates):
    first = gates()
    order = await handed_over(first)
    hear_filled(first, order, trade(7))
    first.journal.commit()  # and its replies are lost with its queues
    second = gates()
    for _ in range(2):
        second.account.lives.tell_again({TAG}, 2)
    assert second.kinds(order) == ["FILL", "FILLED"]


async def test_an_order_that_was_handed_over_is_told_to_that_life_by_the_next_gate_as_well(gates):
    first = gates()
    order = await handed_over(first)
    first.journal.commit()
    second = gates()
    for _ in range(2):
        second.account.lives.tell_again({TAG}, 2)
    assert second.kinds(order) == ["ACKED"]


async def test_an_end_is_told_again_to_a_life_that_begins_soon_after_the_last_one_took_it_in(gates):
    bench = gates()
    order = bench.place("1")
    await bench.settle()
    bench.account.worker_gone({TAG}, 1, cancel=False)
    hear_filled(bench, order, trade(7))
    bench.clock.now += 70 * SECOND
    bench.account.lives.tell_again({TAG}, 2)
    bench.account.taken(order)  # by its worker, which dies before the strategy runs
    bench.journal.commit()
    for epoch, gate in ((3, bench), (4, gates())):
        gate.told.clear()
        gate.account.lives.tell_again({TAG}, epoch)
        assert gate.kinds(order) == ["FILL", "FILLED"]


@pytest.mark.parametrize("denial", ["reject", "vanish"])
async def test_an_order_that_lives_after_its_strategy_was_told_its_end_is_cancelled(gates, denial):
    bench = gates()
    if denial == "reject":
        bench.venue.script["place"].append(Unanswered("no answer"))
    order = bench.place("1")
    await bench.settle()
    entry = bench.account.ledger.get(order)
    end = getattr(bench.account.ledger, denial)
    bench.account.apply(entry, end(entry, -2013, "not there", bench.clock.now))
    bench.clock.now += 20 * SECOND
    bench.venue.orders[order] = live(order)
    bench.account.inquiry.compare({order: live(order)}, bench.clock.now)
    await bench.settle()
    assert entry.state is State.CANCELLED
    assert bench.kinds(order)[-2:] == ["ACKED", "CANCELLED"]


async def test_what_the_gate_itself_was_to_cancel_is_cancelled_by_whichever_gate_comes_next(gates):
    first = gates()
    order, kept = first.place("1"), first.place("2", tag=OTHER)
    await first.settle()
    first.venue.script["cancel"].append(stuck())
    first.account.part(TAG, cancel=True)
    await first.settle()
    assert first.venue.calls[-1] == ("cancel", order)
    gates()  # and is killed as well
    third = gates()
    assert (third.account.ledger.get(order).urgent, third.account.ledger.get(kept).urgent) == (True, False)
    known = third.account.ledger.get(order)
    third.account.apply(known, third.account.ledger.observe(known, live(order), (), third.clock.now))
    await third.settle()
    assert third.kinds(order) == ["CANCELLED"]
    fourth = gates()
    assert fourth.account.ledger.get(order).state is State.CANCELLED
