"""The order router against a scripted gate, over real queues and links."""

import asyncio
from decimal import Decimal

import pytest

from hive.shm.messages import IntentKind, ReplyKind
from hive.workers.errors import OrderRefused
from hive.workers.orders import REFUSED_NS
from tests.workers.router_stage import MS, PAIR


async def test_an_order_goes_out_at_once_and_its_ack_comes_back_to_the_task(stage):
    context, gate = stage.strategy("a"), stage.gate()
    task = stage.place(context, 1)
    await asyncio.sleep(0)
    (intent,) = gate.intents()
    assert intent == stage.order(context, 1)
    await stage.say(gate, (ReplyKind.ACKED, intent.client_order_id, {"exchange_order_id": "77"}))
    assert (await task).exchange_order_id == "77"
    assert stage.heard == [("a", "answer ACKED", intent.client_order_id)]
    assert [order.exchange_order_id for order in stage.router.open_orders()] == ["77"]
    assert (context.counters.orders_submitted.value, context.counters.orders_acked.value) == (1, 1)


async def test_fills_in_the_same_batch_as_the_ack_come_after_it_and_in_order(stage):
    context, gate = stage.strategy("a"), stage.gate()
    task = stage.place(context, 1)
    await asyncio.sleep(0)
    cid = stage.id(context, 1)
    await stage.say(
        gate,
        (ReplyKind.ACKED, cid),
        (ReplyKind.FILL, cid, {"trade_id": 1, "amount": Decimal("0.04")}),
        (ReplyKind.FILL, cid, {"trade_id": 2, "amount": Decimal("0.06")}),
        (ReplyKind.FILLED, cid),
    )
    await task
    assert stage.names() == ["answer ACKED", "FILL", "FILL", "FILLED"]
    assert stage.router.open_orders() == []
    assert (context.counters.fills.value, context.counters.orders_filled.value) == (2, 1)
    assert stage.filled == [context, context]


async def test_two_orders_interleaved_in_one_batch_keep_their_order(stage):
    context, gate = stage.strategy("a"), stage.gate()
    tasks = [stage.place(context, 1), stage.place(context, 2)]
    await asyncio.sleep(0)
    one, two = stage.id(context, 1), stage.id(context, 2)
    await stage.say(
        gate,
        (ReplyKind.ACKED, one),
        (ReplyKind.FILL, one, {"trade_id": 1}),
        (ReplyKind.ACKED, two),
        (ReplyKind.FILLED, one),
        (ReplyKind.CANCELLED, two),
    )
    await asyncio.gather(*tasks)
    assert [(what, cid[-1]) for _, what, cid in stage.heard] == [
        ("answer ACKED", "1"),
        ("FILL", "1"),
        ("answer ACKED", "2"),
        ("FILLED", "1"),
        ("CANCELLED", "2"),
    ]


async def test_a_rejection_is_the_answer_and_ends_the_order(stage):
    context, gate = stage.strategy("a"), stage.gate()
    task = stage.place(context, 1)
    await asyncio.sleep(0)
    await stage.say(gate, (ReplyKind.REJECTED, stage.id(context, 1), {"code": -2010, "text": "no money"}))
    reply = await task
    assert (reply.code, reply.text) == (-2010, "no money")
    assert stage.names() == ["answer REJECTED"]
    assert stage.router.open_orders() == []


async def test_unknown_is_an_answer_and_whatever_ends_it_later_arrives(stage):
    context, gate = stage.strategy("a"), stage.gate()
    task = stage.place(context, 1)
    await asyncio.sleep(0)
    cid = stage.id(context, 1)
    await stage.say(gate, (ReplyKind.UNKNOWN, cid))
    assert (await task).kind is ReplyKind.UNKNOWN
    assert [order.unknown for order in stage.router.open_orders()] == [True]
    await stage.say(gate, (ReplyKind.ACKED, cid), (ReplyKind.FILL, cid, {"trade_id": 5}), (ReplyKind.FILLED, cid))
    assert stage.names() == ["answer UNKNOWN", "ACKED", "FILL", "FILLED"]


async def test_a_fill_that_overtakes_the_ack_answers_it_first(stage):
    context, gate = stage.strategy("a"), stage.gate()
    task = stage.place(context, 1)
    await asyncio.sleep(0)
    cid = stage.id(context, 1)
    await stage.say(gate, (ReplyKind.FILL, cid, {"trade_id": 5}), (ReplyKind.ACKED, cid), (ReplyKind.FILLED, cid))
    await task
    assert stage.names() == ["answer ACKED", "FILL", "FILLED"]
    assert context.counters.orders_acked.value == 1


async def test_replies_reach_only_the_strategy_that_placed_the_order(stage):
    first, second, gate = stage.strategy("a"), stage.strategy("b"), stage.gate()
    stage.place(first, 1)
    stage.place(second, 1)
    await asyncio.sleep(0)
    await stage.say(
        gate,
        (ReplyKind.ACKED, stage.id(second, 1)),
        (ReplyKind.ACKED, stage.id(first, 1)),
        (ReplyKind.FILLED, stage.id(second, 1)),
        (ReplyKind.CANCELLED, stage.id(first, 1)),
    )
    assert sorted(stage.heard) == sorted(
        [
            ("a", "answer ACKED", stage.id(first, 1)),
            ("a", "CANCELLED", stage.id(first, 1)),
            ("b", "answer ACKED", stage.id(second, 1)),
            ("b", "FILLED", stage.id(second, 1)),
        ]
    )


async def test_a_cancel_ends_with_the_reply_that_ended_the_order(stage):
    context, gate = stage.strategy("a"), stage.gate()
    stage.place(context, 1)
    await asyncio.sleep(0)
    cid = stage.id(context, 1)
    await stage.say(gate, (ReplyKind.ACKED, cid))
    gate.intents()
    first, second = stage.cancel(context, 1), stage.cancel(context, 1)
    await asyncio.sleep(0)
    assert [intent.kind for intent in gate.intents()] == [IntentKind.CANCEL]
    await stage.say(gate, (ReplyKind.FILL, cid, {"trade_id": 9}), (ReplyKind.FILLED, cid))
    assert (await first).kind is (await second).kind is ReplyKind.FILLED
    assert stage.names() == ["answer ACKED", "FILL", "cancel FILLED", "cancel FILLED", "FILLED"]
    assert (await stage.cancel(context, 1)).kind is ReplyKind.FILLED
    assert gate.intents() == []


async def test_a_refused_cancel_leaves_the_order_open_and_may_be_repeated(stage):
    context, gate = stage.strategy("a"), stage.gate()
    stage.place(context, 1)
    await asyncio.sleep(0)
    cid = stage.id(context, 1)
    await stage.say(gate, (ReplyKind.ACKED, cid))
    cancel = stage.cancel(context, 1)
    await asyncio.sleep(0)
    gate.intents()
    await stage.say(gate, (ReplyKind.CANCEL_FAILED, cid, {"code": -2011}))
    assert (await cancel).kind is ReplyKind.CANCEL_FAILED
    assert len(stage.router.open_orders()) == 1
    cancel = stage.cancel(context, 1)
    await asyncio.sleep(0)
    assert len(gate.intents()) == 1
    await stage.say(gate, (ReplyKind.CANCELLED, cid))
    assert (await cancel).kind is ReplyKind.CANCELLED


async def test_a_cancel_of_an_order_that_nobody_here_placed_is_asked_of_the_gate(stage):
    context, gate = stage.strategy("a"), stage.gate()
    cancel = stage.cancel(context, "old")
    await asyncio.sleep(0)
    (intent,) = gate.intents()
    assert (intent.kind, intent.client_order_id) == (IntentKind.CANCEL, stage.id(context, "old"))
    await stage.say(gate, (ReplyKind.CANCEL_FAILED, intent.client_order_id, {"code": -2011}))
    assert (await cancel).code == -2011
    cancel = stage.cancel(context, "old")
    await asyncio.sleep(0)
    await stage.say(gate, (ReplyKind.CANCELLED, intent.client_order_id))
    assert (await cancel).kind is ReplyKind.CANCELLED


async def test_the_answer_to_a_task_that_was_cancelled_goes_to_the_strategy(stage):
    context, gate = stage.strategy("a"), stage.gate()
    task = stage.place(context, 1)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    await stage.say(gate, (ReplyKind.ACKED, stage.id(context, 1)), (ReplyKind.FILLED, stage.id(context, 1)))
    assert stage.names() == ["ACKED", "FILLED"]


async def test_a_late_fill_of_an_order_that_was_over_still_reaches_its_strategy(stage):
    context, gate = stage.strategy("a"), stage.gate()
    stage.place(context, 1)
    await asyncio.sleep(0)
    cid = stage.id(context, 1)
    await stage.say(gate, (ReplyKind.ACKED, cid), (ReplyKind.CANCELLED, cid))
    await stage.say(gate, (ReplyKind.FILL, cid, {"trade_id": 4}), (ReplyKind.ACKED, cid))
    assert stage.names() == ["answer ACKED", "CANCELLED", "FILL"]
    assert context.counters.fills.value == 1


@pytest.mark.parametrize(
    ("prepare", "changes", "reason"),
    [
        (lambda stage: None, {}, "gate is restarting"),
        (lambda stage: stage.gate(opened=False), {}, "venue 0 is not ready: its account was not read yet"),
        (lambda stage: (stage.gate(), stage.feed.stale(PAIR)), {}, "book of BTC-USDT is STALE"),
        (lambda stage: stage.gate(), {"pair": "ETH-USDT"}, "book of ETH-USDT is EMPTY"),
        (lambda stage: stage.gate(), {"price": Decimal("1e-200")}, "a decimal must fit"),
        (lambda stage: stage.gate(), {"price": 99.5}, "a decimal is needed, was float"),
        (lambda stage: stage.gate(), {"kind": IntentKind.QUERY}, r"place\(\) takes PLACE intents, was QUERY"),
    ],
)
async def test_what_cannot_be_sent_is_refused_before_it_leaves(stage, prepare, changes, reason):
    context = stage.strategy("a")
    prepare(stage)
    with pytest.raises(OrderRefused, match=reason):
        stage.router.place(stage.order(context, 1, **changes))
    assert stage.router.open_orders() == []
    assert (context.counters.orders_refused.value, context.counters.orders_submitted.value) == (1, 0)
    assert all(gate.intents() == [] for gate in stage.gates)


async def test_an_order_id_is_refused_when_it_is_foreign_or_was_used_before(stage):
    first, second = stage.strategy("a"), stage.strategy("b")
    stage.gate()
    with pytest.raises(OrderRefused, match="carries no tag of a strategy of this worker"):
        stage.router.place(stage.order(first, 1, client_order_id="x-1"))
    with pytest.raises(OrderRefused, match="is one of a, was used by b"):
        second.run(stage.router.place, stage.order(first, 1))
    stage.router.place(stage.order(first, 1))
    with pytest.raises(OrderRefused, match="was used before"):
        stage.router.place(stage.order(first, 1))


async def test_the_account_that_is_not_ready_says_why(stage):
    context, gate = stage.strategy("a"), stage.gate()
    await stage.say(gate, (ReplyKind.OPENED, "", {"text": "user stream is down"}))
    assert not stage.router.is_open(0)
    with pytest.raises(OrderRefused, match="venue 0 is not ready: user stream is down"):
        stage.router.place(stage.order(context, 1))


async def test_balances_are_updated_in_place(stage):
    gate = stage.gate()
    free, totals = stage.router.free_balances(0), stage.router.total_balances(0)
    await stage.say(
        gate, (ReplyKind.BALANCE, "", {"fee_asset": "BTC", "amount": Decimal("1.5"), "cumulative": Decimal("0.5")})
    )
    assert (free, totals) == ({"BTC": Decimal("1.5")}, {"BTC": Decimal("2.0")})


async def test_what_rests_on_a_stale_book_is_cancelled_after_the_given_time(stage):
    context, other, gate = stage.strategy("a"), stage.strategy("b"), stage.gate()
    stage.feed.add("ETH-USDT")
    other.books = {(0, "ETH-USDT")}
    stage.place(context, 1)
    other.create_task(_await(stage.router.place, stage.order(other, 2, pair="ETH-USDT")))
    await asyncio.sleep(0)
    await stage.say(gate, (ReplyKind.ACKED, stage.id(context, 1)), (ReplyKind.ACKED, stage.id(other, 2)))
    gate.intents()
    stage.feed.stale(PAIR)
    assert stage.router.check_books() == 0
    stage.now_ns += 999 * MS
    stage.feed.beat(stage.now_ns)
    assert stage.router.check_books() == 0
    stage.now_ns += MS
    stage.feed.beat(stage.now_ns)
    assert stage.router.check_books() == 1
    assert stage.router.check_books() == 0
    assert [(intent.kind, intent.client_order_id) for intent in gate.intents()] == [
        (IntentKind.CANCEL, stage.id(context, 1))
    ]


async def test_a_book_that_came_back_in_time_leaves_the_orders_alone(stage):
    context, gate = stage.strategy("a"), stage.gate()
    stage.place(context, 1)
    await asyncio.sleep(0)
    await stage.say(gate, (ReplyKind.ACKED, stage.id(context, 1)))
    for _ in range(5):
        stage.feed.stale(PAIR)
        stage.router.check_books()
        stage.now_ns += 900 * MS
        stage.feed.beat(stage.now_ns)
        stage.feed.live(PAIR)
        assert stage.router.check_books() == 0
        stage.now_ns += 900 * MS
        stage.feed.beat(stage.now_ns)


async def _await(place, intent):
    return await place(intent)


async def test_all_orders_of_one_strategy_can_be_cancelled_and_no_one_elses(stage):
    context, other, gate = stage.strategy("a"), stage.strategy("b"), stage.gate()
    stage.place(context, 1), stage.place(context, 2), stage.place(other, 3)
    await asyncio.sleep(0)
    await stage.say(gate, (ReplyKind.ACKED, stage.id(context, 1)), (ReplyKind.ACKED, stage.id(other, 3)))
    gate.intents()
    assert stage.router.cancel_all(context) == 2
    assert stage.router.cancel_all(context) == 0
    told = [(intent.kind, intent.client_order_id) for intent in gate.intents()]
    assert told == [(IntentKind.CANCEL, stage.id(context, number)) for number in (1, 2)]
    successor = stage.gate(epoch=2)  # the first gate died before it answered
    cancelled = [intent.client_order_id for intent in successor.intents() if intent.kind is IntentKind.CANCEL]
    assert cancelled == [stage.id(context, number) for number in (1, 2)]


async def test_an_order_that_must_end_is_cancelled_again_after_the_venue_has_refused_that(stage):
    context, gate = stage.strategy("a"), stage.gate()
    stage.place(context, 1), stage.place(context, 2)
    await asyncio.sleep(0)
    one, two = stage.id(context, 1), stage.id(context, 2)
    await stage.say(gate, (ReplyKind.ACKED, one), (ReplyKind.ACKED, two))
    stage.router.cancel_all(context)
    await stage.say(gate, (ReplyKind.CANCELLED, two))
    gate.intents()
    for _ in range(3):
        await stage.say(gate, (ReplyKind.CANCEL_FAILED, one))
        assert gate.intents() == []
        stage.router.check_books()
        assert gate.intents() == []
        stage.now_ns += REFUSED_NS
        stage.feed.beat(stage.now_ns)
        stage.router.check_books()
        assert [intent.client_order_id for intent in gate.intents()] == [one]
