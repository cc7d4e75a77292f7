"""How far an account has moved without its strategies: deposits, trades by hand, dust, fees of others.

    drift of an asset = (account - what strategies have now) - the same when it was first looked at

It is shown, and never spread over strategies. Balances and fills are told apart from each other, so that one look may
find a fill that the balance does not have yet.

Notes, for the journal: drift/ASSET -> what the account had beyond its strategies at the first look.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from hive.gate.exact import ZERO, subtract


class CapitalDrift:
    """The drift of one account.

    Args:
        assets: that strategies were given
        notes: what the journal gave back
        anew: the configuration gives out other amounts than before, so that counting begins again
    """

    def __init__(self, assets: Iterable[str], notes: Mapping[str, str], anew: bool) -> None:
        self.by_asset: dict[str, Decimal] = {}
        self._assets = sorted(assets)
        self._first: dict[str, Decimal] = {}
        for asset in self._assets:
            note = "" if anew else notes.get(f"drift/{asset}", "")
            if note:
                self._first[asset] = Decimal(note)

    def begin(self, assets: Iterable[str]) -> None:
        """Count anew, of these assets: other amounts were given out."""
        self._assets = sorted(assets)
        self._first.clear()

    def look(self, beyond: Mapping[str, Decimal]) -> dict[str, str]:
        """Take what the account has beyond its strategies, by asset; returns the notes that are new."""
        notes = {}
        for asset in self._assets:
            now = beyond.get(asset, ZERO)
            if asset not in self._first:
                self._first[asset] = now
                notes[f"drift/{asset}"] = str(now)
            self.by_asset[asset] = subtract(now, self._first[asset])
        return notes
