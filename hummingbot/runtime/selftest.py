"""Check, before any strategy runs, that the installed Hummingbot is the one that Hive's modules were compiled against.

Hive's compiled classes extend Hummingbot's compiled classes, so their memory layouts must agree to the byte. The
release numbers are compared first; then a known book answers known questions through Hummingbot's own compiled code.
"""

import secrets
from decimal import Decimal
from importlib import metadata
from math import isclose
from types import SimpleNamespace

import numpy as np

from hive._build_info import HUMMINGBOT_RELEASE
from hive.shm.book import BookDirectory, BookTable, books_size
from hive.shm.instruments import InstrumentRules
from hive.shm.segment import Segment, segment_name
from hive.workers.clock import CallbackCounter
from hummingbot.runtime.errors import ReleaseMismatch
from hummingbot.runtime.order_book import SharedOrderBook

ADVICE = "run ./compile in Hive's folder"
KNOWN = InstrumentRules(
    pair="BTC-USDT",
    symbol="BTCUSDT",
    base="BTC",
    quote="USDT",
    tick=Decimal("0.01"),
    step=Decimal("0.00001"),
    min_qty=Decimal("0.00001"),
    max_qty=None,
    min_notional=Decimal(5),
)


def check() -> None:
    """Raise ReleaseMismatch, with what to do, unless release and answers are as expected."""
    check_release(metadata.version("hummingbot"))
    check_book()


def check_release(installed: str) -> None:
    """Raise ReleaseMismatch unless `installed` is the release that the modules were compiled against."""
    if installed != HUMMINGBOT_RELEASE:
        raise ReleaseMismatch(
            f"hummingbot {installed} is installed, but Hive was compiled against {HUMMINGBOT_RELEASE}: {ADVICE}"
        )


def check_book() -> None:
    """Raise ReleaseMismatch unless a known book in shared memory answers through Hummingbot's compiled classes."""
    segment = Segment.create(segment_name(secrets.token_hex(4), "selftest", 1), books_size(1, 4), kind="books", epoch=1)
    try:
        answers = _answers(segment)
    finally:
        segment.close()
        segment.unlink()
    for question, (answer, expected) in answers.items():
        if not isclose(answer, expected):
            raise ReleaseMismatch(
                f"self-test: {question} of a known book must be {expected}, was {answer}: the compiled modules do not "
                f"fit the installed hummingbot {HUMMINGBOT_RELEASE}: {ADVICE}"
            )


def _answers(segment: Segment) -> dict[str, tuple[float, float]]:
    table = BookTable(segment, 1, 4)
    slot = table.add(KNOWN)
    table.writer(slot).publish(
        7, 0, 0, 0, np.array([99.0, 98.0]), np.array([1.0, 2.0]), np.array([101.0, 102.0]), np.array([3.0, 4.0])
    )
    reader = BookDirectory(segment).reader(slot)
    book = SharedOrderBook(SimpleNamespace(generation=1, reader=lambda: reader), CallbackCounter())
    return {
        "best bid": (book.get_price(False), 99.0),
        "best ask": (book.get_price(True), 101.0),
        "price for 4 to buy": (book.get_price_for_volume(True, 4.0).result_price, 102.0),
        "average price for 4 to buy": (book.get_vwap_for_volume(True, 4.0).result_price, 101.25),
        "quote for 3 to sell": (book.get_quote_volume_for_base_amount(False, 3.0).result_volume, 295.0),
        "lowest bid": ([row.price for row in book.bid_entries()][-1], 98.0),
        "update id": (book.snapshot_uid, 7),
    }
