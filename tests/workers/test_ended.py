"""Ended orders: the reply comes back as it was, and only so many are kept."""

from decimal import Decimal

import pytest

from hive.shm.messages import TEXT_MAX, Reply, ReplyKind, unpack
from hive.workers.ended import EndedOrders

REPLIES = [
    Reply(ReplyKind.CANCELLED, 0, "hv-a-1"),
    Reply(ReplyKind.REJECTED, 3, "hv-a-2", code=-2010, text="Account has insufficient balance."),
    Reply(ReplyKind.REJECTED, 3, "hv-a-3", code=-1, text="x" * TEXT_MAX),
    Reply(ReplyKind.EXPIRED, 1, "hv-a-4", "17", cumulative=Decimal("0.00"), wall_ns=5, sent_ns=6),
    Reply(ReplyKind.FILLED, 255, "hv-" + "b" * 33, "9" * 24, price=Decimal("61234.50"), amount=Decimal("1E+3"),
          cumulative=Decimal("0.00200"), fee=Decimal("-0E-8"), fee_asset="A23456789012", trade_id=2**62, maker=True,
          wall_ns=2**60, sent_ns=2**61),
]  # fmt: skip


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: reply.client_order_id)
def test_a_reply_comes_back_as_the_gate_sent_it(reply):
    sent = unpack(reply.pack())
    ended = EndedOrders()
    ended.add(sent)
    assert reply.client_order_id in ended
    assert repr(ended.get(reply.client_order_id)) == repr(sent)  # digits that say nothing, as of 0.00, included


def test_an_order_that_is_not_over_has_no_reply():
    ended = EndedOrders()
    ended.add(REPLIES[0])
    assert "hv-a-2" not in ended
    assert ended.get("hv-a-2") is None


def test_the_latest_are_kept_and_the_oldest_forgotten():
    ended = EndedOrders(kept=3)
    for number in range(10):
        ended.add(Reply(ReplyKind.FILLED, 0, f"hv-a-{number}"))
    assert len(ended) == 3
    assert [number for number in range(10) if f"hv-a-{number}" in ended] == [7, 8, 9]
