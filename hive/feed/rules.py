"""The exchange rules of a venue's instruments: read, read again, and what changed between."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace

from hive.feed.errors import VenueRefused
from hive.feed.following import Followed, Following
from hive.feed.metrics import VenueMetrics
from hive.feed.rest import RestClient
from hive.feed.venue import Venue
from hive.shm.instruments import InstrumentRules

UNKNOWN_SYMBOL = -1121
ILLEGAL_SYMBOL = -1100  # "BTC/USDT"
_SHOWN = [one.name for one in fields(InstrumentRules) if one.name not in ("pair", "symbol", "base", "quote", "trading")]


async def read_rules(venue: Venue, rest: RestClient, symbols: Sequence[str]) -> dict[str, InstrumentRules]:
    """Return the rules of those of `symbols` that the venue lists; others may be among them.

    One unknown or illegal name makes the venue refuse; then all rules are read. So would one that stands twice: two
    pairs may have one symbol, "BTC-USDT" and "BTCUS-DT". Raises VenueRefused or MalformedMessage.
    """
    found: dict[str, InstrumentRules] = {}
    try:
        for request in venue.rules_requests(list(dict.fromkeys(symbols))):
            found.update(venue.rules(await rest.get(request)))
    except VenueRefused as refusal:
        if refusal.code not in (UNKNOWN_SYMBOL, ILLEGAL_SYMBOL):
            raise
        found = venue.rules(await rest.get(venue.all_rules_request()))
    return found


def changes(before: InstrumentRules, after: InstrumentRules) -> list[str]:
    """Return what changed but for `trading`, as "tick 0.01 -> 0.1"."""
    return [
        f"{name} {getattr(before, name)} -> {getattr(after, name)}"
        for name in _SHOWN
        if getattr(before, name) != getattr(after, name)
    ]


class RulesWatch:
    """Carries what the venue's rules say now to the instruments that are followed; `tell` is given (level, text)."""

    def __init__(self, following: Following, metrics: VenueMetrics, tell: Callable[[str, str], None]) -> None:
        self._following = following
        self._metrics = metrics
        self._tell = tell

    def update(self, found: Mapping[str, InstrumentRules], symbols: Collection[str]) -> None:
        """Take over the rules found for `symbols`; one that is missing is not listed any more."""
        for one in self._following:
            if one.rules.symbol in symbols:
                self._update(one, found.get(one.rules.symbol))

    def _update(self, one: Followed, after: InstrumentRules | None) -> None:
        before = one.rules
        pair = before.pair
        why = "halted"
        if after is None:
            why = "not listed any more"
            after = replace(before, trading=False)
        one.rules = after
        one.instrument.set_rules(after)
        if before.trading and not after.trading:
            self._metrics.halts.inc()
            self._tell("warning", f"{pair} {why}")
        elif after.trading and not before.trading:
            self._tell("info", f"{pair} trades again")
        changed = changes(before, after)
        if changed:
            self._metrics.rules_changes.inc()
            self._tell("warning", f"{pair}: the rules changed: {', '.join(changed)}")
