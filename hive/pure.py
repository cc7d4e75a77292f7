"""Which implementation runs: the compiled modules, or their twins in pure Python over the same layout.

Beside the source of each extension, `X.pyx`, lies `X.py`: the same names and promises, bytes for bytes the same shared
memory. The twins run when HIVE_PURE_PYTHON is set, or when the tree was set up with it; HIVE_PURE_PYTHON=0 asks for the
compiled ones again. It is all or nothing: compiled modules call each other in C, so one that is missing is an error and
never silently its twin.

The twins keep the order of their stores and loads by what x86-64 promises (hive/shm/atomics.py argues it). Other
machines need barriers, which Python cannot reach: they are refused.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path

VARIABLE = "HIVE_PURE_PYTHON"
COMPILED, PURE = "compiled", "pure python"
MACHINES = ("x86_64", "amd64")
TWINS = frozenset(
    {
        "hive.shm.atomics",
        "hive.shm.book",
        "hive.shm.book_reader",
        "hive.shm.book_writer",
        "hive.shm.broadcast",
        "hive.shm.candles",
        "hive.shm.counters",
        "hive.shm.decimals",
        "hive.feed.binance_diff",
        "hive.feed.book",
        "hive.feed.frames",
        "hive.feed.heart",
        "hive.feed.inlet",
        "hive.feed.levels",
        "hive.feed.lines",
        "hive.workers.beats",
        "hive.workers.busy",
        "hive.workers.clock",
        "hive.workers.immortal",
        "hive.workers.own_memory",
        "hive.workers.running",
        "hive.workers.tick_heap",
        "hive.gate.bucket",
        "hive.gate.fairness",
        "hive.gate.journal_pack",
        "hive.gate.rounds",
        "hive.gate.starvation",
        "hummingbot.runtime.order_book",
        "hummingbot.runtime.clock",
    }
)


class TwinFinder:
    """Finds the modules that exist twice, all compiled or all in pure Python; comes before the other finders.

    Args:
        pure: which of the two.
    """

    def __init__(self, pure: bool) -> None:
        self.pure = pure

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """Return where a module of TWINS is, None for any other; ImportError when it is not there in this kind."""
        if name not in TWINS or path is None:
            return None
        if self.pure:
            files = [Path(folder) / f"{name.rpartition('.')[2]}.py" for folder in path]
            file = next((file for file in files if file.is_file()), None)
            if file is None:
                raise ImportError(f"{name} has no twin in pure Python", name=name)
            return spec_from_file_location(name, file)
        spec = PathFinder.find_spec(name, path)
        if spec is None or not str(spec.origin).endswith(tuple(EXTENSION_SUFFIXES)):
            raise ImportError(f"{name} is not compiled: run ./compile, or set {VARIABLE}=1", name=name)
        return spec


def wanted(environment: Mapping[str, str], built_pure: bool) -> bool:
    """Return whether the twins are to run: as the variable says, and without it as the tree was set up."""
    value = environment.get(VARIABLE, "")
    return value != "0" if value else built_pure


def check_machine(machine: str) -> None:
    """Raise ImportError, with the reason, on a machine whose memory order the twins cannot rely on."""
    if machine.lower() not in MACHINES:
        raise ImportError(
            f"{VARIABLE} needs an x86-64 machine, this is {machine}: there stores may become visible in another order "
            f"than they were made, and Python cannot reach the barriers against it. Unset {VARIABLE} and run ./compile"
        )


def install(built_pure: bool) -> None:
    """Choose once for this process, before any module of TWINS is imported.

    Raises:
        ImportError: the twins are wanted on a machine that they do not run on.
    """
    pure = wanted(os.environ, built_pure)
    if pure:
        check_machine(os.uname().machine)
    sys.meta_path[:] = [TwinFinder(pure), *(one for one in sys.meta_path if not isinstance(one, TwinFinder))]


def implementation() -> str:
    """Return which one this process runs: "compiled" or "pure python"."""
    finder = next(one for one in sys.meta_path if isinstance(one, TwinFinder))
    return PURE if finder.pure else COMPILED
