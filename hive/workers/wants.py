"""What the strategies of one worker want of the venues: (pair, kind) by owner, told to the feed as a whole."""

from collections.abc import Iterable

BOOK = "book"
TRADES = "trades"
MARKET = (BOOK, TRADES)  # what a strategy's order book needs

type Wish = tuple[str, str]  # pair, kind


class Wants:
    """Wishes by owner and venue. An owner is a strategy's id, "" for the worker itself."""

    def __init__(self) -> None:
        self._lists: dict[tuple[str, int], dict[Wish, None]] = {}

    def add(self, owner: str, venue: int, wishes: Iterable[Wish]) -> bool:
        """Add wishes of an owner; return whether the worker wants more of the venue than before."""
        before = self.of(venue)
        self._lists.setdefault((owner, venue), {}).update(dict.fromkeys(wishes))
        return self.of(venue) != before

    def remove(self, owner: str, venue: int, wishes: Iterable[Wish]) -> bool:
        """Take wishes of an owner back; return whether the worker wants less of the venue than before."""
        before = self.of(venue)
        own = self._lists.get((owner, venue), {})
        for wish in wishes:
            own.pop(wish, None)
        return self.of(venue) != before

    def release(self, owner: str) -> list[int]:
        """Take back all wishes of an owner; return the venues of which the worker wants less than before."""
        changed = []
        for who, venue in [key for key in self._lists if key[0] == owner]:
            before = self.of(venue)
            del self._lists[who, venue]
            if self.of(venue) != before:
                changed.append(venue)
        return changed

    def forget(self, venue: int, pair: str) -> None:
        """Drop every wish for a pair: the feed, which cannot follow it, has dropped them too."""
        for (_, where), wishes in self._lists.items():
            if where == venue:
                for wish in [one for one in wishes if one[0] == pair]:
                    del wishes[wish]

    def of(self, venue: int) -> list[Wish]:
        """Return all that this worker wants of a venue, sorted."""
        return sorted({wish for (_, where), wishes in self._lists.items() if where == venue for wish in wishes})

    def venues(self) -> list[int]:
        """Return the venues of which anything was ever wanted, ascending."""
        return sorted({venue for _, venue in self._lists})
