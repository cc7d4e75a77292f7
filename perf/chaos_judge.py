"""Judges a chaos run: what the exchange recorded against what each strategy was told. Pure: two records in, faults out.

    exchange's ledger    every order, its fills and how it ended
    diaries              every order that a strategy wanted, and every reply, over all its lives (chaos_diary.py)

lost             Of an order at the exchange: nothing was told, a fill was not told, its end was not told, it is open.
                 Of one that is not there: it was told to live, or a strategy that lives on got no final word.
doubled          Two orders of one id; an order that nobody wanted (another id for the same wish); a fill that the
                 exchange does not have, or another amount; a fill told twice in the life that placed its order, which
                 the worker's own look at trade ids must have dropped.
misattributed    A reply with another strategy's tag, or about an order that the strategy never wanted; an order with
                 the tag of no strategy.

A fill may come again in a later life of its worker: that one could not know what the dead one took. Such are counted
apart (`again`); Hummingbot's tracker drops them by trade id.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from chaos_diary import DiaryReader, Story, Told
from hive.shm.ids import parse_order_id

END = {"FILLED": "FILLED", "CANCELED": "CANCELLED", "EXPIRED": "EXPIRED", "EXPIRED_IN_MATCH": "EXPIRED"}
ENDS = frozenset({"FILLED", "CANCELLED", "EXPIRED", "REJECTED"})
NEVER_LIVED = frozenset({"REJECTED", "CANCELLED"})


@dataclass(slots=True)
class Verdict:
    """One line for each fault; `again` counts fills that came again in a later life."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    misattributed: list[str] = field(default_factory=list)
    orders: int = 0
    fills: int = 0
    never_sent: int = 0
    again: int = 0

    @property
    def clean(self) -> bool:
        """Whether there is no fault."""
        return not (self.lost or self.doubled or self.misattributed)


def judge(
    recorded: Iterable[Mapping[str, Any]], diaries: Mapping[str, DiaryReader], tags: Mapping[str, str], fleet: str
) -> Verdict:
    """Return the faults of a settled run.

    Args:
        recorded: the orders of the exchange's ledger, each with its fills.
        diaries: by strategy.
        tags: of the strategies.
        fleet: the fleet's id.
    """
    verdict = Verdict()
    owners = {tag: name for name, tag in tags.items()}
    at_exchange: dict[str, Mapping[str, Any]] = {}
    for order in recorded:
        name = order["clientOrderId"]
        verdict.orders += 1
        if name in at_exchange:
            verdict.doubled.append(f"{name}: the exchange has it twice, as {_both(at_exchange[name], order)}")
            continue
        at_exchange[name] = order
        parsed = parse_order_id(name)
        owner = owners.get(parsed[1]) if parsed is not None and parsed[0] == fleet else None
        if owner is None:
            verdict.misattributed.append(f"{name}: at the exchange, with the tag of no strategy")
            continue
        story = diaries[owner].stories.get(name)
        if story is None or not story.life:
            verdict.doubled.append(f"{name}: at the exchange as {order['orderId']}, and {owner} never wanted it")
            continue
        _recorded_order(verdict, order, story, _Tale(diaries[owner].lives))
    for owner, diary in diaries.items():
        for story in diary.stories.values():
            if story.told and (parse_order_id(story.order) != (fleet, tags[owner]) or not story.life):
                tale = _Tale(diary.lives)(story)
                verdict.misattributed.append(f"{story.order}: told to {owner}, which never wanted it; {tale}")
            if story.life and story.order not in at_exchange:
                _unrecorded_order(verdict, story, diary.lives[-1], _Tale(diary.lives))
    return verdict


def _recorded_order(verdict: Verdict, order: Mapping[str, Any], story: Story, tale: "_Tale") -> None:
    name = story.order
    if story.refused:
        verdict.doubled.append(f"{name}: at the exchange, and its worker had refused it; {tale(story)}")
    if not story.told:
        verdict.lost.append(f"{name}: is {order['status']} at the exchange; {tale(story)}")
        return
    verdict.fills += len(order["fills"])
    real = {fill["id"]: Decimal(fill["qty"]) for fill in order["fills"]}
    told = [one for one in story.told if one.kind == "FILL"]
    for trade, amount in real.items():
        amounts = {one.amount for one in told if one.trade_id == trade}
        if not amounts:
            verdict.lost.append(f"{name}: fill {trade} of {amount} was not told; {tale(story)}")
        elif amounts != {amount}:
            verdict.doubled.append(f"{name}: fill {trade} is of {amount}; {tale(story)}")
    _fills_told(verdict, story, told, real, tale)
    ends = [one.kind for one in story.told if one.kind in ENDS]
    if order["status"] not in END:
        verdict.lost.append(f"{name}: is {order['status']} at the exchange and was not ended; {tale(story)}")
    elif not ends or ends[-1] != END[order["status"]]:
        verdict.lost.append(f"{name}: ended as {order['status']}, which was not told last; {tale(story)}")


def _fills_told(
    verdict: Verdict, story: Story, told: list[Told], real: Mapping[int, Decimal], tale: "_Tale"
) -> None:
    seen: set[int] = set()
    for one in told:
        if one.trade_id not in real:
            verdict.doubled.append(f"{story.order}: the exchange has no fill {one.trade_id}; {tale(story)}")
        elif one.trade_id in seen:
            if one.life == story.life:
                verdict.doubled.append(f"{story.order}: fill {one.trade_id} was told twice; {tale(story)}")
            else:
                verdict.again += 1
        seen.add(one.trade_id)


def _unrecorded_order(verdict: Verdict, story: Story, last_life: int, tale: "_Tale") -> None:
    """Judge an order that the exchange never had."""
    verdict.never_sent += 1
    ends = [one.kind for one in story.told if one.kind in ENDS]
    if any(one.kind == "FILL" for one in story.told):
        verdict.doubled.append(f"{story.order}: filled, and the exchange never had it; {tale(story)}")
    elif ends and ends[-1] not in NEVER_LIVED:
        verdict.lost.append(f"{story.order}: said to have lived, and the exchange never had it; {tale(story)}")
    elif not ends and any(one.kind == "ACKED" for one in story.told):
        verdict.lost.append(f"{story.order}: acknowledged, and the exchange never had it; {tale(story)}")
    elif not ends and not story.refused and story.life == last_life:
        verdict.lost.append(f"{story.order}: no final word on it; {tale(story)}")


def _both(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    return f"{first['orderId']} ({first['status']}) and {second['orderId']} ({second['status']})"


@dataclass(frozen=True, slots=True)
class _Tale:
    """Tells an order's story: times in ms since it was placed; a * marks what was told in a later life."""

    lives: Sequence[int]

    def __call__(self, story: Story) -> str:
        told = ", ".join(self._word(story, one) for one in story.told) or "nothing"
        after = [life for life in self.lives if life > story.life][:1]
        next_life = f"; next life at {_ms(story, after[0])}" if story.life and after else ""
        return f"placed at {story.placed_ns}, told {told}{next_life}"

    @staticmethod
    def _word(story: Story, one: Told) -> str:
        trade = f" {one.trade_id}" if one.trade_id else ""
        code = f" ({one.code} {one.text})" if one.code or one.text else ""
        return f"{one.kind}{trade}{code} at {_ms(story, one.ns)}{'*' if one.life != story.life else ''}"


def _ms(story: Story, ns: int) -> int:
    return (ns - story.placed_ns) // 1_000_000
