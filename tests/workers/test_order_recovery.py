"""Gates that go and come while a worker's orders live: nothing is lost, doubled or placed again."""

import asyncio

import pytest

from hive.shm.messages import MAYBE_SENT, IntentKind, ReplyKind
from tests.workers.router_stage import WORKER_EPOCH
from tests.workers.venue import ScriptedGate


async def test_a_new_gate_is_told_of_everything_that_is_not_over_and_never_to_place_again(stage):
    context, gate = stage.strategy("a"), stage.gate()
    tasks = [stage.place(context, number) for number in (1, 2, 3, 4)]
    await asyncio.sleep(0)
    ids = [stage.id(context, number) for number in (1, 2, 3, 4)]
    await stage.say(gate, (ReplyKind.ACKED, ids[0]), (ReplyKind.UNKNOWN, ids[1]), (ReplyKind.ACKED, ids[3]))
    gate.intents()
    cancel = stage.cancel(context, 1)
    await asyncio.sleep(0)
    await stage.say(gate, (ReplyKind.FILLED, ids[3]))
    successor = stage.gate(epoch=2)
    told = [(intent.kind, intent.client_order_id, intent.flags) for intent in successor.intents()]
    assert told == [
        (IntentKind.QUERY, ids[0], MAYBE_SENT),
        (IntentKind.QUERY, ids[1], MAYBE_SENT),
        (IntentKind.PLACE, ids[2], MAYBE_SENT),
        (IntentKind.CANCEL, ids[0], 0),
    ]
    await stage.say(
        successor,
        (ReplyKind.ACKED, ids[0]),
        (ReplyKind.FILL, ids[1], {"trade_id": 8}),
        (ReplyKind.FILLED, ids[1]),
        (ReplyKind.REJECTED, ids[2], {"text": "never reached the venue"}),
        (ReplyKind.CANCELLED, ids[0]),
    )
    assert (await tasks[2]).kind is ReplyKind.REJECTED
    assert (await cancel).kind is ReplyKind.CANCELLED
    assert stage.router.open_orders() == []


@pytest.mark.parametrize("first_id", [0, 1])  # a venue's very first trade has the id 0
async def test_fills_that_a_new_gate_repeats_are_delivered_once(stage, first_id):
    context, gate = stage.strategy("a"), stage.gate()
    stage.place(context, 1)
    await asyncio.sleep(0)
    cid = stage.id(context, 1)
    await stage.say(gate, (ReplyKind.ACKED, cid), (ReplyKind.FILL, cid, {"trade_id": first_id}))
    successor = stage.gate(epoch=2)
    await stage.say(
        successor,
        (ReplyKind.FILL, cid, {"trade_id": first_id}),
        (ReplyKind.FILL, cid, {"trade_id": 2}),
        (ReplyKind.ACKED, cid),
    )
    assert stage.names() == ["answer ACKED", "FILL", "FILL"]
    assert context.counters.fills.value == 2


async def test_a_fill_that_is_told_again_after_its_order_ended_is_not_delivered_again(stage):
    context = stage.strategy("a")
    gate = stage.gate()
    stage.place(context, 1)
    await stage.settle()
    cid = stage.id(context, 1)
    fill = (ReplyKind.FILL, cid, {"trade_id": 5})
    await stage.say(gate, (ReplyKind.ACKED, cid), fill)
    await stage.say(stage.gate(epoch=2), (ReplyKind.CANCELLED, cid), fill, (ReplyKind.CANCELLED, cid))
    assert stage.names() == ["answer ACKED", "FILL", "CANCELLED"]


async def test_without_a_gate_cancels_wait_for_the_next_one(stage):
    context, gate = stage.strategy("a"), stage.gate()
    stage.place(context, 1)
    await asyncio.sleep(0)
    cid = stage.id(context, 1)
    await stage.say(gate, (ReplyKind.ACKED, cid))
    stage.router.detach_gate()
    cancel = stage.cancel(context, 1)
    await stage.settle()
    assert not cancel.done()
    successor = stage.gate(epoch=2)
    assert [intent.kind for intent in successor.intents()] == [IntentKind.QUERY, IntentKind.CANCEL]
    await stage.say(successor, (ReplyKind.CANCELLED, cid))
    assert (await cancel).kind is ReplyKind.CANCELLED


async def test_a_fresh_pair_to_the_same_gate_loses_and_doubles_nothing(stage):
    context, gate = stage.strategy("a"), stage.gate()
    tasks = [stage.place(context, 1)]
    await asyncio.sleep(0)
    assert len(gate.intents()) == 1  # acted upon, but its acknowledgement is lost with the old pair
    fresh = ScriptedGate(stage.run, 50, WORKER_EPOCH)
    stage.gates.append(fresh)
    gate.link.relink(fresh.link._inbound, fresh.link._outbound)
    stage.router.attach_gate(1, *fresh.names, stage.make_link)
    tasks.append(stage.place(context, 2))
    await asyncio.sleep(0)
    assert [intent.client_order_id for intent in gate.intents()] == [stage.id(context, 2)]
    await stage.say(gate, *((ReplyKind.ACKED, stage.id(context, number)) for number in (1, 2)))
    assert [reply.kind for reply in await asyncio.gather(*tasks)] == [ReplyKind.ACKED] * 2
    assert all(intent.flags == 0 for intent in gate.intents())
