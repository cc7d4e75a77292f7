"""What separates two descriptions of a fleet: the one that runs and the one that is wanted.

    added, removed       strategies that one of them lacks
    restarted            their configuration has changed: they start anew, with it
    adjusted             only what the gate keeps of them has (quota, risk): they run on
    refused              what cannot change while the fleet runs, by key

Pure: two fleets in, their difference out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from hive.fleet import FleetConfig, StrategyConfig

KEPT_BY_THE_GATE = frozenset({"quota", "risk"})
OF_NO_EFFECT = frozenset({"weight", "config_file"})  # for where it is placed, and for messages
NOT_COMPARED = frozenset({"strategies", "notices", "path"})


@dataclass(frozen=True, slots=True)
class Difference:
    """The steps from one fleet to the other; `changed` names the keys of each strategy that differ."""

    added: tuple[StrategyConfig, ...] = ()
    removed: tuple[str, ...] = ()
    restarted: tuple[StrategyConfig, ...] = ()
    adjusted: tuple[StrategyConfig, ...] = ()
    refused: tuple[str, ...] = ()
    changed: Mapping[str, tuple[str, ...]] | None = None

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.restarted or self.adjusted or self.refused)

    def lines(self) -> list[str]:
        """Return a line for each step, as an operator reads it."""
        changed = self.changed or {}
        return [
            *(f"remove {one}" for one in self.removed),
            *(f"restart {one.id}: {', '.join(changed.get(one.id, ()))}" for one in self.restarted),
            *(f"adjust {one.id}: {', '.join(changed.get(one.id, ()))}" for one in self.adjusted),
            *(f"add {one.id}" for one in self.added),
        ]


def difference(running: FleetConfig, wanted: FleetConfig) -> Difference:
    """Return what has to be done so that `running` becomes `wanted`."""
    have = {one.id: one for one in running.strategies}
    want = {one.id: one for one in wanted.strategies}
    changed = {key: keys for key, one in want.items() if key in have and (keys := _changed(have[key], one))}
    restarted = {key for key, keys in changed.items() if not KEPT_BY_THE_GATE.issuperset(keys)}
    return Difference(
        added=tuple(one for key, one in want.items() if key not in have),
        removed=tuple(key for key in have if key not in want),
        restarted=tuple(want[key] for key in changed if key in restarted),
        adjusted=tuple(want[key] for key in changed if key not in restarted),
        refused=tuple(_differing(running, wanted, "", NOT_COMPARED)),
        changed=changed,
    )


def _changed(have: StrategyConfig, want: StrategyConfig) -> tuple[str, ...]:
    names = (one.name for one in fields(StrategyConfig))
    return tuple(name for name in names if name not in OF_NO_EFFECT and getattr(have, name) != getattr(want, name))


def _differing(have: Any, want: Any, place: str, left_out: frozenset[str] = frozenset()) -> list[str]:
    """Return the keys, with dots between, under which two values of a fleet differ."""
    if have == want:
        return []
    if is_dataclass(have) and type(have) is type(want):
        names = [one.name for one in fields(have) if one.name not in left_out]
        ours, theirs = ({name: getattr(side, name) for name in names} for side in (have, want))
    elif isinstance(have, tuple) and all(hasattr(one, "name") for one in (*have, *want)):  # venues
        ours, theirs = ({one.name: one for one in side} for side in (have, want))
    else:
        return [place]
    prefix = f"{place}." if place else ""
    return [
        key
        for name in dict.fromkeys((*ours, *theirs))
        for key in _differing(ours.get(name), theirs.get(name), prefix + name)
    ]
