"""What `hive status` says in words: strategies that do not run or moved, deaths of workers, differences to the file.

Pure: the report in, lines out.
"""

import time
from collections.abc import Mapping
from typing import Any

DEATHS_SHOWN = 5
MOVES_SHOWN = 5


def notices(total: Mapping[str, Any]) -> list[str]:
    """Return a line for each strategy that something is the matter with, each late death and move, each difference."""
    return [
        *(_strategy(one) for one in total["strategies"] if one["reason"] or one["state"] != "running" or one["errors"]),
        *(_death(one) for one in total["blasts"][-DEATHS_SHOWN:]),
        *(_move(one) for one in total["moves"][-MOVES_SHOWN:]),
        *(f"DIFFERS {total['config_path']}: `hive apply` would {step}" for step in total["differs"]),
    ]


def stake_text(stake: Mapping[str, Any]) -> str:
    """Return what a strategy has at stake in words, "" for nothing: open orders by pair, positions, lost executors."""
    parts = [
        f"{one['orders']} orders of {pair} (buy {one['buys']}, sell {one['sells']})"
        for pair, one in stake.get("open_orders", {}).items()
    ]
    positions = [f"{amount} {asset}" for asset, amount in stake.get("positions", {}).items()]
    if positions:
        parts.append(f"position {', '.join(positions)}")
    if executors := stake.get("executors"):
        parts.append(f"lost executors: {', '.join(map(_executor, executors))}")
    return ", ".join(parts)


def _executor(one: Mapping[str, Any]) -> str:
    markets = (f"{market['venue']} {market['pair']} {market['net']}" for market in one["markets"])
    return " ".join([one["kind"], *markets])


def _strategy(one: Mapping[str, Any]) -> str:
    where = "" if one["worker"] is None else f" on worker {one['worker']}"
    why = "; ".join(dict.fromkeys(text for text in (one["reason"], one["message"]) if text))
    errors, name = one["errors"], one["id"]
    logged = f"; {errors} error{'' if errors == 1 else 's'}, see `hive logs {name}`" if errors else ""
    return f"STRATEGY {name} {one['state']}{where}" + (f": {why}" if why else "") + logged


def _death(one: Mapping[str, Any]) -> str:
    by = f" by {one['culprit']}" if one["culprit"] else ""
    lost = "; ".join(f"{key}: {stake_text(stake)}" for key, stake in one["at_stake"].items())
    what = f"DIED {_clock(one)} UTC worker {one['worker']} {one['how']}{by}"
    return f"{what}: {', '.join(one['strategies'])} started again; at stake: {lost or 'nothing'}"


def _move(one: Mapping[str, Any]) -> str:
    return f"MOVED {_clock(one)} UTC strategy {one['strategy']} from worker {one['from']} to {one['to']}: {one['why']}"


def _clock(one: Mapping[str, Any]) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(one["wall_ns"] / 1e9))
