"""Who wants what of a venue: reference counts of (pair, kind), and how long what nobody wants is kept.

    update(who, wants) ... -> current(now): what is to be followed; next_ns: when that changes by itself

A wish list is the whole of what `who` wants, so telling it twice changes nothing. What the last one left is followed
for `linger_ns` more, so that a strategy that restarts finds its books as they were. Pure: time is a parameter.
"""

from collections.abc import Iterable

BOOK = "book"
TRADES = "trades"
TOPS = "tops"
CANDLES = "candles:"  # followed by the interval: "candles:1m"

type Wish = tuple[str, str]  # pair, kind


def known_kind(kind: str) -> bool:
    """Return whether `kind` is one that a feed can follow."""
    return kind in (BOOK, TRADES, TOPS) or (kind.startswith(CANDLES) and len(kind) > len(CANDLES))


class Demand:
    """Wish lists by owner, and the wishes that linger."""

    def __init__(self, linger_ns: int) -> None:
        self._linger_ns = linger_ns
        self._lists: dict[str, dict[Wish, None]] = {}  # in their order: who comes first is served first
        self._counts: dict[Wish, int] = {}
        self._until_ns: dict[Wish, int] = {}  # wanted by nobody any more, followed until then

    def update(self, who: str, wants: Iterable[Wish], now_ns: int) -> list[Wish]:
        """Replace the wish list of `who`; return what is new in it, whoever else wants that already."""
        before = self._lists.get(who, {})
        after = dict.fromkeys(wants)
        new = [wish for wish in after if wish not in before]
        for wish in new:
            self._counts[wish] = self._counts.get(wish, 0) + 1
            self._until_ns.pop(wish, None)
        for wish in before.keys() - after.keys():
            left = self._counts[wish] - 1
            if left:
                self._counts[wish] = left
            else:
                del self._counts[wish]
                self._until_ns[wish] = now_ns + self._linger_ns
        if after:
            self._lists[who] = after
        else:
            self._lists.pop(who, None)
        return new

    def count(self, wish: Wish) -> int:
        """Return how many owners want it now."""
        return self._counts.get(wish, 0)

    def refuse(self, pair: str) -> None:
        """Forget every wish for a pair that cannot be followed; who asks again is new."""
        for who, wishes in list(self._lists.items()):
            left = {wish: None for wish in wishes if wish[0] != pair}
            if left:
                self._lists[who] = left
            else:
                del self._lists[who]
        for wishes in (self._counts, self._until_ns):
            for wish in [one for one in wishes if one[0] == pair]:
                del wishes[wish]

    def current(self, now_ns: int) -> dict[str, set[str]]:
        """Return the kinds to follow by pair: what is wanted, and what lingers."""
        for wish in [one for one, until_ns in self._until_ns.items() if until_ns <= now_ns]:
            del self._until_ns[wish]
        kinds: dict[str, set[str]] = {}
        for pair, kind in (*self._counts, *self._until_ns):
            kinds.setdefault(pair, set()).add(kind)
        return kinds

    @property
    def next_ns(self) -> int | None:
        """When the next wish has lingered long enough; None when none lingers."""
        return min(self._until_ns.values(), default=None)
