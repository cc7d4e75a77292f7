"""Code of strategies that is imported before there are strategies, by the server whose memory all workers share.

What a script does to its process when it is imported it would do to every worker, those without it included. So it is
imported as if a strategy did it: it has a context of its own (decimal precision, random numbers, warnings), what
process_wide.py refuses has no effect, and what refusals.py refuses raises.
"""

import contextvars
from collections.abc import Callable
from typing import Any

from hive.workers.context import CURRENT
from hive.workers.refusals import Refusals


class Rehearsal:
    """Stands for the strategy whose code is imported; has what that code can ask of one.

    Args:
        id: what the log and refusals call it.
        host_data: as StrategyContext's.
    """

    def __init__(self, id: str, host_data: Any = None) -> None:
        self.id = id
        self.tag = ""
        self.host_data = host_data

    def run(self, call: Callable[..., Any], *args: Any) -> Any:
        """Return what `call(*args)` returns; raises what it raises."""
        context = contextvars.Context()
        context.run(CURRENT.set, self)  # type: ignore[arg-type]
        refusals = Refusals()
        refusals.install()
        try:
            return context.run(call, *args)
        finally:
            refusals.uninstall()
