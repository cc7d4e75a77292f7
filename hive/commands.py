"""What an operator asks of a running fleet, halt, resume and flat, and what its gate tells of itself: halts and alarms.

    hive halt    -> control socket -> halts (kept) -> gate: no new orders, cancels pass
    hive flat    -> halt, then the gate cancels all and looks; its answer is the operator's
    gate         -> "halted" (a loss limit, a revoked key): kept as an operator's halt is; "alarm": shown and remembered

Called from the supervisor's loop only. A request is answered through its future, a flat when the gate has answered or
its time is over; a flat outlives the gate: the next one is asked again.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hive.changes import COMMANDS as CHANGES
from hive.changes import Operations
from hive.cli_errors import ERROR, NOT_FOUND
from hive.halts import GATE, OPERATOR, Halt
from hive.roster import Roster
from hive.steps import Refused
from hive.texts import one_line

FLAT_TIMEOUT_S = 30.0
FLAT_TIMEOUT_MAX_S = 3600.0
GRACE_S = 2.0  # beyond the deadline that the gate was told
NAMES_SHOWN = 20
REASON_MAX = 200

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Flat:
    """A flat that waits for the gate: its number, its future, and when its time is over (monotonic)."""

    number: int
    answer: asyncio.Future[Answer]
    deadline: float


class Commands:
    """Carries out what is asked.

    Args:
        roster: has halts and alarms, and knows the gate.
        say: say(level, text, **data) tells the operator.
        now: monotonic seconds.
        operations: carries out the changes to strategies.
    """

    def __init__(
        self,
        roster: Roster,
        say: Callable[..., None],
        now: Callable[[], float] = time.monotonic,
        operations: Operations | None = None,
    ) -> None:
        self._roster = roster
        self._operations = operations
        self._say = say
        self._now = now
        self._flats: dict[int, Flat] = {}
        self._numbers = 0
        self._over = ""

    def introduce(self) -> None:
        """Say, in one line, which halts are in force from the start."""
        halts = list(self._roster.halts)
        if halts:
            how = ", ".join(f"`{resume_words(halt)}`" for halt in halts[:NAMES_SHOWN])
            whom = ", ".join(str(halt) for halt in halts[:NAMES_SHOWN])
            more = f" and {len(halts) - NAMES_SHOWN} more" if len(halts) > NAMES_SHOWN else ""
            self._say("warning", f"halted since before this start: {whom}{more}; lifted by {how}", halts=len(halts))

    def ask(self, request: dict[str, Any], answer: asyncio.Future[Answer]) -> None:
        """Carry out a request: {"command": "halt" | "resume" | "flat", ...}."""
        try:
            if self._over:
                raise Refused(self._over)
            match request.get("command"):
                case "halt":
                    _resolve(answer, self._halt(request))
                case "resume":
                    _resolve(answer, self._resume(request))
                case "flat":
                    self._flat(request, answer)
                case change if self._operations is not None and change in CHANGES:
                    self._operations.ask(request, answer)
                case other:
                    known = ", ".join(("status", "down", "halt", "resume", "flat", *CHANGES))
                    raise Refused(f"command must be one of {known}, was {other!r}")
        except Refused as refused:
            _resolve(answer, {"ok": False, "error": str(refused), "code": refused.code})

    def told(self, message: dict[str, Any]) -> None:
        """Take a message of the gate: "flat", "halted" or "alarm"."""
        match message["type"]:
            case "flat":
                self._on_flat(message)
            case "halted":
                self._on_halted(message)
            case "alarm":
                self._on_alarm(message)

    def _on_flat(self, message: dict[str, Any]) -> None:
        flat = self._flats.pop(message["request"], None)
        if flat is not None:
            text = message.get("text") or ""
            level = "info" if message["open"] == 0 else "error"
            count = "" if message["open"] is None else f"{message['open']} orders of the fleet are open. "
            self._say(level, f"flat: {count}{text}".strip())
            _resolve(flat.answer, {"ok": True, "open": message["open"], "text": text})

    def _on_halted(self, message: dict[str, Any]) -> None:
        venue, strategy = message.get("venue"), message.get("strategy")
        reason = str(message.get("reason") or "the gate says no reason")
        known = any((one.venue, one.strategy, one.reason) == (venue, strategy, reason) for one in self._roster.halts)
        if known:
            return
        note = self._add(venue, strategy, reason, GATE)
        halt = Halt(venue, strategy, reason)
        self._say("error", f"HALTED: {halt}: no new orders until `{resume_words(halt)}`{note}", venue=venue)

    def _on_alarm(self, message: dict[str, Any]) -> None:
        text, venue = str(message["text"]), message.get("venue")
        self._roster.alarm(text, venue)
        self._say("error", f"ALARM: {f'{venue}: ' if venue else ''}{text}", venue=venue)

    def gate_ready(self) -> None:
        """Ask a new gate what the one before it did not answer."""
        for flat in self._flats.values():
            self._send_flat(flat)

    def beat(self) -> None:
        """Answer the flats whose time is over."""
        now = self._now()
        for flat in [one for one in self._flats.values() if now > one.deadline + GRACE_S]:
            del self._flats[flat.number]
            text = "the gate has not answered in time: orders may be open"
            self._say("error", f"flat: {text}")
            _resolve(flat.answer, {"ok": True, "open": None, "text": text})

    def end(self, why: str) -> None:
        """Refuse everything from now on, what waits as well."""
        self._over = why
        for flat in self._flats.values():
            _resolve(flat.answer, {"ok": False, "error": why, "code": ERROR})
        self._flats.clear()

    def _halt(self, request: dict[str, Any]) -> Answer:
        venue, strategy = self._scope(request)
        reason = one_line(request.get("reason") or "", REASON_MAX) or "hive halt"
        note = self._add(venue, strategy, reason)
        self._say("warning", f"halted: {Halt(venue, strategy, reason)}: no new orders, cancels pass{note}")
        return self._told(note)

    def _resume(self, request: dict[str, Any]) -> Answer:
        venue, strategy = self._scope(request)
        lifted = self._roster.halts.lift(venue, strategy)
        note = self._unkept("the next start of the fleet finds it halted")
        for halt in lifted:
            self._tell_gate({"type": "resume", "venue": halt.venue, "strategy": halt.strategy})
            self._say("info", f"resumed: {halt.whom}{note}")
        for halt in self._roster.halts_of_this_fleet() if lifted else ():
            self._tell_gate({"type": "halt", **halt.scope()})  # a wider resume must not lift a narrower halt
        self._roster.save()
        return {**self._told(note), "lifted": [halt.whom for halt in lifted]}

    def _flat(self, request: dict[str, Any], answer: asyncio.Future[Answer]) -> None:
        timeout_s = request.get("timeout_s", FLAT_TIMEOUT_S)
        if not _is_number(timeout_s) or not 0 < timeout_s <= FLAT_TIMEOUT_MAX_S:
            raise Refused(f"timeout_s must be above 0 and at most {FLAT_TIMEOUT_MAX_S:g}, was {timeout_s!r}")
        note = ""
        if not any((one.venue, one.strategy) == (None, None) for one in self._roster.halts):
            note = self._add(None, None, "hive flat")
        self._say("warning", f"flat: the whole fleet is halted and its orders are cancelled{note}")
        self._numbers += 1
        flat = self._flats[self._numbers] = Flat(self._numbers, answer, self._now() + timeout_s)
        if any(gate.ready for gate in self._roster.of_role("gate")):
            self._send_flat(flat)

    def _send_flat(self, flat: Flat) -> None:
        left_s = max(0.1, flat.deadline - self._now())
        self._tell_gate({"type": "flat", "request": flat.number, "deadline_s": round(left_s, 3)})

    def _add(self, venue: str | None, strategy: str | None, reason: str, by: str = OPERATOR) -> str:
        """Put a halt into force; return "" or why it does not outlive the fleet."""
        self._tell_gate({"type": "halt", "venue": venue, "strategy": strategy, "reason": reason})
        self._roster.halts.add(venue, strategy, reason, by)
        self._roster.save()
        return self._unkept("a restart of the fleet forgets it")

    def _unkept(self, then: str) -> str:
        problem = self._roster.halts.problem
        return f" (not written down: {problem}: {then})" if problem else ""

    def _scope(self, request: dict[str, Any]) -> tuple[str | None, str | None]:
        venue, strategy = request.get("venue"), request.get("strategy")
        if venue is not None and strategy is not None:
            raise Refused("name a venue or a strategy, not both")
        for what, name, known in (
            ("venue", venue, self._roster.venue_names()),
            ("strategy", strategy, self._roster.strategy_ids()),
        ):
            if name is not None and name not in known:
                raise Refused(f"there is no {what} {name}; there {_are(known)}", NOT_FOUND)
        return venue, strategy

    def _tell_gate(self, message: dict[str, Any]) -> None:
        """Send to the gate, ready or not: it reads its channel in order, after its boot message."""
        for gate in self._roster.of_role("gate"):
            gate.send(message)

    def _told(self, note: str) -> Answer:
        return {"ok": True, "halts": self._roster.halts.to_json(), "note": note.strip()}


def resume_words(halt: Halt) -> str:
    """Return the command that lifts a halt."""
    if halt.strategy is not None:
        return f"hive resume --strategy {halt.strategy}"
    return "hive resume" if halt.venue is None else f"hive resume --venue {halt.venue}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are(names: list[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{'is' if len(names) == 1 else 'are'} {shown}{more}"


def _resolve(answer: asyncio.Future[Answer], value: Answer) -> None:
    if not answer.done():  # its caller may be gone
        answer.set_result(value)
