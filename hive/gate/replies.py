"""Replies that follow from no order's story: refused intents, and balances."""

from decimal import Decimal

from hive.shm.decimals import halves
from hive.shm.messages import Intent, IntentKind, Reply, ReplyKind


def refused(intent: Intent, code: int, text: str) -> Reply:
    """Return what the sender of an intent is told that is not carried out."""
    kind = ReplyKind.CANCEL_FAILED if intent.kind is IntentKind.CANCEL else ReplyKind.REJECTED
    return Reply(kind, intent.venue, intent.client_order_id, code=code, text=text)


def balance(venue: int, asset: str, free: Decimal, locked: Decimal, tag: str = "") -> Reply:
    """Return what is told of an asset of a venue's account, or of the sub-account of the strategy `tag`."""
    high, low = halves(free)
    locked_high, locked_low = halves(locked)
    return Reply(
        ReplyKind.BALANCE,
        venue,
        tag,
        price=low,
        amount=high,
        cumulative=locked_high,
        fee=locked_low,
        fee_asset=asset,
    )
