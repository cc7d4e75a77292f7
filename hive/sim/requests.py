"""What REST and the WebSocket API have in common: an operation is charged, authenticated, executed and answered.

The order of the checks: request weight, API key, mandatory timestamp and signature, timestamp, signature,
parameters nobody reads, then whatever the operation itself demands.
"""
from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hive.sim import errors
from hive.sim.accounts import Account
from hive.sim.errors import VenueError, missing
from hive.sim.exchange import Exchange
from hive.sim.faults import Fault
from hive.sim.filters import integer

PLACE = "place"
CANCEL = "cancel"
QUERY = "query"
PUBLIC = "public"
REST = "rest"
SIGNED_PARAMETERS = frozenset({"timestamp", "recvWindow", "signature"})
_CLIENT_IDS = {PLACE: "newClientOrderId", CANCEL: "origClientOrderId"}
_TARGETS = {"depth": "snapshot", "exchangeInfo": "rules", "klines": "klines"}
_BAN_MS = 120_000  # told to a client whose ban has no end
_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
_DEFAULT_WINDOW_MS = 5000
_LONGEST_WINDOW_MS = 60_000
_AHEAD_MS = 1000
_MICROSECONDS = 10**14  # a timestamp above this is in microseconds, which the venue takes too


@dataclass(slots=True)
class Request:
    """One request, which was read at `read_ns` (monotonic).

    `order_counts` is set when it places an order, to what the venue's headers then show.
    """

    exchange: Exchange
    params: dict[str, str]
    peer: str
    channel: str
    now_ms: int
    read_ns: int = 0
    api_key: str | None = None
    signed_payload: bytes = b""
    account: Account | None = None
    order_counts: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that can be asked for: under which name, at what weight, with which parameters."""

    name: str
    kind: str
    weight: int | Callable[[Mapping[str, str]], int]
    parameters: frozenset[str]
    handler: Callable[[Request], Any]

    @property
    def is_signed(self) -> bool:
        """Tell whether the operation needs a key and a signature."""
        return self.kind != PUBLIC

    @property
    def target(self) -> str:
        """Return what faults call this operation."""
        return _TARGETS.get(self.name, self.kind)


def execute(operation: Operation, request: Request) -> bytes:
    """Execute an operation and return its result as JSON. Raises VenueError with what the venue would answer."""
    try:
        result = _execute(operation, request)
    except VenueError as error:
        _note(operation, request, error.status, error.code)
        raise
    _note(operation, request, 200, 0)
    return result


def _note(operation: Operation, request: Request, status: int, code: int) -> None:
    """Remember a request to place or cancel an order, when that is asked for."""
    received = request.exchange.received
    if received.is_on and operation.kind in _CLIENT_IDS:
        client_id = request.params.get(_CLIENT_IDS[operation.kind], "")
        received.append(operation.kind, client_id, request.read_ns, status, code)


def _execute(operation: Operation, request: Request) -> bytes:
    exchange, params, now_ms = request.exchange, request.params, request.now_ms
    exchange.requests[operation.name] += 1
    weight = operation.weight if isinstance(operation.weight, int) else operation.weight(params)
    exchange.limits.charge(request.peer, weight, now_ms)
    now_ns = time.monotonic_ns()
    check_ban(exchange, request.channel, now_ms)
    fault = exchange.faults.take("http_429", now_ns, channel=request.channel, operation=operation.target)
    if fault is not None:
        raise VenueError(
            errors.TOO_MANY_WEIGHT,
            f"Too much request weight used; current limit is {exchange.limits.settings.weight} request weight per "
            "1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.",
            errors.TOO_MANY_REQUESTS, now_ms + 1000 * fault.retry_after,
        )
    if operation.is_signed:
        request.account = _authenticate(request)
    _check_all_read(operation, request)
    fault = _server_error(exchange, operation, now_ns)
    if fault is not None and not fault.executed:
        raise VenueError(errors.UNKNOWN, errors.UNKNOWN_OUTCOME, fault.status)
    result = operation.handler(request)
    if operation.kind == PLACE:
        exchange.limits.refund(request.peer, weight, now_ms)
    exchange.streams.publish(now_ms)
    if fault is not None:
        raise VenueError(errors.UNKNOWN, errors.UNKNOWN_OUTCOME, fault.status)
    return result if isinstance(result, bytes) else json.dumps(result, separators=(",", ":")).encode()


def check_ban(exchange: Exchange, channel: str, now_ms: int) -> None:
    """Raise VenueError 418 while a `ban` is in force on a channel."""
    now_ns = time.monotonic_ns()
    until_ns = exchange.faults.until_ns("ban", now_ns, channel)
    if until_ns:
        left_ms = _BAN_MS if math.isinf(until_ns) else round((until_ns - now_ns) / 1e6)
        raise VenueError(
            errors.TOO_MANY_WEIGHT,
            f"Way too much request weight used; IP banned until {now_ms + left_ms}. "
            "Please use WebSocket Streams for live updates to avoid bans.",
            errors.BANNED, now_ms + left_ms,
        )


def _server_error(exchange: Exchange, operation: Operation, now_ns: int) -> Fault | None:
    """Return the http_5xx that strikes; `any` spares what needs no key."""
    faults = exchange.faults
    if not operation.is_signed and all(fault.operation == "any" for fault in faults.of("http_5xx", now_ns)):
        return None
    return faults.take("http_5xx", now_ns, operation=operation.target)


def _authenticate(request: Request) -> Account:
    key, params = request.api_key, request.params
    if not key or _KEY.fullmatch(key) is None:
        raise VenueError(errors.BAD_API_KEY_FORMAT, "API-key format invalid.", errors.UNAUTHORIZED)
    account = request.exchange.accounts.by_key.get(key)
    if account is None or request.exchange.faults.take("revoke", time.monotonic_ns()):
        raise VenueError(
            errors.REJECTED_API_KEY, "Invalid API-key, IP, or permissions for action.", errors.UNAUTHORIZED
        )
    timestamp, window = integer(params, "timestamp"), params.get("recvWindow")
    if timestamp is None:
        raise missing("timestamp")
    signature = params.get("signature")
    if not signature:
        raise missing("signature")
    _check_time(request.now_ms, timestamp, window)
    expected = hmac.new(account.api_secret, request.signed_payload, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
        raise VenueError(errors.INVALID_SIGNATURE, "Signature for this request is not valid.")
    return account


def _check_time(now_ms: int, timestamp: int, window: str | None) -> None:
    try:
        window_ms = _DEFAULT_WINDOW_MS if window is None else float(window)
    except ValueError:
        raise missing("recvWindow") from None
    if not 0 < window_ms <= _LONGEST_WINDOW_MS:
        raise VenueError(-1131, "recvWindow must be less than 60000")
    if timestamp >= _MICROSECONDS:
        timestamp //= 1000
    if timestamp >= now_ms + _AHEAD_MS:
        raise VenueError(
            errors.INVALID_TIMESTAMP, "Timestamp for this request was 1000ms ahead of the server's time."
        )
    if now_ms - timestamp > window_ms:
        raise VenueError(errors.INVALID_TIMESTAMP, "Timestamp for this request is outside of the recvWindow.")


def _check_all_read(operation: Operation, request: Request) -> None:
    extra = SIGNED_PARAMETERS if operation.is_signed else frozenset()
    read = sum(1 for name in request.params if name in operation.parameters or name in extra)
    if read != len(request.params):
        raise VenueError(
            errors.UNREAD_PARAMETERS,
            f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(request.params)}'.",
        )
