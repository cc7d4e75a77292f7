"""Read a fleet file, check everything in it and in the files that it names, and return frozen values.

All errors of a fleet are found at once, each a line with file, place and rule:
`fleet.yml: strategies.0.shre: Extra inputs are not permitted`.

Venues are read by config_venues.py, limits by config_risk.py. Together with config_yaml.py the only reader of YAML, and
with config_models.py the only user of pydantic.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from hive import config_errors
from hive import fleet as values
from hive.config_models import NAME, STRATEGIES_MAX, Entry, File, Replay, TickOnBook
from hive.config_reader import ConfigError
from hive.config_risk import check_window, risk_of, strategy_risk_of
from hive.config_venues import VenueReader
from hive.config_yaml import YamlError, read_yaml
from hive.entries import ID_MAX, Variant, keys_meant, merged, pairs_in, readable, variants
from hive.fleet import FleetConfig, StrategyConfig
from hive.installation import UNREADABLE, Installation, check_pairs, sendable
from hive.shm import ids
from hive.texts import visible

ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{ID_MAX - 1}}}")
CONTROLLERS_TICK_MS = 1000  # of scripts with controllers, where neither they nor the fleet name an interval
BOOK_TICKS_MS = 10  # the least time before a tick because of a book, where an entry does not say it
LABELS_MAX = 80  # what a counter's labels leave for the names of a strategy and a venue together


def load_fleet(
    path: Path, *, config: Path | None = None, root: Path | None = None, name: str | None = None
) -> FleetConfig:
    """Return the fleet of a file, checked together with every file that it names.

    Args:
        path: the fleet file.
        config: a second file with any of its keys, each in one of the two only.
        root: the folder with conf/, scripts/ and controllers/; default: where the fleet file is.
        name: overrides the file's `name`.

    Raises:
        ConfigError: with every error found.
    """
    try:
        return _Loader(path, config, root, name).load()
    except OSError as error:  # of a file or folder that is named, other than that it is not there
        raise ConfigError([visible(f"{error.filename}: {error.strerror}")]) from error


def users_in(path: Path, config: Path | None) -> tuple[Any, Any]:
    """Return `user` and `gate_user` of a fleet's files, unchecked; None where they are not said or cannot be read."""
    both: dict[str, Any] = {}
    for file in filter(None, (config, path)):
        try:
            both |= read_yaml(file)
        except YamlError:
            pass  # load_fleet() says it better
    return both.get("user"), both.get("gate_user")


class _Loader:
    def __init__(self, path: Path, config: Path | None, root: Path | None, name: str | None) -> None:
        self._path = path
        self._config = config
        self._root = (root or path.parent).absolute()
        self._name = name
        self._problems: list[str] = []
        self._risk = values.Risk()
        self._ticks_are_named = False  # the fleet's own interval
        self._accounts: list[str] = []  # the venues that have one
        self._files: dict[Path, Mapping[str, Any]] = {}
        self._installations: dict[Path, Installation] = {}  # of entries with a root of their own

    def load(self) -> FleetConfig:
        file = self._sections()
        self._stop_if_wrong()
        installation = Installation(self._root, self._read, file.venues)
        if not self._root.is_dir():
            self._problem(str(self._root), "is not a folder (--root)")
        if (file.user is None) != (file.gate_user is None):
            self._problem(f"{self._path.name}: gate_user", "must be named together with user, whom strategies run as")
        self._risk = risk_of(file.risk, values.Risk())
        self._ticks_are_named = "tick_interval_ms" in file.runtime.model_fields_set
        self._accounts = [venue for venue in file.venues if not isinstance(file.venues[venue], Replay)]
        reader = VenueReader(self._path, self._root, self._risk, self._problem)
        venues = tuple(reader.read(name, venue) for name, venue in file.venues.items())
        strategies = self._strategies(file, installation)
        self._check_names(venues, strategies)
        name = self._fleet_name(file)
        self._stop_if_wrong()
        on_stale = file.on_stale
        return FleetConfig(
            name=name,
            fleet_id=file.fleet_id or ids.fleet_id(name),
            path=self._path.absolute(),
            root=self._root,
            runtime=_frozen(values.RuntimeConfig, file.runtime),
            multiplexer=_frozen(values.MultiplexerConfig, file.multiplexer),
            rate_limiting=_frozen(values.RateLimitingConfig, file.rate_limiting),
            monitoring=_frozen(values.MonitoringConfig, file.monitoring),
            feed=_frozen(values.FeedConfig, file.feed),
            on_stale=values.OnStale(
                on_stale.stale_after_ms, on_stale.cancel_after_ms if on_stale.mode == "cancel" else None
            ),
            on_crash=file.on_crash,
            on_unknown_orders=file.on_unknown_orders,
            journal=_frozen(values.JournalConfig, file.journal),
            logs=_frozen(values.LogsConfig, file.logs),
            risk=self._risk,
            venues=venues,
            strategies=tuple(strategies),
            notices=tuple(_notices(file)),
        )

    def _sections(self) -> File:
        """Return both files as one; a key may stand in either."""
        both: dict[str, Any] = {}
        problems: list[str] = []
        for path in filter(None, (self._config, self._path)):
            raw = self._read(path)
            self._stop_if_wrong()  # what cannot be read cannot be judged
            problems += _validated(raw, self._shown(path))[1]
            for key in raw.keys() & both.keys():
                problems.append(f"{self._path.name}: {key}: stands in {self._shown(self._config)} too; keep one")
            both |= raw
        self._problems += problems
        self._required(both)
        return _validated(both, self._path.name)[0] or File()

    def _required(self, raw: Mapping[str, Any]) -> None:
        for key in ("venues", "strategies"):
            if key not in raw:
                self._problem(f"{self._path.name}: {key}", "Field required")
            elif raw[key] in ([], {}):
                self._problem(f"{self._path.name}: {key}", "must not be empty")

    def _fleet_name(self, file: File) -> str:
        name = self._name or file.name or readable(self._path.stem).lower()
        if not re.fullmatch(NAME, name):
            self._problem("name", f"must be 1 to 32 of a-z, 0-9, '-' and '_', was {name!r}")
        return name

    def _interval_ms(self, entry: Entry, kind: str, config: Mapping[str, Any]) -> int | None:
        """Return how often a strategy is ticked, None: as the fleet says.

        Controllers and their executors sleep in loops of a second of their own: ticks in between would only cost.
        """
        if entry.tick_interval_ms is not None or self._ticks_are_named:
            return entry.tick_interval_ms
        return CONTROLLERS_TICK_MS if kind == "script" and config.get("controllers_config") else None

    def _check_names(self, venues: tuple[values.Venue, ...], strategies: list[StrategyConfig]) -> None:
        longest = max((len(one.id) for one in strategies), default=0)
        for venue in venues:
            if len(venue.name) + longest > LABELS_MAX:
                rule = f"its name and the longest id of a strategy must be at most {LABELS_MAX} characters together"
                self._problem(f"{self._path.name}: venues.{venue.name}", f"{rule}, were {len(venue.name) + longest}")

    def _strategies(self, file: File, installation: Installation) -> list[StrategyConfig]:
        made: list[StrategyConfig] = []
        owners: dict[str, str] = {}
        tags: dict[str, str] = {}
        for index, entry in enumerate(file.strategies):
            place = f"{self._path.name}: strategies.{index}"
            for strategy in self._entry(entry, place, self._installation(entry, file, place) or installation):
                if (owner := owners.setdefault(strategy.id, place)) != place or strategy.id in tags.values():
                    rule = f"{strategy.id} is taken by {owner.split(': ')[1]}; give one of them another id"
                    self._problem(f"{place}.id", rule)
                elif (other := tags.setdefault(strategy.tag, strategy.id)) != strategy.id:
                    rule = f"{strategy.id} and {other} have the same tag ({strategy.tag}); change one of the ids"
                    self._problem(f"{place}.id", rule)
                made.append(strategy)
        if len(made) > STRATEGIES_MAX:
            self._problem(f"{self._path.name}: strategies", f"must be at most {STRATEGIES_MAX} in all, was {len(made)}")
        return made

    def _installation(self, entry: Entry, file: File, place: str) -> Installation | None:
        """Return the installation of an entry that names a root of its own, None for one that uses the fleet's."""
        if entry.root is None:
            return None
        root = (self._path.parent / entry.root).absolute()
        if root not in self._installations:
            if not root.is_dir():
                self._problem(f"{place}.root", f"{root} is not a folder")
            self._installations[root] = Installation(root, self._read, file.venues)
        return self._installations[root]

    def _entry(self, entry: Entry, place: str, installation: Installation) -> list[StrategyConfig]:
        if (entry.strategy is None) == (entry.script is None):
            self._problem(place, "must name one of strategy and script")
            return []
        kind, name = ("v1", entry.strategy) if entry.strategy else ("script", str(entry.script).removesuffix(".py"))
        check_window(entry.risk, self._risk, place, self._problem)
        config = self._entry_config(entry, kind, name, place, installation)
        if config is None:
            return []
        stem = entry.id or readable(Path(entry.config).stem if entry.config else name)
        many = prod(map(len, entry.for_each.values())) * entry.count
        if many > STRATEGIES_MAX:
            self._problem(place, f"for_each and count must make at most {STRATEGIES_MAX} strategies, made {many}")
            return []
        made = variants(stem, entry.for_each, entry.count)
        bad = [one.id for one in made if not ID.fullmatch(one.id)]
        if bad:
            self._problem(f"{place}.id", f"must be 1 to {ID_MAX} of A-Z, a-z, 0-9, '.', '_', '-', was {bad[0]!r}")
            return []
        return [self._strategy(entry, variant, kind, name, config, place, installation) for variant in made]

    def _entry_config(
        self, entry: Entry, kind: str, name: str, place: str, installation: Installation
    ) -> Mapping[str, Any] | None:
        """Return the values of an entry's file, {} when it may do without one, None when that is an error."""
        if entry.config is None:
            if kind == "v1":
                self._problem(f"{place}.config", "Field required (a file of conf/strategies)")
                return None
            installation.check_script(name, {}, place, self._problem)
            return {}
        path = installation.config_path(kind, entry.config)
        if not path.is_file():
            self._problem(f"{place}.config", f"there is no {installation.shown(path)} in {installation.root}")
            return None
        before = len(self._problems)
        config = self._read(path)
        if len(self._problems) > before:
            return None
        file = installation.shown(path)
        if kind == "v1":
            if not installation.has_v1(name):
                self._problem(f"{place}.strategy", f"Hummingbot has no V1 strategy {name}")
                return None
            installation.check_v1(name, config, file, self._problem)
            installation.check_keys(name, config, f"{file}: ", self._problem)
            installation.check_keys(name, entry.set, f"{place}.set.", self._problem)
        else:
            installation.check_script(name, config, f"{place}.script", self._problem, file)
        if not sendable(config):
            self._problem(file, "must hold texts, numbers, lists and mappings with text keys only")
            return None
        return config

    def _strategy(
        self,
        entry: Entry,
        variant: Variant,
        kind: str,
        name: str,
        config: Mapping[str, Any],
        place: str,
        installation: Installation,
    ) -> StrategyConfig:
        full = merged(config, kind, variant.values, entry.set)
        if kind == "v1":
            added = [key for key in full if key not in config and key not in entry.set]
            installation.check_keys(name, added, f"{place}.for_each.", self._problem)
        path = installation.config_path(kind, entry.config) if entry.config else None
        meant = {one for key in variant.values for one in keys_meant(key, kind, config)}

        def report(key: str, rule: str) -> None:
            """Report what is wrong with a value where it stands: `set:`, `for_each:` or the strategy's file."""
            top = key.partition(".")[0]
            if top in entry.set or path is None:
                where = f"{place}.set."
            else:
                where = f"{place}.for_each: " if top in meant else f"{installation.shown(path)}: "
            self._problem(f"{where}{key}", rule)

        installation.check_venues(full, "", report)
        if kind == "v1":
            check_pairs(full, "", report)
        pairs = dict.fromkeys(pairs_in(full))
        if kind == "script":
            pairs.update(dict.fromkeys(installation.controllers(full, report, self._problem)))
        return StrategyConfig(
            id=variant.id,
            tag=ids.strategy_tag(variant.id),
            kind=kind,
            name=name,
            config=full,
            config_file=installation.shown(path) if path else None,
            pairs=tuple(pairs),
            priority=entry.priority,
            tick_interval_ms=self._interval_ms(entry, kind, full),
            tick_on_book_ms=_spacing_ms(entry.tick_on),
            weight=entry.weight,
            quota=_frozen(values.Quota, entry.quota),
            risk=strategy_risk_of(entry.risk, self._risk),
            capital=entry.capital,
            worker=entry.worker,
            venues=installation.venues_in(full),
            root=None if entry.root is None else installation.root,
            capital_venue=self._capital_venue(entry, full, place, installation),
        )

    def _capital_venue(
        self, entry: Entry, config: Mapping[str, Any], place: str, installation: Installation
    ) -> str | None:
        """Return where an entry's capital is: each account would give it anew."""
        if not entry.capital or len(self._accounts) <= 1:
            return None
        named = [venue for venue in installation.venues_in(config) if venue in self._accounts]
        if len(named) == 1:
            return named[0]
        rule = f"needs a configuration that names one of the fleet's venues ({', '.join(self._accounts)})"
        self._problem(f"{place}.capital", f"{rule}, this one names {', '.join(named) or 'none'}")
        return None

    def _read(self, path: Path) -> Mapping[str, Any]:
        """Return a YAML file's mapping; UNREADABLE after reporting why not."""
        if path not in self._files:
            self._files[path] = self._parsed(path)
        return self._files[path]

    def _parsed(self, path: Path) -> Mapping[str, Any]:
        try:
            return read_yaml(path)
        except YamlError as error:
            self._problem(error.place if error.place == str(path) else self._shown(path), error.rule)
            return UNREADABLE

    def _shown(self, path: Path) -> str:
        """Return a file as errors name it: the fleet's files by their names, others below the root or as written."""
        if path == self._path or (path == self._config and path.parent == self._path.parent):
            return path.name
        return str(path.relative_to(self._root)) if path.is_relative_to(self._root) else str(path)

    def _problem(self, place: str, rule: str) -> None:
        line = f"{place}: {rule}"
        if line not in self._problems:
            self._problems.append(line)

    def _stop_if_wrong(self) -> None:
        if self._problems:
            raise ConfigError([visible(line) for line in self._problems])


def _validated(raw: Mapping[str, Any], file: str) -> tuple[File | None, list[str]]:
    """Return a file's sections, or None and a line for each error."""
    try:
        return _FILE.validate_python(raw), []
    except ValidationError as error:
        return None, [f"{file}: {line}" for line in config_errors.problems(error)]


def _frozen(kind: type, model: BaseModel) -> Any:
    return kind(**{one.name: getattr(model, one.name) for one in fields(kind)})


def _spacing_ms(tick_on: str | TickOnBook) -> int | None:
    """Return what follows its last tick at least until a book ticks a strategy, None: no book does."""
    if isinstance(tick_on, TickOnBook):
        return tick_on.book
    return BOOK_TICKS_MS if tick_on == "book" else None


def _notices(file: File) -> list[str]:
    """Return a line for each key that is set and has no effect yet."""
    lines = []
    if file.multiplexer.protocol != "shm":
        lines.append(
            f"multiplexer.protocol: {file.multiplexer.protocol} has no effect yet: every process maps the shared memory"
        )
    if not file.multiplexer.enabled:
        lines.append("multiplexer.enabled: false has no effect yet: one feed reads each market for all strategies")
    return lines


_FILE = TypeAdapter(File)
