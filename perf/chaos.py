"""Does any order or fill get lost, doubled or misdirected when the fleet's processes are killed under load?

    exchange (apart) <-> gate <-> 2 workers, 8 strategies that place, cancel and are filled, up to 160 orders a second
                                      |
    kill -9 of gate, worker, feed, supervisor, all      diaries <- judge -> the exchange's ledger

A burst is one kill or several, some at once, some into the restart that the one before has caused. Then every strategy
must trade again within WITHIN_S: an order placed after the last kill must be acknowledged by the exchange. The harness
starts a supervisor that was killed anew, as an init system would. Such a fleet knows only the exchange's documented
limit at first, of which the one before may have spent the whole minute: it has the rest of that minute beyond WITHIN_S.

In the end the strategies stop, everything settles, and each order and fill of the exchange is held against what its
strategy wrote down (chaos_judge.py, chaos_leaks.py). Killing everything counts as one kill.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chaos_fleet import NAME, STRATEGIES, Exchange, Fleet, Member
from chaos_judge import Verdict, judge
from chaos_leaks import Leaks
from harness import Args, Goal, Outcome, WrongAnswer, check, run

GOALS = (
    Goal("chaos.lost", "<=", 0),
    Goal("chaos.doubled", "<=", 0),
    Goal("chaos.misattributed", "<=", 0),
    Goal("chaos.wedged", "<=", 0),
    Goal("chaos.http_429", "<=", 0),
    Goal("chaos.leaked", "<=", 0),
)
SEED = 20261126
WITHIN_S = 10.0
START_S = 60.0
MINUTE_S = 60.0
GIVE_UP_S = 60.0  # a fleet that does not trade by then is no use any more
SETTLE_S = 45.0  # recvWindow, margins and the inquiry's longest pause
STOP_S = 60.0
VICTIMS = {"gate": 21, "worker": 17, "feed": 10, "supervisor": 1, "all": 1}  # in every 50, shuffled
BURST = (1, 1, 1, 2, 2, 3, 4)  # four deaths in a row before a process is ready are allowed, five end the fleet
TRADES_S = 0.7  # at most, between a recovery and the next burst
INTO_RESTART_S = 0.6  # at most, between two kills of a burst
THROTTLED = (418, 429)


@dataclass(slots=True)
class Tally:
    """What was done and seen."""

    kills: Counter = field(default_factory=Counter)
    bursts: int = 0
    recovery_s: list[float] = field(default_factory=list)
    wedged: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    slopes: dict[str, float] = field(default_factory=dict)
    throttled: int = 0
    exit_code: int | None = None
    verdict: Verdict = field(default_factory=Verdict)
    seconds: float = 0.0

    def lines(self) -> list[str]:
        """Return what there is to read: a summary, then each fault, the first of each kind."""
        verdict = self.verdict
        killed = ", ".join(f"{count} {what}" for what, count in sorted(self.kills.items()))
        slowest = sorted(self.recovery_s)
        lines = [
            f"killed: {killed}; in {self.bursts} bursts, {self.seconds:.0f} s",
            f"trading again after: median {slowest[len(slowest) // 2]:.2f} s, slowest {slowest[-1]:.2f} s",
            f"orders at the exchange {verdict.orders}, fills {verdict.fills}; never sent {verdict.never_sent}; "
            f"fills that came again in a later life {verdict.again}",
            "growth per kill, or order: " + ", ".join(f"{what} {slope}" for what, slope in sorted(self.slopes.items())),
        ]
        for what in ("lost", "doubled", "misattributed"):
            lines += [f"{what}: {line}" for line in getattr(verdict, what)[:20]]
        lines += [f"wedged: {line}" for line in self.wedged[:20]]
        return lines + [f"leaked: {line}" for line in self.leaked[:20]]


class Chaos:
    """Kills processes of a fleet and waits for it to recover.

    Args:
        fleet: that trades.
        rng: decides who and when.
        within_s: how soon every strategy must trade again.
    """

    def __init__(self, fleet: Fleet, rng: random.Random, within_s: float) -> None:
        self._fleet = fleet
        self._rng = rng
        self._within_s = within_s
        self._deck: list[str] = []
        self.tally = Tally()
        self.leaks = Leaks()

    def burst(self, most: int) -> None:
        """Kill at most so many, then wait until every strategy trades again."""
        time.sleep(self._rng.random() * TRADES_S)
        victims = []
        for _ in range(min(most, self._rng.choice(BURST))):
            if victims:
                time.sleep(self._rng.choice((0.0, self._rng.random() * INTO_RESTART_S)))
            victims += self._kill()
        if victims:
            self.tally.bursts += 1
            self._recover(victims)

    def _kill(self) -> list[str]:
        if not self._deck:
            self._deck = [what for what, count in VICTIMS.items() for _ in range(count)]
            self._rng.shuffle(self._deck)
        what = self._deck.pop()
        members = self._fleet.members()
        if what == "all":
            killed = self._kill_all(members)
        else:
            of_role = [one for one in members if one.role == what]
            killed = bool(of_role) and self._rng.choice(of_role).kill()
        if not killed:
            self._deck.insert(0, what)  # it is dead already: later
            return []
        self.tally.kills[what] += 1
        self._fleet.note(f"killed {what}")
        if what in ("supervisor", "all"):
            self._fleet.bury_supervisor()
        return [what]

    @staticmethod
    def _kill_all(members: list[Member]) -> bool:
        supervisor = [one for one in members if one.role == "supervisor"]
        if not supervisor or not supervisor[0].kill():
            return False
        for one in members:
            one.kill()
        return True

    def _recover(self, victims: list[str]) -> None:
        killed_ns = time.monotonic_ns()
        within_s = self._within_s
        if {"supervisor", "all"} & set(victims):
            within_s += MINUTE_S - time.time() % MINUTE_S
        if not self._trades(killed_ns, within_s):
            idle = self._fleet.idle_since(killed_ns)
            story = f"{', '.join(idle)} did not trade within {within_s:.1f} s of {' + '.join(victims)}"
            self.tally.wedged.append(f"{story}, killed at {killed_ns}")
            if not self._trades(killed_ns, GIVE_UP_S):
                raise WrongAnswer(f"{story}, nor within {GIVE_UP_S:g} s more:\n{self._fleet.output()}")
        self.tally.recovery_s.append((time.monotonic_ns() - killed_ns) / 1e9)
        self._fleet.note("all trade again")
        orders = sum(len(reader.stories) for reader in self._fleet.readers.values())
        self.leaks.look(self._fleet, self.tally.kills.total(), orders)

    def _trades(self, since_ns: int, within_s: float) -> bool:
        def trades() -> bool:
            if self._fleet.process.poll() is not None:
                self.tally.wedged.append(f"hive up ended by itself:\n{self._fleet.output()}")
                self._fleet.bury_supervisor()
            return not self._fleet.idle_since(since_ns)

        return self._fleet.wait(trades, within_s)


def play(kills: int, seed: int, *, within_s: float = WITHIN_S, keep: Path | None = None) -> Tally:
    """Run a fleet, kill so often, let it settle, stop it, and judge.

    Args:
        kills: how many.
        seed: of who is killed and when.
        within_s: how soon every strategy must trade again after a burst.
        keep: a folder for logs, diaries and the ledger; default: they are not kept.
    """
    began = time.monotonic()
    with fleet_run(seed, keep) as (exchange, fleet):
        chaos = Chaos(fleet, random.Random(seed), within_s)
        tally = chaos.tally
        fleet.up()
        check(fleet.wait(lambda: not fleet.idle_since(0), START_S), f"the fleet does not trade:\n{fleet.output()}")
        while tally.kills.total() < kills:
            chaos.burst(kills - tally.kills.total())
        fleet.pause()
        fleet.wait(lambda: not verdict_of(exchange, fleet).lost, SETTLE_S)  # what is doubled does not heal
        tally.exit_code = fleet.stop(STOP_S)
        tally.verdict = verdict_of(exchange, fleet)
        tally.throttled = sum(count for status, count in exchange.refusals().items() if status in THROTTLED)
        chaos.leaks.look_at_the_end(fleet)
        (fleet.folder / "ledger.json").write_text(json.dumps(exchange.orders()))
        tally.leaked, tally.slopes = chaos.leaks.leaked(), chaos.leaks.slopes()
    tally.seconds = time.monotonic() - began
    return tally


def verdict_of(exchange: Exchange, fleet: Fleet) -> Verdict:
    """Return what the judge says now."""
    orders = exchange.orders()
    fleet.look()
    return judge(orders, fleet.readers, fleet.tags, fleet.fleet_id)


@contextmanager
def fleet_run(seed: int, keep: Path | None) -> Iterator[tuple[Exchange, Fleet]]:
    """Run the exchange, lend a fleet that trades there, and end both."""
    folder = Path(tempfile.mkdtemp(prefix="hvc"))
    exchange = Exchange(seed)
    try:
        fleet = Fleet(folder, exchange)
        try:
            yield exchange, fleet
        finally:
            fleet.stop(STOP_S)
    finally:
        exchange.close()
        if keep is not None:
            shutil.copytree(folder, keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock", "wake.*"))
        shutil.rmtree(folder, ignore_errors=True)


def measure(args: Args) -> Outcome:
    """Kill as often as asked."""
    kills = args.options.kills or args.size("kills", 1_000, 50)
    tally = play(kills, args.options.seed, keep=args.options.keep)
    verdict = tally.verdict
    check(verdict.orders > 10 * kills, f"{kills} kills under load need more than {verdict.orders} orders")
    check(verdict.fills > kills, f"{kills} kills under load need more than {verdict.fills} fills")
    check(tally.exit_code == 0, f"the fleet must stop with exit code 0, was {tally.exit_code}")
    values = {
        "chaos.lost": len(verdict.lost),
        "chaos.doubled": len(verdict.doubled),
        "chaos.misattributed": len(verdict.misattributed),
        "chaos.wedged": len(tally.wedged),
        "chaos.http_429": tally.throttled,
        "chaos.leaked": len(tally.leaked),
    }
    details = {
        "fleet": NAME,
        "strategies": STRATEGIES,
        "kills": dict(tally.kills),
        "bursts": tally.bursts,
        "recovery_s": [round(one, 3) for one in tally.recovery_s],
        "orders": verdict.orders,
        "fills": verdict.fills,
        "never_sent": verdict.never_sent,
        "again": verdict.again,
        "slopes": tally.slopes,
    }
    return Outcome(values, details, tally.lines())


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this script's own options."""
    parser.add_argument("--kills", type=int, help="another number of kills")
    parser.add_argument("--seed", type=int, default=SEED, help="of who is killed and when")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep logs, diaries and the ledger there")


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure, add_options=add_options))
