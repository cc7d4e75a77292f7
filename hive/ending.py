"""Decides that a fleet ends, and with which exit code: at a signal, a command, an error, or when its time is over.

    stop, fail, signalled, beat ──▶ commands and changes are told ──▶ the fleet is measured ──▶ shutdown begins

The first reason counts; later ones change nothing, except that a second signal hurries and a third one ends at once.
Called from the supervisor's loop only.
"""

import logging
import signal
import time
from collections.abc import Callable

from hive.cli_errors import ERROR, OK
from hive.console import Console
from hive.roster import Roster
from hive.shutdown import QUICK_S, Shutdown
from hive.top_sample import Sample, Sampler

log = logging.getLogger("hive.supervisor")


class Ending:
    """Why, when and how a run ends.

    Args:
        roster: who lives.
        console: tells the operator.
        sampler: measures the fleet before it stops; it is closed then.
        shutdown: stops the processes in order.
        duration_s: when to stop by itself, counted from `running`; None never.
        say: say(level, text) tells the operator, and the log.
        end_work: end_work(why) ends what the operator and the fleet have under way.
        traded: whether there may be orders at the venues, and a gate that can cancel them.

    Attributes:
        before_stop: what was measured before the stop; None until then, and when that failed.
        broken: the supervisor itself failed; nobody is started any more.
    """

    def __init__(
        self,
        roster: Roster,
        console: Console,
        sampler: Sampler,
        shutdown: Shutdown,
        duration_s: float | None,
        *,
        say: Callable[[str, str], None],
        end_work: Callable[[str], None],
        traded: Callable[[], bool],
    ) -> None:
        self._roster = roster
        self._console = console
        self._sampler = sampler
        self._shutdown = shutdown
        self._duration_s = duration_s
        self._say = say
        self._end_work = end_work
        self._traded = traded
        self._code = OK
        self._signals = 0
        self._forced = False
        self._until = float("inf")
        self.broken = False
        self.before_stop: Sample | None = None

    @property
    def begun(self) -> bool:
        """Whether the fleet is ending."""
        return self._shutdown.begun or self.broken

    @property
    def over(self) -> bool:
        """Whether nothing is left to wait for."""
        return self._forced or self._shutdown.over

    @property
    def exit_code(self) -> int:
        """Return what `hive up` exits with."""
        return self._code if self._shutdown.clean else ERROR

    def running(self) -> None:
        """Count the fleet's time from now, when this is the first time that all workers are up."""
        if self._duration_s is not None and self._until == float("inf"):
            self._until = time.monotonic() + self._duration_s

    def beat(self) -> None:
        """Stop when the time is over."""
        if time.monotonic() >= self._until:
            self.stop(f"{self._duration_s:g} s are over")

    def signalled(self, number: int) -> None:
        """Stop at the first signal, hurry at the second, end at once at the third."""
        self._signals += 1
        if self._signals == 1 and not self.begun:
            self.stop(signal.Signals(number).name)
        elif self._signals <= 2:
            self._console.say("hurry", f"{QUICK_S:g} s left for what is still stopping")
            self._shutdown.hurry()
        else:
            self._shutdown.forced()
            self._forced = True

    def fail(self, why: str) -> None:
        """Stop because of an error."""
        if not self.begun:
            self._say("error", why)
        self._roster.facts.setdefault("error", why)
        self.stop("error", ERROR)

    def stop(self, why: str, code: int = OK, timeout_s: float | None = None) -> None:
        """Stop the fleet, when nothing has stopped it yet.

        Args:
            timeout_s: how long strategies and gate may take, when that is less than the fleet's own limit.
        """
        if self.begun:
            return
        self._code = code
        how = "; orders are cancelled, ctrl-C again hurries" if code == OK else ""
        self._console.say("stopping", f"stopping: {why}{how}", why=why)
        self._end_work(f"the fleet is stopping: {why}")
        self._roster.state = "stopping"
        self._roster.save()
        try:
            self.before_stop = self._sampler.sample(pss=True)
        except OSError:  # the report has less then; what is open at the venue is cancelled all the same
            log.exception("the fleet cannot be measured before its end")
        self._sampler.close()
        self._shutdown.begin(timeout_s, traded=self._traded())
