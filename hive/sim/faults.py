"""Faults on demand: what they are called, what they take, and which are in force.

A fault is written NAME or NAME:KEY=VALUE,KEY=VALUE. Every fault takes `after` (seconds until it begins, 0),
`seconds` (how long it lasts) and `count` (how often it strikes); without either it lasts until it is cleared.

Connections and requests
    drop         close connections at once: channel=market|user|ws_api|all, abort=0|1 (1: without a closing frame)
    stall        connections and requests are accepted, nothing is answered: channel=market|user|ws_api|rest|all,
                 seconds=5; what was held is sent when it ends
    mute         connected and answering pings, but no data and no events: channel=market|user|ws_api|all
    shutdown     say serverShutdown, and close after ms=1000: channel=market|ws_api|all
    lifetime     close connections (the venue: after 24 hours) that are age=N seconds old: channel=market|ws_api|all
    maintenance  answer 503 to new connections and requests; what is open stays: channel=market|ws_api|rest|all,
                 seconds=5
    ban          answer 418 with Retry-After, as to a banned IP: channel=rest|ws_api|market|all, seconds=5
    http_5xx     answer status=503 (outcome unknown) after executing: operation, executed=1, count=1; `any` means any
                 signed one, snapshots and the like are hit only when named
    http_429     answer 429 with Retry-After without executing: channel=rest|ws_api|all, operation, retry_after=5,
                 count=1
    delay        hold back answers: channel=rest|ws_api|all, operation, ms=N
    revoke       answer -2015 to every signed request, as after a key was taken back
    limit        allow secretly less than exchangeInfo says: orders_10s=N, weight=N, at least one of them
    slow_fate    answer a placement status=503 and execute it hidden=N seconds later, until when it cannot be seen:
                 symbol=*, executed=1 (0: never), count=1. With a `delay` of placements its answer comes late, too

    operation is place, cancel, query (signed), snapshot (GET depth), rules (exchangeInfo), klines, or any.

Market data
    gap          leave out a depth diff: symbol=*, count=1
    duplicate    send a depth diff twice: symbol=*, count=1
    reorder      send a depth diff after the next one: symbol=*, count=1
    crossed      add a bid above the best ask to a depth diff: symbol=*, count=1
    omit         leave one level out of a depth diff whose ids are right, which only an audit can notice: symbol=*,
                 count=1
    garbage      send something else beside a depth diff, or with instead=1 in its place: kind=truncated|text|empty|
                 binary|types|keys|nan|levels|event|symbol|deep|huge (see `hive.sim.garbage`), bytes=1000000 (of huge),
                 symbol=*, count=1
    lag          answer snapshots with the book as it was when the fault began: symbol=*, count=1

Trading
    halt         stop trading of a symbol: symbol=NAME
    delist       take a symbol off the listing; its users' orders are cancelled: symbol=NAME
    filters      list a symbol with other filters: symbol=NAME, tick=, step=, min_notional= (decimals; those that are
                 given)
    reject       refuse new orders with -2010: symbol=*
    expire       end users' orders that rest for age=N seconds: symbol=*
    skew         move the exchange's clock: ms=N

What ended is as before: a halted, delisted or changed symbol trades again, a clock is right again. What is to come
of orders that were placed before (slow_fate, expire) comes all the same.
"""
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hive.sim.garbage import KINDS

CHANNELS = ("market", "user", "ws_api", "rest", "all")
OPERATIONS = ("place", "cancel", "query", "snapshot", "rules", "klines", "any")
_COMMON = {"after", "seconds", "count"}
_TAKES: dict[str, dict[str, str]] = {
    "drop": {"channel": "all", "abort": "0", "count": "1"},
    "stall": {"channel": "all", "seconds": "5"},
    "mute": {"channel": "market"},
    "gap": {"symbol": "*", "count": "1"},
    "duplicate": {"symbol": "*", "count": "1"},
    "reorder": {"symbol": "*", "count": "1"},
    "shutdown": {"channel": "market", "ms": "1000", "count": "1"},
    "lifetime": {"channel": "market", "age": ""},
    "maintenance": {"channel": "all", "seconds": "5"},
    "ban": {"channel": "all", "seconds": "5"},
    "crossed": {"symbol": "*", "count": "1"},
    "omit": {"symbol": "*", "count": "1"},
    "garbage": {"symbol": "*", "kind": "", "instead": "0", "bytes": "1000000", "count": "1"},
    "lag": {"symbol": "*", "count": "1"},
    "http_5xx": {"operation": "any", "status": "503", "executed": "1", "count": "1"},
    "http_429": {"channel": "all", "operation": "any", "retry_after": "5", "count": "1"},
    "halt": {"symbol": ""},
    "delist": {"symbol": ""},
    "filters": {"symbol": "", "tick": "0", "step": "0", "min_notional": "0"},
    "skew": {"ms": ""},
    "reject": {"symbol": "*"},
    "delay": {"channel": "all", "operation": "any", "ms": ""},
    "revoke": {},
    "limit": {"orders_10s": "0", "weight": "0"},
    "slow_fate": {"symbol": "*", "hidden": "", "status": "503", "executed": "1", "count": "1"},
    "expire": {"symbol": "*", "age": ""},
}
NAMES = tuple(_TAKES)
_NEVER = math.inf
_MOST_OF_ANY = 1e9  # seconds, ms, times, or whatever else is counted
_MOST = {"bytes": 1e8}  # that are made at once


@dataclass(slots=True)
class Fault:
    """One fault in force or to come; times are monotonic ns, `until_ns` may be infinite."""

    id: int
    name: str
    channel: str
    symbol: str
    operation: str
    abort: bool
    executed: bool
    instead: bool
    kind: str
    ms: int
    age: float
    hidden: float
    orders_10s: int
    weight: int
    status: int
    bytes: int
    retry_after: int
    count: int | None
    from_ns: int
    until_ns: float
    begun: bool = False
    struck: int = 0
    texts: Mapping[str, str] = field(default_factory=dict)  # every argument as it was written
    before: dict[str, Any] = field(default_factory=dict)  # what it must restore, or serve: by symbol

    def matches(self, channel: str | None, symbol: str | None, operation: str | None) -> bool:
        """Tell whether the fault is meant for this; None matches all."""
        return (
            (channel is None or self.channel in ("all", channel))
            and (symbol is None or self.symbol in ("*", symbol))
            and (operation is None or self.operation in ("any", operation))
        )

    def describe(self) -> dict[str, object]:
        """Return the fault as the control endpoint shows it."""
        return {
            "id": self.id, "name": self.name, "channel": self.channel, "symbol": self.symbol,
            "operation": self.operation, "kind": self.kind, "ms": self.ms, "count": self.count, "struck": self.struck,
            "begun": self.begun,
        }


class Faults:
    """All faults in force or to come, oldest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._next_id = 1

    def add(self, name: str, arguments: Mapping[str, str], now_ns: int) -> Fault:
        """Add a fault. Raises ValueError naming the argument and the rule when one does not fit."""
        if name not in _TAKES:
            raise ValueError(f"fault must be one of {', '.join(NAMES)}, was {name!r}")
        takes = _TAKES[name]
        for key in arguments:
            if key not in takes and key not in _COMMON:
                raise ValueError(f"{name}: unknown argument {key!r}, takes {', '.join(sorted(_COMMON | set(takes)))}")
        values = {**takes, **{key: str(value) for key, value in arguments.items()}}
        if "seconds" in arguments and "count" not in arguments:
            values.pop("count", None)
        for key, value in values.items():
            if value == "":
                raise ValueError(f"{name}: {key} must be given")
        channel, operation = values.get("channel", "all"), values.get("operation", "any")
        if channel not in CHANNELS:
            raise ValueError(f"{name}: channel must be one of {', '.join(CHANNELS)}, was {channel!r}")
        if operation not in OPERATIONS:
            raise ValueError(f"{name}: operation must be one of {', '.join(OPERATIONS)}, was {operation!r}")
        kind, status = values.get("kind", ""), round(_number(name, values, "status", 503.0))
        if kind and kind not in KINDS:
            raise ValueError(f"{name}: kind must be one of {', '.join(KINDS)}, was {kind!r}")
        if not 500 <= status <= 599:
            raise ValueError(f"{name}: status must be from 500 to 599, was {status}")
        orders_10s, weight = (round(_number(name, values, key, 0.0)) for key in ("orders_10s", "weight"))
        if name == "limit" and not orders_10s and not weight:
            raise ValueError("limit: orders_10s or weight must be given")
        from_ns = now_ns + round(_number(name, values, "after", 0.0) * 1e9)
        seconds = _number(name, values, "seconds", _NEVER)
        fault = Fault(
            id=self._next_id,
            name=name,
            channel=channel,
            symbol=values.get("symbol", "*").upper().replace("-", ""),
            operation=operation,
            abort=_is_set(values, "abort", "0"),
            executed=_is_set(values, "executed", "1"),
            instead=_is_set(values, "instead", "0"),
            kind=kind,
            ms=round(_number(name, values, "ms", 0.0)),
            age=_number(name, values, "age", 0.0),
            hidden=_number(name, values, "hidden", 0.0),
            orders_10s=orders_10s,
            weight=weight,
            status=status,
            bytes=round(_number(name, values, "bytes", 0.0)),
            retry_after=round(_number(name, values, "retry_after", 5.0)),
            count=round(_number(name, values, "count", 1.0)) if "count" in values else None,
            from_ns=from_ns,
            until_ns=from_ns + seconds * 1e9,
            texts=values,
        )
        self._next_id += 1
        self._faults.append(fault)
        return fault

    def take(self, name: str, now_ns: int, channel: str | None = None, symbol: str | None = None,
             operation: str | None = None) -> Fault | None:
        """Return a fault of this name that strikes here and now, counting the strike, or None."""
        if not self._faults:
            return None
        for fault in self._faults:
            if fault.name == name and fault.from_ns <= now_ns < fault.until_ns and fault.matches(
                    channel, symbol, operation):
                fault.begun = True
                fault.struck += 1
                if fault.count is not None and fault.struck >= fault.count:
                    self._faults.remove(fault)
                return fault
        return None

    def of(self, name: str, now_ns: int) -> list[Fault]:
        """Return the faults of this name that are in force, without counting a strike."""
        return [fault for fault in self._faults if fault.name == name and fault.from_ns <= now_ns < fault.until_ns]

    def until_ns(self, name: str, now_ns: int, channel: str) -> float:
        """Return when the latest fault of this name on a channel ends; 0 when there is none, maybe infinite."""
        if not self._faults:
            return 0
        return max((
            fault.until_ns for fault in self._faults
            if fault.name == name and fault.from_ns <= now_ns < fault.until_ns and fault.matches(channel, None, None)
        ), default=0)

    def turn(self, now_ns: int) -> tuple[list[Fault], list[Fault]]:
        """Return the faults that begin and those that end now; the ended ones are forgotten."""
        if not self._faults:
            return [], []
        begun = [fault for fault in self._faults if not fault.begun and fault.from_ns <= now_ns]
        for fault in begun:
            fault.begun = True
        ended = [fault for fault in self._faults if fault.until_ns <= now_ns]
        for fault in ended:
            self._faults.remove(fault)
        return begun, ended

    def clear(self, name: str | None = None) -> list[Fault]:
        """Forget all faults, or all of one name, and return them."""
        gone = [fault for fault in self._faults if name is None or fault.name == name]
        self._faults = [fault for fault in self._faults if fault not in gone]
        return gone

    def remove(self, fault: Fault) -> None:
        """Forget one fault."""
        self._faults.remove(fault)

    def describe(self) -> list[dict[str, object]]:
        """Return all faults as the control endpoint shows them."""
        return [fault.describe() for fault in self._faults]


def parse_fault(text: str) -> tuple[str, dict[str, str]]:
    """Return (name, arguments) of NAME or NAME:KEY=VALUE,... Raises ValueError when it is not of that form."""
    name, _, rest = text.partition(":")
    arguments: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise ValueError(f"fault arguments must be KEY=VALUE,KEY=VALUE, was {rest!r}")
        arguments[key] = value
    return name, arguments


def _is_set(values: Mapping[str, str], key: str, default: str) -> bool:
    return values.get(key, default) not in ("0", "false", "False")


def _number(name: str, values: Mapping[str, str], key: str, default: float) -> float:
    if key not in values:
        return default
    try:
        number = float(values[key])
    except ValueError:
        raise ValueError(f"{name}: {key} must be a number, was {values[key]!r}") from None
    most = _MOST.get(key, _MOST_OF_ANY)
    least = -most if key == "ms" else 0
    if not least <= number <= most:
        raise ValueError(f"{name}: {key} must be from {least:g} to {most:g}, was {values[key]!r}")
    return number
