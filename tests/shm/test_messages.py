"""Intents, replies and their decimals: exact, or refused."""

import random
import string
from decimal import Decimal, localcontext

import pytest

from hive.shm.decimals import from_mantissa, to_mantissa
from hive.shm.errors import NotRepresentable
from hive.shm.messages import (
    MAYBE_SENT,
    MESSAGE_BYTES,
    Intent,
    IntentKind,
    OrderType,
    Reply,
    ReplyKind,
    Side,
    TimeInForce,
    unpack,
)

TEXT = string.ascii_letters + string.digits + "-_"


def text(rng: random.Random, size: int) -> str:
    return "".join(rng.choices(TEXT, k=rng.randint(0, size)))


def decimal(rng: random.Random) -> Decimal | None:
    if rng.random() < 0.1:
        return None
    return Decimal(rng.randint(-(2**63) + 1, 2**63 - 1) >> rng.randint(0, 62)).scaleb(rng.randint(-40, 40))


def signed(rng: random.Random) -> int:
    return rng.randint(-(2**63), 2**63 - 1) >> rng.randint(0, 62)


def intent(rng: random.Random) -> Intent:
    return Intent(
        kind=rng.choice(list(IntentKind)),
        venue=rng.randint(0, 255),
        pair=text(rng, 24),
        client_order_id=text(rng, 36),
        side=rng.choice(list(Side)),
        order_type=rng.choice(list(OrderType)),
        tif=rng.choice(list(TimeInForce)),
        price=decimal(rng),
        amount=decimal(rng),
        book_epoch=rng.randint(0, 2**32 - 1),
        book_version=signed(rng),
        created_ns=signed(rng),
        flags=rng.choice([0, MAYBE_SENT]),
    )


def reply(rng: random.Random) -> Reply:
    return Reply(
        kind=rng.choice(list(ReplyKind)),
        venue=rng.randint(0, 255),
        client_order_id=text(rng, 36),
        exchange_order_id=text(rng, 24),
        code=rng.randint(-(2**31), 2**31 - 1),
        text=text(rng, 72),
        price=decimal(rng),
        amount=decimal(rng),
        cumulative=decimal(rng),
        fee=decimal(rng),
        fee_asset=text(rng, 12),
        trade_id=signed(rng),
        maker=rng.random() < 0.5,
        wall_ns=signed(rng),
        sent_ns=signed(rng),
    )


def test_random_messages_come_back_equal():
    rng = random.Random(5)
    for _ in range(3000):
        for message in (intent(rng), reply(rng)):
            data = message.pack()
            assert len(data) == MESSAGE_BYTES
            assert unpack(data) == message


def test_a_decimal_keeps_its_digits_under_a_narrow_context():
    with localcontext(prec=3):
        for value in ("0.00000123456789", "123456789.123456789", "-9223372036854775807", "1E+30", "0.10", "0E-8"):
            assert str(from_mantissa(*to_mantissa(Decimal(value)))) == value


def test_trailing_zeros_are_dropped_only_where_they_would_not_fit():
    assert to_mantissa(Decimal("1.50")) == (150, -2)
    assert to_mantissa(Decimal("1000000000000.00000000")) == (1, 12)
    assert to_mantissa(Decimal("922337203685477580.70")) == (9223372036854775807, -1)
    assert to_mantissa(Decimal("5" + "0" * 100)) == (5, 100)
    assert to_mantissa(Decimal("0E-500")) == (0, -128)


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "9223372036854775808", "9.2345678901234567890", "1E-129"]
)
def test_a_decimal_that_does_not_fit_is_refused(value):
    with pytest.raises(NotRepresentable):
        Intent(IntentKind.PLACE, 0, "BTC-USDT", "x", price=Decimal(value)).pack()


def test_a_float_is_never_a_price():
    with pytest.raises(TypeError, match=r"float 0\.1"):
        Intent(IntentKind.PLACE, 0, "BTC-USDT", "x", price=0.1).pack()


@pytest.mark.parametrize(
    ("field", "value"),
    [("pair", "X" * 25), ("client_order_id", "x" * 37), ("client_order_id", "é"), ("pair", "A\0B")],
)
def test_an_id_that_does_not_fit_is_refused_by_name(field, value):
    good = {"pair": "BTC-USDT", "client_order_id": "x"}
    with pytest.raises(NotRepresentable, match=field):
        Intent(IntentKind.PLACE, 0, **{**good, field: value}).pack()


def test_prose_is_cut_and_made_ascii():
    long = Reply(ReplyKind.REJECTED, 0, "x", text="naïve " + "y" * 100)
    assert unpack(long.pack()).text == ("na?ve " + "y" * 100)[:72]


def test_final_replies_are_final():
    final = {kind for kind in ReplyKind if Reply(kind, 0).final}
    assert final == {ReplyKind.REJECTED, ReplyKind.FILLED, ReplyKind.CANCELLED, ReplyKind.EXPIRED}


def test_what_is_no_message_is_refused():
    with pytest.raises(ValueError, match="must have 224 bytes, was 3"):
        unpack(b"abc")
    with pytest.raises(ValueError, match="200 is not a valid ReplyKind"):
        unpack(bytes([200]) * 224)
