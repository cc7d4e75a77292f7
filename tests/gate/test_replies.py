"""Replies that the gate makes without a ledger."""

from decimal import Decimal

import pytest

from hive.gate import replies
from hive.shm.decimals import whole
from hive.shm.messages import Intent, IntentKind, Reply, unpack
from hive.shm.refusals import Refusal


@pytest.mark.parametrize(
    ("kind", "told"), [("PLACE", "REJECTED"), ("QUERY", "REJECTED"), ("CANCEL", "CANCEL_FAILED")]
)
def test_a_refused_intent_is_answered_in_the_kind_that_its_sender_waits_for(kind, told):
    reply = replies.refused(Intent(IntentKind[kind], 3, "BTC-USDT", "an order"), Refusal.INVALID, "why")
    assert (reply.kind.name, reply.venue, reply.client_order_id) == (told, 3, "an order")
    assert (reply.code, reply.text) == (Refusal.INVALID, "why")


def test_a_balance_of_thirty_digits_arrives_exactly():
    free, locked = Decimal("123456789012.345678901234567891"), Decimal("-0.000000000000000001")
    reply = unpack(replies.balance(1, "WEI", free, locked, tag="abcde").pack())
    assert isinstance(reply, Reply)
    assert (reply.client_order_id, reply.fee_asset) == ("abcde", "WEI")
    assert (whole(reply.amount, reply.price), whole(reply.cumulative, reply.fee)) == (free, locked)
