"""The fleet of a hundred strategies as files: what `hundred.yml` names, made from those of examples/.

    write(folder, size=100, venue={...}) -> folder/fleet.yml, conf/, scripts/, controllers/

A size is a whole multiple of a hundred: every entry is there so many times. With `tick_ms` all tick at that interval.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
FLEET = HERE / "hundred.yml"
NAME = "perf-hundred"
MIX = {"pmm": 40, "touch": 20, "avellaneda": 10, "ladder": 20, "bands": 10}
"""How many of every hundred are of a kind; a strategy's kind is in its id."""
TIMES = {"executor_refresh_time": 300, "cooldown_time": 15, "time_limit": 2700}
DEFAULTS = TIMES | {"take_profit": 0.02, "stop_loss": 0.03}
"""What the controllers' files have instead of the examples' lively values: the defaults of Hummingbot's controllers."""


def write(folder: Path, *, size: int, venue: Mapping[str, Any], tick_ms: int | None = None) -> Path:
    """Make a root folder for the fleet, and return the fleet's file in it.

    Args:
        folder: where; made when it is missing.
        size: how many strategies, a multiple of 100.
        venue: the values of `venues.binance`.
        tick_ms: one tick interval for all, in ms; None for the file's own.

    Raises:
        ValueError: the size is no multiple of 100.
    """
    if size < 100 or size % 100:
        raise ValueError(f"size must be a multiple of 100, was {size}")
    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "fleet.yml"))
    fleet = yaml.safe_load(FLEET.read_text())
    fleet["name"] = NAME
    fleet["venues"] = {"binance": dict(venue)}
    for entry in fleet["strategies"]:
        entry["count"] = size // 100
        for (name,) in entry["for_each"].get("controllers_config", ()):
            write_controller(folder, name)
    if tick_ms is not None:
        fleet["runtime"]["tick_interval_ms"] = tick_ms
        for entry in fleet["strategies"]:
            entry.pop("tick_interval_ms", None)
    path = folder / "fleet.yml"
    path.write_text(yaml.safe_dump(fleet))
    return path


def write_controller(folder: Path, name: str) -> None:
    """Write a controller's file, such as `ladder-SOL-USDT.yml`, from the example of its kind."""
    stem = name.removesuffix(".yml")
    kind, pair = stem.split("-", 1)
    controllers = folder / "conf" / "controllers"
    (example,) = controllers.glob(f"{kind}_{'btc' if kind == 'ladder' else 'eth'}.yml")
    config = yaml.safe_load(example.read_text()) | DEFAULTS | {"id": stem, "trading_pair": pair}
    if kind == "bands":
        del config["executor_refresh_time"]  # directional ones have none
    (controllers / name).write_text(yaml.safe_dump(config))


def write_single(folder: Path, kind: str) -> tuple[bool, str]:
    """Make a root folder with the first strategy of a kind of the fleet, as a stock engine reads it.

    Returns:
        Whether it is a V1 strategy, and the name of its configuration file.
    """
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__", "fleet.yml"))
    if kind in ("ladder", "bands"):
        name = f"{kind}-BTC-USDT.yml"
        write_controller(folder, name)
        values, script = {"controllers_config": [name]}, "ladder_btc.yml"
    else:
        entry = next(one for one in yaml.safe_load(FLEET.read_text())["strategies"] if one["id"] == kind)
        key, pairs = next(iter(entry["for_each"].items()))
        values, script = {**entry["set"], "market" if key == "pair" else key: pairs[0]}, entry["config"]
    v1 = kind in ("pmm", "avellaneda")
    path = folder / "conf" / ("strategies" if v1 else "scripts") / Path(script).name
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))
    return v1, path.name


def kind_of(strategy: str) -> str:
    """Return the kind of a strategy of this fleet by its id."""
    return next(kind for kind in MIX if kind in strategy.split("-")[:2])
