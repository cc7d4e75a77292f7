"""Judges what readers were told by what the exchange remembers of its own books. Pure: lists in, counts out.

    claims   what the probe read: state, update id, content, from when to when (fault_probe.Claim)
    truth    what each book was at an update id, and when each diff went out (hive.sim.tops)
    windows  from when to when which fault was at work, and how soon it can be known

A LIVE claim is wrong when its content is not the exchange's at that update id; when the exchange never had that update
id; when the feed was stopped or killed longer than KNOWN_NS ago; or when a later diff had gone out longer ago than
LATE_NS, or while a fault is at work that nobody can know of sooner (a mute connection looks like a quiet market),
LATE_NS after it can be known.

An order is wrong when it reaches the exchange while, by the truth, its book is stale: from KNOWN_NS after the first
diff that is missing went out, or after the fault can be known, until the book is LIVE and right again.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fault_probe import Claim

# A reader believes a feed that waits for a CPU for up to 200 ms (hive.shm.liveness); the rest is the way.
LATE_NS = 300_000_000
KNOWN_NS = 100_000_000
LIVE = "LIVE"


@dataclass(frozen=True, slots=True)
class Window:
    """A fault at work: until its books are right again, `hidden_ns` until it can be known at all.

    A harmless one must not be seen. `dead_ns`: when the feed was stopped or killed; from KNOWN_NS after that until
    `alive_ns`, or for ever in the epochs up to `dead_epoch`, no book may be LIVE.
    """

    name: str
    from_ns: int
    to_ns: int
    hidden_ns: int = 0
    harmless: bool = False
    dead_ns: int = 0
    alive_ns: int = 0
    dead_epoch: int = 0

    def is_dead(self, claim: Claim) -> bool:
        """Return whether a claim was made while the feed was known not to be at work."""
        if not self.dead_ns or claim.last_ns <= self.dead_ns + KNOWN_NS:
            return False
        return claim.epoch <= self.dead_epoch or claim.first_ns < self.alive_ns


@dataclass(slots=True)
class Truth:
    """One symbol's books: content by update id, and when diffs went out."""

    content: dict[int, tuple] = field(default_factory=dict)
    ids: list[int] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)

    def add(self, record: Sequence) -> None:
        """Take a record of hive.sim.tops, in order."""
        _, _, update_id, ns, published, *content = record
        self.content[update_id] = tuple(content)
        if published:
            self.ids.append(update_id)
            self.times_ns.append(ns)

    def outdated_ns(self, update_id: int) -> int | None:
        """Return when the first diff after an update id went out, None when there was none."""
        at = bisect_right(self.ids, update_id)
        return self.times_ns[at] if at < len(self.ids) else None


@dataclass(slots=True)
class Verdict:
    """What was found; the texts describe the first of each."""

    wrong_reads: int = 0
    false_stale: int = 0
    orders_on_stale: int = 0
    live_reads: int = 0
    compared: int = 0
    latest_ns: int = 0  # the oldest LIVE claim outside of faults: how long its book was outdated
    stale_spans: list[tuple[str, int, int]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep the first few descriptions."""
        if len(self.texts) < 40:
            self.texts.append(text)


def judge(
    claims: Iterable[Claim], truths: dict[str, Truth], windows: Sequence[Window], orders: Iterable[tuple[str, int]],
    since_ns: int,
) -> Verdict:
    """Judge claims made after `since_ns`, and orders (symbol, when the exchange got it, monotonic ns)."""
    verdict = Verdict()
    by_pair: dict[str, list[Claim]] = {}
    for claim in claims:
        if claim.last_ns >= since_ns:
            by_pair.setdefault(claim.pair, []).append(claim)
    arrived: dict[str, list[int]] = {}
    for symbol, ns in orders:
        arrived.setdefault(symbol, []).append(ns)
    for pair, of_pair in by_pair.items():
        of_pair.sort(key=lambda claim: claim.first_ns)
        symbol = pair.replace("-", "")
        truth = truths.get(symbol, Truth())
        for claim in of_pair:
            if claim.state == LIVE:
                _judge_live(claim, truth, windows, verdict)
        _judge_staleness(pair, of_pair, truth, windows, verdict)
        for from_ns, to_ns in stale_spans(of_pair, truth):
            _judge_orders(pair, from_ns, to_ns, arrived.get(symbol, ()), windows, verdict)
    return verdict


def _judge_live(claim: Claim, truth: Truth, windows: Sequence[Window], verdict: Verdict) -> None:
    verdict.live_reads += claim.reads
    content = truth.content.get(claim.update_id)
    mine = (claim.bid, claim.bid_qty, claim.ask, claim.ask_qty, claim.bids, claim.asks, claim.checksum)
    verdict.compared += 1
    if content is None:
        verdict.wrong_reads += claim.reads
        verdict.note(f"wrong: {claim.pair} was LIVE at update {claim.update_id}, which the exchange never showed")
        return
    if mine != content:
        verdict.wrong_reads += claim.reads
        verdict.note(f"wrong: {claim.pair} was LIVE at update {claim.update_id} with {mine}, exchange {content}")
        return
    for window in windows:
        if window.is_dead(claim):
            after_ms = (claim.last_ns - window.dead_ns) / 1e6
            verdict.wrong_reads += 1
            verdict.note(f"wrong: {claim.pair} was LIVE {after_ms:.0f} ms after {window.name}")
            return
    outdated_ns = truth.outdated_ns(claim.update_id)
    if outdated_ns is None:
        return
    late_ns = claim.last_ns - outdated_ns
    touched = [window for window in windows if window.from_ns <= claim.last_ns and outdated_ns <= window.to_ns]
    if not touched:
        verdict.latest_ns = max(verdict.latest_ns, late_ns)
    if late_ns > LATE_NS + max([window.hidden_ns for window in touched], default=0):
        verdict.wrong_reads += max(1, min(claim.reads, late_ns // 1_000_000))
        during = ", ".join(window.name for window in touched) or "no fault"
        verdict.note(f"wrong: {claim.pair} was LIVE {late_ns / 1e6:.0f} ms after it was outdated, during {during}")


def _judge_staleness(
    pair: str, claims: list[Claim], truth: Truth, windows: Sequence[Window], verdict: Verdict
) -> None:
    """Count stretches that were not LIVE and that no fault excuses, though the feed may have been late indeed."""
    began_ns, states, late_ns = 0, [], 0
    for claim in [*claims, None]:
        if claim is not None and claim.state != LIVE:
            if not began_ns:
                began_ns = claim.first_ns
                late_ns = max(0, began_ns - (truth.outdated_ns(claim.update_id) or began_ns))
            states.append(claim.state)
            ended_ns = claim.last_ns
        elif began_ns:
            excused = any(
                not window.harmless and window.from_ns <= ended_ns and began_ns <= window.to_ns for window in windows
            )
            if not excused:
                verdict.false_stale += 1
                during = ", ".join(one.name for one in windows if one.from_ns <= ended_ns and began_ns <= one.to_ns)
                lasted_ms = (ended_ns - began_ns) / 1e6
                verdict.note(
                    f"false stale: {pair} was {'/'.join(dict.fromkeys(states))} for {lasted_ms:.1f} ms during "
                    f"{during or 'no fault'}; by the truth it was {late_ns / 1e6:.0f} ms late when that began"
                )
            began_ns, states = 0, []


def stale_spans(claims: list[Claim], truth: Truth) -> list[tuple[int, int]]:
    """Return from when to when a book was not what the exchange had, or not LIVE, by the truth; short ones left out."""
    spans = []
    began_ns = 0
    for claim in claims:
        outdated_ns = truth.outdated_ns(claim.update_id)
        if claim.state == LIVE and (outdated_ns is None or outdated_ns > claim.first_ns):
            if began_ns and claim.first_ns - began_ns > KNOWN_NS:
                spans.append((began_ns, claim.first_ns))
            began_ns = 0
            if outdated_ns is not None and outdated_ns < claim.last_ns:
                began_ns = outdated_ns
        elif not began_ns:
            began_ns = claim.first_ns if claim.state != LIVE or outdated_ns is None else outdated_ns
    if began_ns and claims[-1].last_ns - began_ns > KNOWN_NS:
        spans.append((began_ns, claims[-1].last_ns))
    return spans


def _judge_orders(
    pair: str, from_ns: int, to_ns: int, arrived: Iterable[int], windows: Sequence[Window], verdict: Verdict
) -> None:
    """Count orders that came while the book was stale and that could be known."""
    touched = [one for one in windows if one.from_ns <= to_ns and from_ns <= one.to_ns]
    known_ns = from_ns + KNOWN_NS + max([one.hidden_ns for one in touched], default=0)
    verdict.stale_spans.append((pair, from_ns, to_ns))
    for ns in arrived:
        if known_ns < ns < to_ns:
            verdict.orders_on_stale += 1
            during = ", ".join(one.name for one in touched) or "no fault"
            after_ms = (ns - from_ns) / 1e6
            verdict.note(f"order: {pair}, {after_ms:.0f} ms after its book was stale, during {during}")
