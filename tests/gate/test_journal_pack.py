"""The bytes of records: an order comes back from its tail, and what does not fit is refused and never cut."""

import random
import struct
from decimal import Decimal
from zlib import crc32

import pytest

from hive.gate.journal_format import RECORD_BYTES, TAIL_BYTES, Kind, rebuild
from hive.gate.journal_pack import pack_order, records
from hive.gate.order import Order, State
from hive.shm.errors import NotRepresentable
from hive.shm.messages import IntentKind, OrderType, Side, TimeInForce

WALL_NS, AGE_NS = 1_700_000_000_123_456_789, 12_345


def made(rng: random.Random, **facts: object) -> Order:
    def some(alphabet: str, most: int) -> str:
        return "".join(rng.choices(alphabet, k=rng.randint(1, most)))

    return Order(
        **{
            "client_order_id": some("abc-XYZ019", 36),
            "pair": rng.choice(("BTC-USDT", "币-USDT", "A" * 19 + "-USDT")),
            "symbol": rng.choice(("BTCUSDT", "币USDT", "A" * 24)),
            "tag": some("abcde", 5),
            "origin": rng.choice(list(IntentKind)),
            "side": rng.choice(list(Side)),
            "order_type": rng.choice(list(OrderType)),
            "tif": rng.choice(list(TimeInForce)),
            "price": rng.choice((None, Decimal(rng.randrange(1, 2**63)).scaleb(rng.randint(-30, 30)))),
            "amount": Decimal(rng.randrange(1, 2**63)).scaleb(rng.randint(-30, 30)),
            "worker_epoch": rng.randrange(2**32),
            "created_ns": 0,
            "state": rng.choice((State.UNKNOWN, State.ACKED)),
            "exchange_order_id": rng.choice(("", "1", "9" * 24)),
            "executed": Decimal(rng.randrange(2**63)).scaleb(rng.randint(-30, 30)),
            "book_epoch": rng.randrange(2**32),
            **facts,
        }
    )


def back(tail: bytes) -> Order:
    order = rebuild([tail], lambda wall_ns: wall_ns - WALL_NS + AGE_NS)
    assert order is not None
    return order


def test_an_order_comes_back_from_its_tail():
    rng = random.Random(3)
    for _ in range(2_000):
        order = made(rng)
        kind = rng.choice((Kind.SENT, Kind.ADOPTED))
        tail = pack_order(kind, order, AGE_NS, WALL_NS)
        assert len(tail) == TAIL_BYTES
        assert int.from_bytes(tail[:4], "little") == crc32(tail[4:])
        found = back(tail)
        for name in (
            "client_order_id", "pair", "symbol", "tag", "origin", "side", "order_type", "tif", "price", "amount",
            "worker_epoch", "exchange_order_id", "executed", "book_epoch",
        ):  # fmt: skip
            assert getattr(found, name) == getattr(order, name), name
        assert found.created_ns == 0
        assert found.state is (State.SENT if kind is Kind.SENT else order.state)


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        ({"client_order_id": "a" * 37}, "client_order_id must be at most 36 bytes without NUL, was 'aaa"),
        ({"client_order_id": "a\0b"}, r"client_order_id must be at most 36 bytes without NUL, was 'a\\x00b'"),
        ({"pair": "币" * 9}, "pair must be at most 24 bytes"),
        ({"symbol": "A" * 25}, "symbol must be at most 24 bytes"),
        ({"tag": "abcdef"}, "tag must be at most 5 bytes"),
        ({"exchange_order_id": "9" * 25}, "exchange_order_id must be at most 24 bytes"),
        ({"worker_epoch": 2**32}, "a record's numbers must fit their fields: "),
        ({"book_epoch": -1}, "a record's numbers must fit their fields: "),
        ({"amount": Decimal("NaN")}, "a decimal must be finite, was NaN"),
        ({"price": Decimal(2**63)}, "a decimal must fit 63 bits"),
        ({"executed": Decimal("0." + "1" * 30)}, "a decimal must fit 63 bits"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_name_rule_and_value(facts, rule):
    order = made(random.Random(4), **facts)
    with pytest.raises(NotRepresentable, match=rule):
        pack_order(Kind.SENT, order, AGE_NS, WALL_NS)


def test_records_are_numbered_on_through_tails_and_whole_stories():
    tails = [bytes([number]) * TAIL_BYTES for number in range(7)]
    expected = b"".join(struct.pack("<Q", 2**40 + number) + tail for number, tail in enumerate(tails))
    assert records(2**40, tails) == expected
    assert records(2**40, [b"".join(tails[:3]), tails[3], b"", b"".join(tails[4:])]) == expected
    assert len(expected) == 7 * RECORD_BYTES
    assert records(0, []) == b""


def test_no_record_is_made_of_half_a_tail():
    with pytest.raises(ValueError, match="tails must be of 184 bytes, were 183 bytes"):
        records(0, [bytes(TAIL_BYTES), bytes(TAIL_BYTES - 1)])
