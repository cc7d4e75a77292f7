"""What an operator changes of a running fleet: `hive add`, `remove`, `restart`, `pause`, `resume ID`, `move`, `apply`.

    add       a strategy of the fleet file begins           restart   it ends, and begins anew where it was
    remove    it ends; its orders are cancelled             move      it ends, and begins anew on another worker
    pause     it is not ticked                              apply     the file's difference to what runs, step by step

Each touches the strategies that it names and no other. A strategy that ends here is asked to stop as Hummingbot's own
`stop` does; with `orders: keep` its resting orders stay at the venue, and its next life has them from its records. Its
counters and what the gate keeps of it (capital, positions, limits, late fills) go along; Python state does not.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hive.cli_errors import CONFIG, NOT_FOUND
from hive.difference import Difference, difference
from hive.fleet import FleetConfig, StrategyConfig
from hive.members import Resident
from hive.plan import DEDICATED
from hive.roster import Roster
from hive.steps import CANCEL, KEEP, Answer, Changes, Refused, Steps
from hive.texts import one_line

COMMANDS = ("add", "remove", "restart", "pause", "unpause", "move", "apply")
NEW = "new"
HELD = "paused by the operator"
REASON_MAX = 200


class Operations:
    """Carries out the operator's changes.

    Args:
        roster: has the members, and says what the fleet file has beyond them.
        changes: takes the steps.
        say: say(level, text, **data) tells the operator.
    """

    def __init__(self, roster: Roster, changes: Changes, say: Callable[..., None]) -> None:
        self._roster = roster
        self._members = roster.members
        self._changes = changes
        self._say = say
        self._file = roster.members.fleet()  # the fleet file as it was last read

    def ask(self, request: dict[str, Any], answer: asyncio.Future[Answer]) -> None:
        """Carry out a request of COMMANDS, in its own time. Raises Refused when it cannot be begun.

        `add` and `apply` come with the fleet that was read from a file as `fleet`.
        """
        match request["command"]:
            case "apply":
                self._apply(request, answer)
            case "add":
                config = self._wanted(request)
                self._read(request["fleet"])
                self._changes.begin({config.id}, self._add(config), answer)
            case "remove":
                one = self._one(request)
                self._changes.begin({one.config.id}, self._remove(one), answer)
            case "restart":
                one = self._one(request)
                steps = self._anew(one, one.worker, _orders(request, CANCEL))
                self._changes.begin({one.config.id}, self._told(steps, one, "was started again"), answer)
            case "move":
                self._move(request, answer)
            case "pause" | "unpause":
                self._hold(request, answer)

    def look_at_file(self) -> None:
        """Note, for `hive status`, what the fleet file says otherwise than the fleet is."""
        lines = difference(self._members.fleet(), self._file).lines()
        if lines != self._roster.facts.get("differs", []):
            self._roster.facts["differs"] = lines
            self._roster.save()

    # what is asked

    def _one(self, request: dict[str, Any]) -> Resident:
        strategy = request.get("strategy")
        one = self._members.get(strategy)
        if one is None:
            raise Refused(f"there is no strategy {strategy}; there are {', '.join(self._members.ids())}", NOT_FOUND)
        return one

    def _wanted(self, request: dict[str, Any]) -> StrategyConfig:
        strategy, fleet = request.get("strategy"), request["fleet"]
        config = next((one for one in fleet.strategies if one.id == strategy), None)
        if config is None:
            raise Refused(f"{fleet.path} has no strategy {strategy}", NOT_FOUND)
        if self._members.get(config.id) is not None:
            raise Refused(f"strategy {config.id} is there already: `hive restart {config.id}` starts it anew")
        self._check(difference(self._members.fleet(), fleet), fleet)
        self._check_tag(config)
        return config

    def _check(self, found: Difference, fleet: FleetConfig) -> None:
        if found.refused:
            keys = ", ".join(found.refused)
            raise Refused(f"{fleet.path}: {keys}: cannot change while the fleet runs; nothing was done", CONFIG)

    def _check_tag(self, config: StrategyConfig) -> None:
        for one in self._members:
            if one.config.tag == config.tag and one.config.id != config.id:
                rule = f"{config.id} and {one.config.id} have the same tag ({config.tag}); change one of the ids"
                raise Refused(f"strategy {rule}", CONFIG)

    def _read(self, fleet: FleetConfig) -> None:
        if fleet.path == self._file.path:
            self._file = fleet

    def _move(self, request: dict[str, Any], answer: asyncio.Future[Answer]) -> None:
        one = self._one(request)
        wanted = request.get("worker")
        if wanted == one.worker and wanted is not None:
            raise Refused(f"strategy {one.config.id} is on worker {wanted} already")
        if wanted != NEW:
            if not isinstance(wanted, int) or isinstance(wanted, bool):
                raise Refused(f"worker must be a number or {NEW}, was {wanted!r}")
            if problem := self._members.why_not(wanted):
                raise Refused(problem, NOT_FOUND)
        orders = _orders(request, KEEP)

        def steps() -> Steps[None]:
            worker = self._members.new_worker() if wanted == NEW else wanted
            yield from self._anew(one, worker, orders, keeps_pause=True)

        self._changes.begin({one.config.id}, self._told(steps(), one, "was moved"), answer)

    def _hold(self, request: dict[str, Any], answer: asyncio.Future[Answer]) -> None:
        one = self._one(request)
        strategy = one.config.id
        if strategy in self._changes.busy():
            raise Refused(f"strategy {strategy} is being changed: try again when that is done")
        pausing = request["command"] == "pause"
        if pausing:
            one.held = one_line(request.get("reason") or "", REASON_MAX) or one.held or HELD
        elif one.state != "paused" and not (one.held or one.rests):
            raise Refused(f"strategy {strategy} is not paused, it is {one.state}")
        else:
            one.held = one.rests = ""
        child = self._roster.children.get(("worker", one.worker))
        if child is not None:
            message = {"type": "pause", "reason": one.held} if pausing else {"type": "resume"}
            child.send({**message, "id": strategy})
        before = one.state
        self._changes.begin({strategy}, self._held(one, pausing, before), answer)

    def _held(self, one: Resident, pausing: bool, before: str) -> Steps[Answer]:
        if pausing and before in ("running", "paused"):
            yield lambda: one.state != "running"
        elif not pausing:
            yield lambda: one.state != "paused"
        self._say("info", f"strategy {one.config.id} is {one.state}" + (f": {one.held}" if one.held else ""))
        return _shown(one)

    # the changes

    def _add(self, config: StrategyConfig) -> Steps[Answer]:
        one = self._members.add(config)
        yield from self._changes.settle(one, self._members.place(config))
        yield from self._changes.started(one)
        self._say("info", f"strategy {config.id} was added, on worker {one.worker}", strategy=config.id)
        self.look_at_file()
        return _shown(one)

    def _remove(self, one: Resident) -> Steps[Answer]:
        yield from self._changes.leave(one, CANCEL)
        answer = yield from self._changes.retire(one, CANCEL)
        self._members.discard(one.config.id)
        left = answer.get("orders", 0)
        text = f"; the gate cancels {left} orders of it" if left else ""
        self._say("info", f"strategy {one.config.id} was removed{text}", strategy=one.config.id)
        self.look_at_file()
        return {"state": "removed", "orders": left}

    def _anew(
        self,
        one: Resident,
        worker: int | None,
        orders: str,
        config: StrategyConfig | None = None,
        *,
        keeps_pause: bool = False,
    ) -> Steps[None]:
        """End a strategy's life and begin the next one, on `worker`; None: wherever there is room.

        An operator's pause is kept in any case, one by its errors only when `keeps_pause`.
        """
        if keeps_pause:
            self._members.keep_pause(one)
        else:
            one.rests = ""
        yield from self._changes.leave(one, orders)
        yield from self._changes.retire(one, orders)
        if config is not None:
            one.config = config
        one.reason, one.ends = "", 0
        if worker is None or worker not in self._members.workers():
            worker = self._members.place(one.config)
        try:
            yield from self._changes.settle(one, worker)
            yield from self._changes.started(one)
        except Refused:
            if orders == KEEP and one.state == "failed" and self._members.fleet().on_crash == CANCEL:
                yield from self._changes.retire(one, CANCEL)  # nobody looks after what rests
            raise

    def _told(self, steps: Steps[None], one: Resident, what: str) -> Steps[Answer]:
        yield from steps
        self._say("info", f"strategy {one.config.id} {what}, on worker {one.worker}", strategy=one.config.id)
        return _shown(one)

    def _apply(self, request: dict[str, Any], answer: asyncio.Future[Answer]) -> None:
        fleet = request["fleet"]
        found = difference(self._members.fleet(), fleet)
        self._check(found, fleet)
        if request.get("dry_run"):
            answer.set_result({"ok": True, "steps": found.lines(), "failed": []})
            return
        for config in found.added:
            self._check_tag(config)
        self._read(fleet)
        whom = {*found.removed, *(one.id for one in (*found.added, *found.restarted, *found.adjusted))}
        self._changes.begin(whom, self._apply_all(found), answer)

    def _apply_all(self, found: Difference) -> Steps[Answer]:
        """Take every step; one that fails is told, and the others are taken all the same."""
        failed = []
        for config in found.adjusted:
            one = self._members.get(config.id)
            one.config = config
            answer = yield from self._changes.adopt(one)
            if answer.get("error"):
                failed.append(f"{config.id}: {answer['error']}")
        todo = [self._remove(self._members.get(strategy)) for strategy in found.removed]
        for config in found.restarted:
            one = self._members.get(config.id)
            moves = DEDICATED in (one.config.worker, config.worker) and one.config.worker != config.worker
            todo.append(self._anew(one, None if moves else one.worker, CANCEL, config))
        todo += [self._add(config) for config in found.added]
        for steps in todo:
            try:
                yield from steps
            except Refused as refused:
                failed.append(str(refused))
        self.look_at_file()
        self._say("info", f"applied: {'; '.join(found.lines()) or 'nothing differs'}")
        return {"steps": found.lines(), "failed": failed}


async def with_fleet(request: dict[str, Any], own: Path, read: Callable[[Path], FleetConfig]) -> dict[str, Any]:
    """Return a request with the fleet of the file that it is about, when it is about one; read in another thread.

    Args:
        own: the fleet's own file, when the request names none.
        read: raises ConfigError.
    """
    if request.get("command") not in ("add", "apply"):
        return request
    path = Path(request.get("file") or own)
    return {**request, "fleet": await asyncio.to_thread(read, path)}


def _orders(request: dict[str, Any], default: str) -> str:
    orders = request.get("orders") or default
    if orders not in (KEEP, CANCEL):
        raise Refused(f"orders must be {KEEP} or {CANCEL}, was {orders!r}")
    return orders


def _shown(one: Resident) -> Answer:
    return {"state": one.state, "worker": one.worker, "message": one.message}
