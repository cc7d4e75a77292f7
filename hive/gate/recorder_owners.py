"""Whose rows go where: every strategy that the recorder was ever told of, kept on the disk.

A strategy is told to the recorder before it can place an order, so an order's tag leads to its database even when the
strategy, or the recorder, is long gone by the time at which the order's records are read.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hive.gate.journal_position import write_whole


@dataclass(frozen=True, slots=True)
class Owner:
    """A strategy, in the words of its rows.

    Attributes:
        id: names its database; tag: in its client order ids
        strategy, config_file_path: the columns of these names
        fees: how Hummingbot treats fees, by market and side: {"binance": {"BUY": "AddedToCost", "SELL": ...}}
    """

    id: str
    tag: str
    strategy: str
    config_file_path: str
    fees: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of_tag(cls, tag: str) -> "Owner":
        """Return who stands for a strategy that nobody has told of: its rows must be somewhere."""
        name = f"tag-{tag}"
        return cls(name, tag, name, f"{name}.yml")


class Owners:
    """The strategies by id and by tag.

    Args:
        path: of the file that keeps them; what cannot be read of it is told again when a strategy starts
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by_id: dict[str, Owner] = {}
        self._by_tag: dict[str, Owner] = {}
        self._saved = True
        for entry in _entries(path):
            self._put(Owner(**entry))

    def tell(self, entry: Mapping[str, Any]) -> Owner:
        """Enter a strategy, or what has changed of it; KeyError when a value is missing."""
        names = ("id", "tag", "strategy", "config_file_path", "fees")
        owner = Owner(**{name: entry[name] for name in names})
        if self._by_id.get(owner.id) != owner:
            self._put(owner)
            self._saved = False
        return owner

    def save(self) -> None:
        """Put all on the disk, when that is not the case; OSError when it cannot be done."""
        if not self._saved:
            text = json.dumps([asdict(owner) for owner in self._by_id.values() if owner.tag], indent=1)
            write_whole(self._path, text.encode())
            self._saved = True

    def of(self, strategy: str) -> Owner:
        """Return a strategy by its id; of one that nobody has told of only that is known."""
        owner = self._by_id.get(strategy)
        if owner is None:
            owner = self._by_id[strategy] = Owner(strategy, "", strategy, f"{strategy}.yml")
        return owner

    def of_tag(self, tag: str) -> Owner:
        """Return the strategy whose orders carry a tag."""
        owner = self._by_tag.get(tag)
        if owner is None:
            owner = Owner.of_tag(tag)
            self._put(owner)
        return owner

    def _put(self, owner: Owner) -> None:
        self._by_id[owner.id] = self._by_tag[owner.tag] = owner


def _entries(path: Path) -> list[dict[str, Any]]:
    names = {"id", "tag", "strategy", "config_file_path", "fees"}
    try:
        entries = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return []
    return [entry for entry in entries if isinstance(entry, dict) and set(entry) == names]
