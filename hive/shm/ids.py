"""Client order ids: which fleet and which strategy an order belongs to, readable from the id alone.

    hv <fleet id, 5> <strategy tag, 5> - <what the strategy's runtime appends>      at most 36 of [A-Za-z0-9-]

A fleet id and a tag are 25 bits of BLAKE2s in lowercase base32, so a collision among 1,000 strategies has odds of
about 1 in 67: the supervisor refuses a fleet with two equal tags.
"""

import base64
import hashlib
import re

ORDER_ID_MAX = 36
PREFIX_LENGTH = 13
_ID = re.compile(r"hv([a-z2-7]{5})([a-z2-7]{5})-[A-Za-z0-9-]*")


def fleet_id(name: str) -> str:
    """Return the 5 characters of [a-z2-7] that name a fleet."""
    return _tag(b"fleet", name)


def strategy_tag(strategy_id: str) -> str:
    """Return the 5 characters of [a-z2-7] that name a strategy within its fleet."""
    return _tag(b"strat", strategy_id)


def order_prefix(fleet: str, tag: str) -> str:
    """Return the 13 characters that every client order id of the strategy starts with."""
    prefix = f"hv{fleet}{tag}-"
    if not _ID.fullmatch(prefix):
        raise ValueError(f"a fleet id and a tag must be 5 characters of [a-z2-7] each, was {fleet!r} and {tag!r}")
    return prefix


def parse_order_id(client_order_id: str) -> tuple[str, str] | None:
    """Return (fleet id, tag), or None when the id is not one of ours."""
    if len(client_order_id) > ORDER_ID_MAX:
        return None
    match = _ID.fullmatch(client_order_id)
    return (match[1], match[2]) if match else None


def _tag(person: bytes, text: str) -> str:
    digest = hashlib.blake2s(text.encode(), digest_size=4, person=person).digest()
    return base64.b32encode(digest).decode("ascii").lower()[:5]
