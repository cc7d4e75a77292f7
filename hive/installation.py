"""The folders of a Hummingbot installation that a fleet's strategies come from, and what can be checked without it.

    ROOT/conf/strategies/*.yml   V1 configurations        ROOT/scripts/*.py
    ROOT/conf/scripts/*.yml      script configurations    ROOT/controllers/<type>/<name>.py
    ROOT/conf/controllers/*.yml  controller configurations

Nothing of Hummingbot is imported here.
"""

import importlib.util
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hive.entries import pairs_in

Report = Callable[[str, str], None]
EXCHANGE_KEYS = (
    "exchange",
    "connector_name",
    "connector",
    "maker_market",
    "taker_market",
    "primary_market",
    "secondary_market",
    "maker_connector",
    "taker_connector",
    "connector_1",
    "connector_2",
    "hedge_connector",
    "candles_connector",
    "price_source_exchange",
)
PAIR_KEYS = ("market", "maker_market_trading_pair", "taker_market_trading_pair")  # of V1 strategies
PAIR_FORM = re.compile(r"[^\s,/:_-]+-[^\s,/:_-]+")
UNREADABLE: Mapping[str, Any] = MappingProxyType({})  # what is read of a file that cannot be
FREE_KEYS = frozenset({"template_version", "strategy"})


class Installation:
    """Reads and checks strategies' files below one root folder.

    Args:
        root: the folder with conf/, scripts/ and controllers/.
        read: returns a YAML file's mapping, UNREADABLE after reporting why it cannot be read.
        venues: names of the fleet's venues.
    """

    def __init__(self, root: Path, read: Callable[[Path], Mapping[str, Any]], venues: Iterable[str]) -> None:
        self.root = root
        self._read = read
        self._venues = sorted(venues)
        self._templates: dict[str, frozenset[str] | None] = {}
        self._parsed: set[Path] = set()  # scripts and controllers that were looked at

    def config_path(self, kind: str, config: str) -> Path:
        """Return where a `config:` lies: absolute, below the root, or by its bare name in the folder of its kind."""
        folder = "strategies" if kind == "v1" else "scripts"
        direct = self.root / config
        if direct.is_file() or "/" in config:
            return direct
        return self.root / "conf" / folder / config

    def shown(self, path: Path) -> str:
        """Return a path as errors name it: relative to the root where it can be."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def check_v1(self, name: str, config: Mapping[str, Any], place: str, report: Report) -> None:
        """Report what is wrong with the file of a V1 strategy, before `set:` is merged in."""
        own = config.get("strategy")
        if own != name:
            report(f"{place}: strategy", f"must be {name}, as the fleet says, was {own!r}")

    def has_v1(self, name: str) -> bool:
        """Return whether Hummingbot has a V1 strategy of that name."""
        return self._template_keys(name) is not None

    def check_keys(self, name: str, keys: Iterable[str], place: str, report: Report) -> None:
        """Report the keys that a V1 strategy does not have; strategies without a template are left to their host."""
        known = self._template_keys(name)
        for key in keys if known else ():
            if key not in known and key not in FREE_KEYS:
                report(f"{place}{key}", f"{name} has no such key")

    def check_script(
        self, name: str, config: Mapping[str, Any], place: str, report: Report, file: str | None = None
    ) -> None:
        """Report what is wrong with a script, and with the `file` that configures it."""
        path = self.root / "scripts" / f"{name}.py"
        if not path.is_file():
            report(place, f"script {name}: there is no {self.shown(path)} in {self.root}")
        else:
            self._check_syntax(path, report)
        own = config.get("script_file_name") or f"{name}.py"
        if Path(str(own)).stem != name:
            report(f"{file or place}: script_file_name", f"must be {name}.py, as the fleet says, was {own!r}")

    def _check_syntax(self, path: Path, report: Report) -> None:
        """Report a file that is no Python; nothing of it is run."""
        if path in self._parsed:
            return
        self._parsed.add(path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an escape that is none is its author's to see, when it is run
                compile(path.read_bytes(), path.name, "exec", dont_inherit=True)
        except SyntaxError as error:
            report(f"{self.shown(path)}: line {error.lineno}", f"must be Python: {error.msg}")
        except (ValueError, RecursionError, MemoryError) as error:  # a NUL; nested too deeply
            report(self.shown(path), f"must be Python: {error}")

    def check_venues(self, config: Mapping[str, Any], place: str, report: Report) -> None:
        """Report exchanges that the fleet has no venue for, under the keys that usually name one, at any depth."""
        for key, name in _texts_under(EXCHANGE_KEYS, config):
            if name not in self._venues:
                report(f"{place}{key}", f"must be one of the fleet's venues ({', '.join(self._venues)}), was {name!r}")

    def venues_in(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the fleet's venues that a configuration, or a file of its controllers, names as any key or value."""
        files = [self.root / "conf" / "controllers" / name for name in names_in(config.get("controllers_config"))]
        texts = _texts([config, *(self._read(path) for path in files if path.is_file())])
        return tuple(venue for venue in self._venues if venue in texts)

    def controllers(self, config: Mapping[str, Any], report_key: Report, report: Report) -> tuple[str, ...]:
        """Check the controllers that a script's configuration names; return the pairs that they trade.

        Args:
            report_key: takes what is wrong with the configuration's own keys.
            report: takes what is wrong with the controllers' files.
        """
        pairs: dict[str, None] = {}
        named = config.get("controllers_config")
        if named is not None and not isinstance(named, str | list):
            report_key("controllers_config", f"must be a list of files of conf/controllers, was {named!r:.50}")
        for name in names_in(named):
            path = self.root / "conf" / "controllers" / name
            if not path.is_file():
                report_key("controllers_config", f"there is no {self.shown(path)} in {self.root}")
            else:
                pairs.update(dict.fromkeys(self._controller(path, self.shown(path), report)))
        return tuple(pairs)

    def _controller(self, path: Path, file: str, report: Report) -> tuple[str, ...]:
        """Check one controller's file; return the pairs that it trades."""
        values = self._read(path)
        if values is UNREADABLE:
            return ()
        for key in ("controller_name", "controller_type"):
            if not isinstance(values.get(key), str) or not values[key]:
                rule = "Field required" if key not in values else f"must be a name, was {values[key]!r:.50}"
                report(f"{file}: {key}", rule)
                return ()
        code = self.root.joinpath("controllers", values["controller_type"], *values["controller_name"].split("."))
        if code.with_suffix(".py").is_file():
            self._check_syntax(code.with_suffix(".py"), report)
        elif not code.is_dir():
            report(f"{file}: controller_name", f"there is no {self.shown(code)}.py in {self.root}")
        self.check_venues(values, f"{file}: ", report)
        return pairs_in(values)

    def _template_keys(self, name: str) -> frozenset[str] | None:
        """Return a V1 strategy's keys, empty when they are not known before it starts, None when there is no such."""
        if name not in self._templates:
            self._templates[name] = self._find_template(name)
        return self._templates[name]

    def _find_template(self, name: str) -> frozenset[str] | None:
        folder = hummingbot_folder()
        if folder is None:
            return frozenset()
        template = folder / "templates" / f"conf_{name}_strategy_TEMPLATE.yml"
        if template.is_file():
            return frozenset(self._read(template))
        return frozenset() if (folder / "strategy" / name / "start.py").is_file() else None


def hummingbot_folder() -> Path | None:
    """Return where the installed Hummingbot lies, None when there is none."""
    spec = importlib.util.find_spec("hummingbot")
    places = [Path(place) for place in spec.submodule_search_locations or ()] if spec else []
    return next((place for place in places if (place / "strategy").is_dir()), None)


@cache
def spot_connectors() -> frozenset[str]:
    """Return the names of Hummingbot's spot connectors, empty when it is not installed."""
    folder = hummingbot_folder()
    found = folder.glob("connector/exchange/*/*_utils.py") if folder is not None else ()
    return frozenset(file.parent.name for file in found if file.stem == f"{file.parent.name}_utils")


def sendable(config: Mapping[str, Any]) -> bool:
    """Return whether a configuration can cross to a worker as JSON."""
    try:
        json.dumps(config)
    except (TypeError, ValueError):
        return False
    return True


def check_pairs(config: Mapping[str, Any], place: str, report: Report) -> None:
    """Report texts of a V1 strategy under the keys that name one trading pair, which no venue can list."""
    for key, pair in _texts_under(PAIR_KEYS, config):
        if not PAIR_FORM.fullmatch(pair):
            report(f"{place}{key}", f"must be a pair such as BTC-USDT, was {pair!r:.50}")


def _texts_under(keys: tuple[str, ...], value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, text) for every text under one of these keys that is not empty."""
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, part in inner:
        if isinstance(part, str):
            if part and key in keys:
                yield f"{place}{key}", part
        else:
            yield from _texts_under(keys, part, f"{place}{key}.")


def _texts(value: Any) -> set[str]:
    """Return every text in a configuration, those of a list with commas one by one."""
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        return set().union(*map(_texts, value))
    return {part.strip() for part in value.split(",")} if isinstance(value, str) else set()


def names_in(value: Any) -> list[str]:
    """Return the file names of a `controllers_config`: a list, or a text with commas."""
    if isinstance(value, str):
        value = value.split(",")
    return [str(name).strip() for name in value or () if str(name).strip()] if isinstance(value, list) else []
