"""An account against a scripted venue: what is sent, what is not, and what strategies are told."""

import asyncio

import pytest

from gate.fake_venue import OTHER, SECOND, TAG, AccountBench, FakeClock, live, trade
from gate.virtual_loop import VirtualLoop
from hive.gate.errors import ClockRefused, NotSent, Refused, Throttled, Unanswered
from hive.gate.exposure import RiskLimits
from hive.gate.limits import Operation
from hive.gate.order import State
from hive.gate.quota import StrategyQuota
from hive.gate.requests import CANCEL_AGAIN_S
from hive.gate.venue import OrderStatus
from hive.shm.messages import MAYBE_SENT, Intent, IntentKind
from hive.shm.refusals import Refusal


@pytest.fixture
async def bench(tmp_path):
    bench = AccountBench(tmp_path)
    yield bench
    bench.close()
    await bench.settle()


async def test_an_order_is_written_before_the_intents_handling_returns(bench):
    order = bench.place("1")
    assert bench.venue.placed() == [order]
    assert bench.account.ledger.get(order).sent_ns == bench.clock.now
    await bench.settle()
    assert bench.kinds(order) == ["ACKED"]


async def test_a_cancel_that_overtakes_the_answer_waits_for_it(bench):
    answer = asyncio.get_running_loop().create_future()
    bench.venue.script["place"].append(answer)
    order = bench.place("1")
    bench.ask(IntentKind.CANCEL, order)
    await bench.settle()
    assert ("cancel", order) not in bench.venue.calls
    answer.set_result((live(order), []))
    await bench.settle()
    assert bench.kinds(order) == ["ACKED", "CANCELLED"]


async def test_one_cancel_is_on_its_way_at_a_time(bench):
    order = bench.place("1")
    await bench.settle()
    bench.venue.script["cancel"].append(asyncio.get_running_loop().create_future())
    for _ in range(3):
        bench.ask(IntentKind.CANCEL, order)
    await bench.settle()
    assert bench.venue.calls.count(("cancel", order)) == 1


@pytest.mark.parametrize("reason", [NotSent("down"), Throttled(1, "429")])
async def test_an_order_that_was_certainly_not_executed_waits_and_goes_once_more(bench, reason):
    bench.venue.script["place"].append(reason)
    order = bench.place("1")
    await bench.settle()
    assert bench.account.ledger.get(order).state is State.PENDING
    bench.clock.now += SECOND
    bench.account.pump()
    await bench.settle()
    assert bench.venue.placed() == [order, order]
    assert bench.kinds(order) == ["ACKED"]


async def test_a_cancel_of_an_order_that_was_put_back_ends_it_unsent(bench):
    bench.venue.script["place"].append(NotSent("down"))
    order = bench.place("1")
    await bench.settle()
    bench.ask(IntentKind.CANCEL, order)
    bench.clock.now += SECOND
    bench.account.pump()
    await bench.settle()
    assert bench.kinds(order) == ["CANCELLED"]
    assert bench.venue.placed() == [order]


async def test_an_order_without_an_answer_is_never_sent_again(bench):
    bench.venue.script["place"].append(Unanswered("lost"))
    bench.venue.script["status"].extend([Unanswered("lost too"), None])
    order = bench.place("1")
    await bench.settle()
    for _ in range(40):
        bench.clock.now += SECOND
        bench.account.tick()
        await bench.settle()
    assert bench.venue.placed() == [order]
    assert bench.kinds(order) == ["UNKNOWN"]


async def test_a_venue_that_refuses_the_timestamp_is_tried_again_with_a_fresh_clock(bench):
    bench.venue.script["place"].extend([ClockRefused(-1021, "late"), ClockRefused(-1021, "late")])
    order = bench.place("1")
    for _ in range(3):
        await bench.settle()
        bench.clock.now += SECOND
        bench.account.pump()
    await bench.settle()
    assert bench.kinds(order) == ["ACKED"]
    assert bench.venue.clock_reads == 2


async def test_a_venue_that_never_takes_the_timestamp_refuses_the_order(bench):
    bench.venue.script["place"].extend([ClockRefused(-1021, "late")] * 3)
    order = bench.place("1")
    for _ in range(5):
        await bench.settle()
        bench.clock.now += SECOND
        bench.account.pump()
    assert bench.kinds(order) == ["REJECTED"]


async def test_an_error_of_our_own_makes_an_order_unknown_and_not_lost(bench):
    bench.venue.script["place"].append(RuntimeError("a bug"))
    order = bench.place("1")
    await bench.settle()
    assert bench.kinds(order) == ["UNKNOWN"]
    bench.account.recover(Intent(IntentKind.PLACE, 0, "BTC-USDT", order), "one")
    assert bench.account.ledger.get(order).needs_asking


async def test_a_broken_handling_before_sending_is_a_refusal(bench):
    bench.venue.waits[Operation.PLACE] = SECOND
    order = bench.place("1")
    bench.account.recover(Intent(IntentKind.PLACE, 0, "BTC-USDT", order), "one")
    bench.venue.waits.clear()
    bench.account.pump()
    await bench.settle()
    assert bench.kinds(order) == ["REJECTED"]
    assert bench.venue.placed() == []


async def test_a_fill_that_the_stream_told_first_is_not_told_by_the_answer_again(bench):
    answer = asyncio.get_running_loop().create_future()
    bench.venue.script["place"].append(answer)
    order = bench.place("1")
    entry = bench.account.ledger.get(order)
    filled = live(order, OrderStatus.FILLED, "1")
    bench.account.apply(entry, bench.account.ledger.observe(entry, filled, (trade(7),), bench.clock.now))
    answer.set_result((filled, [trade(7)]))
    await bench.settle()
    assert bench.kinds(order) == ["ACKED", "FILL", "FILLED"]


async def test_a_refused_cancel_is_reported_after_the_venue_says_that_the_order_lives(bench):
    order = bench.place("1")
    await bench.settle()
    bench.venue.script["cancel"].append(Refused(-2011, "Unknown order sent."))
    bench.ask(IntentKind.CANCEL, order)
    await bench.settle()
    assert ("status", order) in bench.venue.calls
    assert bench.kinds(order) == ["ACKED", "CANCEL_FAILED"]
    bench.ask(IntentKind.CANCEL, order)
    await bench.settle()
    assert bench.kinds(order)[-1] == "CANCELLED"


def test_an_order_that_nobody_looks_after_is_cancelled_again_after_the_venue_has_refused_that(tmp_path):
    clock = FakeClock()
    loop = VirtualLoop(clock)
    bench = AccountBench(tmp_path, clock=clock)
    order = loop.enter(bench.place, "1")
    bench.venue.script["cancel"].extend([Refused(-1013, "Market is closed.")] * 3)
    assert loop.enter(bench.account.worker_gone, {TAG}, 1, True) == 1
    for _ in range(4 * int(CANCEL_AGAIN_S)):
        clock.now += SECOND
        loop.run_due()
    assert bench.venue.calls.count(("cancel", order)) == 4
    assert bench.kinds(order) == ["ACKED", *["CANCEL_FAILED"] * 3, "CANCELLED"]
    assert loop.errors == []
    loop.enter(bench.close)


async def test_a_refused_cancel_of_an_order_that_ended_tells_its_end_alone(bench):
    order = bench.place("1")
    await bench.settle()
    bench.venue.script["cancel"].append(Refused(-2011, "Unknown order sent."))
    bench.venue.orders[order] = live(order, OrderStatus.FILLED, "1")
    bench.venue.fills[bench.account.ledger.get(order).exchange_order_id] = [trade(3)]
    bench.ask(IntentKind.CANCEL, order)
    await bench.settle()
    assert bench.kinds(order) == ["ACKED", "FILL", "FILLED"]


async def test_a_later_life_of_a_worker_is_told_the_fills_that_it_may_have_missed_once(bench):
    order = bench.place("1")
    await bench.settle()
    bench.venue.script["cancel"].append(Refused(-2011, "Unknown order sent."))
    bench.venue.orders[order] = live(order, OrderStatus.FILLED, "1")
    bench.venue.fills[bench.account.ledger.get(order).exchange_order_id] = [trade(3)]
    bench.ask(IntentKind.CANCEL, order)
    await bench.settle()
    told = len(bench.kinds(order))
    bench.ask(IntentKind.CANCEL, order, worker_epoch=2)
    bench.ask(IntentKind.CANCEL, order, worker_epoch=2)
    await bench.settle()
    assert bench.kinds(order)[told:] == ["FILL", "FILLED", "FILLED"]


async def test_orders_wait_while_the_venue_is_closed_and_keep_their_order(bench):
    bench.venue.waits[Operation.PLACE] = SECOND
    orders = [bench.place(str(number)) for number in range(5)]
    assert bench.venue.placed() == []
    bench.venue.waits.clear()
    bench.account.pump()
    assert bench.venue.placed() == orders


async def test_no_new_order_passes_after_a_refusal_and_those_that_wait_end(bench):
    bench.venue.waits[Operation.PLACE] = SECOND
    waiting = bench.place("1")
    bench.account.refuse_all("the fleet is stopping")
    late = bench.place("2")
    bench.venue.waits.clear()
    bench.account.pump()
    await bench.settle()
    assert bench.kinds(waiting) == bench.kinds(late) == ["REJECTED"]
    assert bench.venue.placed() == []


async def test_a_gone_worker_takes_its_orders_along_and_nobody_elses(bench):
    mine = bench.place("1")
    others = bench.place("2", tag=OTHER)
    await bench.settle()
    bench.venue.waits[Operation.PLACE] = SECOND
    waiting = bench.place("3")
    assert bench.account.worker_gone({TAG}, 1, cancel=True) == 2
    await bench.settle()
    assert bench.kinds(mine)[-1] == "CANCELLED"
    assert bench.kinds(waiting) == ["REJECTED"]
    assert bench.kinds(others) == ["ACKED"]


async def test_orders_of_a_later_epoch_stay_when_an_earlier_worker_is_gone(bench):
    bench.place("1")
    await bench.settle()
    assert bench.account.worker_gone({TAG}, 0, cancel=True) == 0


async def test_without_a_journal_of_this_run_an_order_that_may_have_been_sent_is_asked_for_at_once(tmp_path):
    bench = AccountBench(tmp_path, same_run=False)
    found = "hvtestsaaaaa-1"
    bench.venue.orders[found] = live(found, executed="0")
    bench.account.handle(Intent(IntentKind.PLACE, 0, "BTC-USDT", found, flags=MAYBE_SENT), "aaaaa", 1)
    await bench.settle()
    assert bench.kinds(found) == ["ACKED"]
    absent = bench.place("2", flags=MAYBE_SENT)
    await bench.settle()
    assert bench.kinds(absent) == ["UNKNOWN"]
    assert bench.venue.placed() == []
    bench.close()


async def test_intents_that_come_before_the_account_is_ready_are_kept_or_refused(tmp_path):
    bench = AccountBench(tmp_path, ready=False, same_run=False)
    new = bench.place("1")
    maybe = bench.place("2", flags=MAYBE_SENT)
    bench.venue.orders[maybe] = live(maybe)
    await bench.settle()
    assert bench.kinds(new) == ["REJECTED"]
    assert bench.kinds(maybe) == []
    bench.account.accept()
    await bench.settle()
    assert bench.kinds(maybe) == ["ACKED"]
    bench.close()


async def test_what_waits_too_long_is_refused_by_the_tick(tmp_path):
    bench = AccountBench(tmp_path, each=0.01)
    first, second = bench.place("1"), bench.place("2")
    await bench.settle()
    bench.clock.now += 31 * SECOND
    bench.account.tick()
    assert bench.kinds(first) == ["ACKED"]
    assert bench.kinds(second) == ["REJECTED"]
    assert "waited longer than 30 s" in bench.told[-1][1].text
    bench.close()


async def test_what_goes_at_once_counts_for_whoever_comes_next(tmp_path):
    bench = AccountBench(tmp_path, each=1.0, limits=RiskLimits(max_open_orders=2, self_trade="allow"))
    bench.venue.script["place"] += [asyncio.get_running_loop().create_future() for _ in range(2)]
    orders = [bench.place(name) for name in "123"]
    assert bench.venue.placed() == orders[:1]  # it spent its strategy's rate
    assert [bench.kinds(order) for order in orders] == [[], [], ["REJECTED"]]
    assert bench.told[-1][1].code == Refusal.OPEN_ORDERS
    bench.clock.now += SECOND
    bench.account.pump()
    assert bench.venue.placed() == orders[:2]
    figures = bench.account.sender.starvation.figures(TAG)
    assert (figures.wait_ns, figures.events, bench.figures.order_wait.read().count) == (0, 0, 2)
    bench.close()


async def test_a_refusal_by_a_filter_asks_for_the_rules(bench):
    bench.venue.script["place"].extend([Refused(-1013, "Filter failure: LOT_SIZE"), Refused(-2010, "no money")])
    orders = [bench.place("1"), bench.place("2")]
    await bench.settle()
    assert [bench.kinds(order) for order in orders] == [["REJECTED"], ["REJECTED"]]
    assert bench.filtered == 1


async def test_an_account_that_gets_ready_while_the_gate_is_leaving_takes_no_orders(tmp_path):
    bench = AccountBench(tmp_path, ready=False)
    bench.account.refuse_all("the fleet is stopping")
    bench.account.accept()
    order = bench.place("1")
    await bench.settle()
    assert bench.kinds(order) == ["REJECTED"]
    assert bench.venue.placed() == []
    bench.close()


async def test_an_order_that_waits_for_its_quota_goes_when_the_quota_is_raised(tmp_path):
    bench = AccountBench(tmp_path, quotas={TAG: StrategyQuota(max_orders_per_second=0.01)})
    first, second = bench.place("1"), bench.place("2")
    await bench.settle()
    assert bench.venue.placed() == [first]
    bench.account.sender.set_quota(TAG, StrategyQuota())
    bench.account.tick()
    await bench.settle()
    assert bench.venue.placed() == [first, second]
    bench.close()
