"""Read a fleet file, check everything in it and in the files that it names, and return frozen values.

All errors of a fleet are found at once, each a line with file, place and rule:
`fleet.yml: strategies.0.shre: Extra inputs are not permitted`.

Together with config_yaml.py the only reader of YAML, and the only user of pydantic.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hive import fleet as values
from hive.config_yaml import YamlError, read_yaml
from hive.entries import ID_MAX, Variant, merged, pairs_in, readable, variants
from hive.fleet import FleetConfig, StrategyConfig
from hive.gate.errors import EndpointRefused
from hive.gate.venue import check_endpoint
from hive.installation import Installation, sendable
from hive.shm import ids
from hive.sim.faults import Faults, parse_fault

VENUE_KINDS = ("binance",)
QUOTA_LATER = ("max_api_weight_per_minute", "priority_level", "weight")  # accepted, without effect yet
STRATEGIES_MAX = 2000
NAME = r"^[a-z0-9][a-z0-9_-]{0,31}$"
ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{ID_MAX - 1}}}")


class ConfigError(Exception):
    """A fleet that cannot be used; `problems` has one line for each error."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Runtime(_Model):
    max_strategies_per_container: int = Field(50, ge=1, le=1000)
    tick_interval_ms: int = Field(100, ge=10, le=60_000)
    scheduler_algorithm: Literal["round_robin", "priority_based"] = "round_robin"
    hang_after_ms: int = Field(2000, ge=200, le=600_000)
    stop_timeout_s: float = Field(30.0, gt=0, le=600)


class _Multiplexer(_Model):
    enabled: bool = True
    protocol: Literal["shm", "unix_socket", "tcp", "redis"] = "shm"
    max_connections_per_exchange: int = Field(5, ge=1, le=300)


class _RateLimiting(_Model):
    global_orders_per_second: float | None = Field(None, gt=0)
    per_strategy_orders_per_second: float | None = Field(None, gt=0)
    adaptive_throttling: bool = False
    feed_share: float = Field(0.4, gt=0, lt=1)


class _Monitoring(_Model):
    metrics_port: int | None = Field(None, ge=0, le=65535)
    metrics_host: str = "127.0.0.1"
    enable_profiling: bool = False


class _Feed(_Model):
    depth: int = Field(50, ge=5, le=1000)
    depths: dict[str, Annotated[int, Field(ge=5, le=1000)]] = {}
    versions: int = Field(8, ge=2, le=64)
    instruments: int = Field(64, ge=1, le=4096)
    trades: int = Field(8192, ge=64, le=1 << 20)
    candles: int = Field(1000, ge=100, le=10_000)
    audit_interval_s: float = Field(300.0, ge=0)
    rules_interval_s: float = Field(600.0, ge=1)
    linger_s: float = Field(10.0, ge=0)
    lock_memory: Literal["auto", "on", "off"] = "auto"
    huge_pages: Literal["auto", "on", "off"] = "auto"


class _OnStale(_Model):
    stale_after_ms: int = Field(80, ge=30)
    cancel_after_ms: int | None = Field(1000, ge=0)
    mode: Literal["cancel", "hold"] = "cancel"


class _Sim(_Model):
    mode: Literal["sim"]
    kind: str | None = None
    seed: int = 7
    rate: float | None = Field(None, gt=0)
    symbols: int | None = Field(None, ge=1)
    faults: list[str] = []
    recv_window_ms: int = Field(5000, ge=1, le=60_000)
    record: str | None = None


class _Replay(_Model):
    mode: Literal["replay"]
    kind: str | None = None
    file: str
    speed: float = Field(1.0, ge=0)


class _Live(_Model):
    mode: Literal["live"]
    kind: str | None = None
    rest_url: str
    ws_url: str
    ws_api_url: str
    api_key_env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    api_secret_env: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    recv_window_ms: int = Field(5000, ge=1, le=60_000)
    record: str | None = None


class _Quota(_Model):
    max_orders_per_second: float | None = Field(None, gt=0)
    max_api_weight_per_minute: int | None = Field(None, ge=1)
    priority_level: int | None = None
    weight: float | None = Field(None, gt=0)


class _Entry(_Model):
    id: str | None = None
    strategy: str | None = None
    script: str | None = None
    config: str | None = None
    set: dict[str, Any] = {}
    for_each: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    count: int = Field(1, ge=1, le=STRATEGIES_MAX)
    priority: int = Field(0, ge=-100, le=100)
    tick_interval_ms: int | None = Field(None, ge=10, le=60_000)
    weight: float = Field(1.0, gt=0)
    quota: _Quota = _Quota()


class _File(_Model):
    name: str | None = Field(None, pattern=NAME)
    fleet_id: str | None = Field(None, pattern=r"^[a-z2-7]{5}$")
    runtime: _Runtime = _Runtime()
    multiplexer: _Multiplexer = _Multiplexer()
    rate_limiting: _RateLimiting = _RateLimiting()
    monitoring: _Monitoring = _Monitoring()
    feed: _Feed = _Feed()
    on_stale: _OnStale = _OnStale()
    on_crash: Literal["cancel", "keep"] = "cancel"
    venues: dict[str, Annotated[_Sim | _Live | _Replay, Field(discriminator="mode")]] = {}
    strategies: list[_Entry] = []


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
    return _Loader(path, config, root, name).load()


class _Loader:
    def __init__(self, path: Path, config: Path | None, root: Path | None, name: str | None) -> None:
        self._path = path
        self._config = config
        self._root = (root or path.parent).absolute()
        self._name = name
        self._problems: list[str] = []
        self._files: dict[Path, Mapping[str, Any]] = {}

    def load(self) -> FleetConfig:
        file = self._sections()
        self._stop_if_wrong()
        installation = Installation(self._root, self._read, file.venues)
        if not self._root.is_dir():
            self._problem(str(self._root), "is not a folder (--root)")
        venues = tuple(self._venue(name, venue) for name, venue in file.venues.items())
        strategies = self._strategies(file, installation)
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
            venues=venues,
            strategies=tuple(strategies),
            notices=tuple(_notices(file)),
        )

    def _sections(self) -> _File:
        """Return both files as one; a key may stand in either."""
        both: dict[str, Any] = {}
        problems: list[str] = []
        for path in filter(None, (self._config, self._path)):
            raw = self._read(path)
            self._stop_if_wrong()  # what cannot be read cannot be judged
            problems += _validated(raw, path.name)[1]
            for key in raw.keys() & both.keys():
                problems.append(f"{self._path.name}: {key}: stands in {self._config.name} too; keep one")
            both |= raw
        self._problems += problems
        self._required(both)
        return _validated(both, self._path.name)[0] or _File()

    def _required(self, raw: Mapping[str, Any]) -> None:
        for key in ("venues", "strategies"):
            if not raw.get(key):
                self._problem(f"{self._path.name}: {key}", "Field required")

    def _fleet_name(self, file: _File) -> str:
        name = self._name or file.name or readable(self._path.stem).lower()
        if not re.match(NAME, name):
            self._problem("name", f"must be 1 to 32 of a-z, 0-9, '-' and '_', was {name!r}")
        return name

    def _venue(self, name: str, venue: _Sim | _Live | _Replay) -> values.Venue:
        place = f"{self._path.name}: venues.{name}"
        kind = venue.kind or name
        if kind not in VENUE_KINDS:
            self._problem(place, f"must be one of {', '.join(VENUE_KINDS)}: Hive speaks no other venue's protocol yet")
        if isinstance(venue, _Sim):
            for number, text in enumerate(venue.faults):
                try:
                    Faults().add(*parse_fault(text), now_ns=0)
                except ValueError as error:
                    self._problem(f"{place}.faults.{number}", str(error))
            return values.SimVenue(
                name,
                kind,
                venue.seed,
                venue.rate,
                venue.symbols,
                tuple(venue.faults),
                venue.recv_window_ms,
                record=self._recording(venue.record),
            )
        if isinstance(venue, _Replay):
            file = self._path.parent / venue.file
            if not file.is_file():
                self._problem(f"{place}.file", f"there is no {file}")
            return values.ReplayVenue(name, kind, file.absolute(), venue.speed)
        for key in ("rest_url", "ws_url", "ws_api_url"):
            try:
                check_endpoint(getattr(venue, key))
            except EndpointRefused as refused:
                self._problem(f"{place}.{key}", str(refused))
        options = venue.model_dump(exclude={"mode", "kind", "record"})
        return values.LiveVenue(name, kind, **options, record=self._recording(venue.record))

    def _recording(self, file: str | None) -> Path | None:
        return None if file is None else (self._path.parent / file).absolute()

    def _strategies(self, file: _File, installation: Installation) -> list[StrategyConfig]:
        made: list[StrategyConfig] = []
        owners: dict[str, str] = {}
        tags: dict[str, str] = {}
        for index, entry in enumerate(file.strategies):
            place = f"{self._path.name}: strategies.{index}"
            for strategy in self._entry(entry, place, installation):
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

    def _entry(self, entry: _Entry, place: str, installation: Installation) -> list[StrategyConfig]:
        if (entry.strategy is None) == (entry.script is None):
            self._problem(place, "must name one of strategy and script")
            return []
        kind, name = ("v1", entry.strategy) if entry.strategy else ("script", str(entry.script).removesuffix(".py"))
        config = self._entry_config(entry, kind, name, place, installation)
        if config is None:
            return []
        stem = entry.id or readable(Path(entry.config).stem if entry.config else name)
        bad = [one for one in variants(stem, entry.for_each, entry.count)[:1] if not ID.fullmatch(one.id)]
        if bad:
            self._problem(f"{place}.id", f"must be 1 to {ID_MAX} of A-Z, a-z, 0-9, '.', '_', '-', was {bad[0].id!r}")
            return []
        return [
            self._strategy(entry, variant, kind, name, config, place, installation)
            for variant in variants(stem, entry.for_each, entry.count)
        ]

    def _entry_config(
        self, entry: _Entry, kind: str, name: str, place: str, installation: Installation
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
            self._problem(f"{place}.config", f"there is no {installation.shown(path)} in {self._root}")
            return None
        before = len(self._problems)
        config = self._read(path)
        if len(self._problems) > before:
            return None
        file = installation.shown(path)
        if kind == "v1":
            installation.check_v1(name, config, file, self._problem)
            installation.check_keys(name, config, f"{file}: ", self._problem)
            installation.check_keys(name, entry.set, f"{place}.set.", self._problem)
        else:
            installation.check_script(name, config, f"{place}.script", self._problem)
        if not sendable(config):
            self._problem(file, "must hold texts, numbers, lists and mappings with text keys only")
            return None
        return config

    def _strategy(
        self,
        entry: _Entry,
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
        installation.check_venues(full, f"{place}: ", self._problem)
        pairs = dict.fromkeys(pairs_in(full))
        if kind == "script":
            pairs.update(dict.fromkeys(installation.controllers(full, f"{place}: ", self._problem)))
        path = installation.config_path(kind, entry.config) if entry.config else None
        return StrategyConfig(
            id=variant.id,
            tag=ids.strategy_tag(variant.id),
            kind=kind,
            name=name,
            config=full,
            config_file=installation.shown(path) if path else None,
            pairs=tuple(pairs),
            priority=entry.priority,
            tick_interval_ms=entry.tick_interval_ms,
            weight=entry.weight,
            quota=_frozen(values.Quota, entry.quota),
        )

    def _read(self, path: Path) -> Mapping[str, Any]:
        """Return a YAML file's mapping; {} after reporting why not."""
        if path not in self._files:
            self._files[path] = self._parsed(path)
        return self._files[path]

    def _parsed(self, path: Path) -> Mapping[str, Any]:
        try:
            return read_yaml(path)
        except YamlError as error:
            self._problem(error.place, error.rule)
            return {}

    def _problem(self, place: str, rule: str) -> None:
        line = f"{place}: {rule}"
        if line not in self._problems:
            self._problems.append(line)

    def _stop_if_wrong(self) -> None:
        if self._problems:
            raise ConfigError(self._problems)


def _validated(raw: Mapping[str, Any], file: str) -> tuple[_File | None, list[str]]:
    """Return a file's sections, or None and a line for each error."""
    try:
        return _FILE.validate_python(raw), []
    except ValidationError as error:
        return None, [f"{file}: {_place(problem['loc'])}: {problem['msg']}" for problem in error.errors()]


def _place(loc: tuple[str | int, ...]) -> str:
    if loc[0] == "venues" and len(loc) > 2 and loc[2] in ("sim", "live", "replay"):
        loc = loc[:2] + loc[3:]  # pydantic's name of the chosen model
    return ".".join(map(str, loc))


def _frozen(kind: type, model: BaseModel) -> Any:
    return kind(**{one.name: getattr(model, one.name) for one in fields(kind)})


def _notices(file: _File) -> list[str]:
    """Return a line for each key that is set and has no effect yet."""
    lines = []
    if file.multiplexer.protocol != "shm":
        lines.append(
            f"multiplexer.protocol: {file.multiplexer.protocol} has no effect yet: every process maps the shared memory"
        )
    if not file.multiplexer.enabled:
        lines.append("multiplexer.enabled: false has no effect yet: one feed reads each market for all strategies")
    if file.rate_limiting.adaptive_throttling:
        lines.append(
            "rate_limiting.adaptive_throttling: true has no effect yet: the gate keeps to the venue's own limits and "
            "waits as long as it says"
        )
    if file.monitoring.enable_profiling:
        lines.append("monitoring.enable_profiling: true has no effect yet: use py-spy on a process of `hive status`")
    quotas = [key for key in QUOTA_LATER if any(getattr(one.quota, key) is not None for one in file.strategies)]
    lines += [f"strategies: quota.{key} has no effect yet" for key in quotas]
    return lines


_FILE = TypeAdapter(_File)
