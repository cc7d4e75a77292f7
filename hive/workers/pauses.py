"""How long garbage collections hold a worker: nothing else runs meanwhile, a tick that is due neither."""

import gc
from collections.abc import Callable
from time import monotonic_ns

from hive.shm.counters import Histogram


class GarbagePauses:
    """Counts the length of each collection of this process, of any generation.

    Args:
        pauses: in ns.
        now_ns: monotonic.
    """

    def __init__(self, pauses: Histogram, now_ns: Callable[[], int] = monotonic_ns) -> None:
        self._pauses = pauses
        self._now_ns = now_ns
        self._begun_ns = 0

    def start(self) -> None:
        """Count from now on."""
        gc.callbacks.append(self._on_collection)

    def stop(self) -> None:
        """Count no more."""
        gc.callbacks.remove(self._on_collection)

    def _on_collection(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._begun_ns = self._now_ns()
        else:
            self._pauses.record(self._now_ns() - self._begun_ns)
