"""A strategy's scripts and controllers as modules of its own, from its own root; only their bytecode is shared.

    hive_<tag>                  the strategy's package: its root, then the folders that it has put on sys.path
    hive_<tag>.scripts.X        what its code calls scripts.X
    hive_<tag>.controllers.X.Y  what its code calls controllers.X.Y

So two strategies of one file have module-level state and class attributes of their own, and two files of one name from
different roots never meet. Code that is loaded this way imports by the usual names: its `__import__`, and everybody's
`importlib.import_module`, look into the package first for `scripts`, `controllers`, and what only the strategy's own
folders have. A folder that a strategy puts on sys.path goes to its package, not to the process.
"""

import builtins
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any

from hive.workers.context import CURRENT
from hive.workers.rehearsal import Rehearsal
from hummingbot.runtime import shared_code

FOLDERS = frozenset({"scripts", "controllers"})
PACKAGE = "hive_"

_owners: dict[str, "PrivateModules"] = {}  # by package
_code: dict[str, tuple[tuple[int, int], CodeType]] = {}  # by path: (mtime, size) and what was compiled then
_import_module = importlib.import_module
_reload = importlib.reload


class PrivateModules:
    """The modules of one strategy, from when it is made until `close()`.

    Args:
        tag: of the strategy.
        root: the folder with scripts/ and controllers/.
    """

    def __init__(self, tag: str, root: Path) -> None:
        self.root = root
        self._package = f"{PACKAGE}{tag}"
        self._folders: list[str] = []
        _forget(self._package)  # what an earlier life has left
        package = ModuleType(self._package)
        package.__path__ = [str(root)]
        sys.modules[self._package] = package
        _owners[self._package] = self

    def load(self, name: str) -> ModuleType:
        """Import `scripts.X` or `controllers.X.Y`; raises what the module raises, ModuleNotFoundError without one."""
        return _import_module(f"{self._package}.{name}")

    def private_name(self, name: str) -> str | None:
        """Return the name under which a module is the strategy's own, None for what belongs to the process."""
        top = name.partition(".")[0]
        if top in FOLDERS or (self._folders and self._in_folders(top)):
            return f"{self._package}.{name}"
        return None

    def holds(self, made: type) -> bool:
        """Return whether a class was made by one of these modules."""
        return made.__module__.partition(".")[0] == self._package

    def has(self, module: ModuleType) -> bool:
        """Return whether a module is the strategy's own."""
        return module.__name__.partition(".")[0] == self._package

    def add_folder(self, folder: str) -> None:
        """Look for modules in this folder too; those that are installed come first."""
        if folder not in self._folders:
            self._folders.append(folder)
            sys.modules[self._package].__path__.append(folder)

    def close(self) -> None:
        """Forget all modules, unless a later life has its own by now; code that still runs keeps what it has."""
        if _owners.get(self._package) is self:
            _forget(self._package)

    def _in_folders(self, top: str) -> bool:
        installed = top in sys.modules or top in sys.builtin_module_names or PathFinder.find_spec(top) is not None
        return not installed and PathFinder.find_spec(top, self._folders) is not None


class SharedCodeLoader(SourceFileLoader):
    """Compiles a file once per process, and again when it has changed."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the module's file."""
        path = self.get_filename(fullname)
        status = os.stat(path)
        state = (status.st_mtime_ns, status.st_size)
        known = _code.get(path)
        if known is None or known[0] != state:
            known = _code[path] = (state, self.source_to_code(self.get_data(path), path))
        return known[1]

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code with an `__import__` that knows the strategy."""
        module.__dict__["__builtins__"] = _BUILTINS
        exec(self.get_code(module.__name__), module.__dict__)


class PrivateFinder(MetaPathFinder):
    """Finds the modules of strategies' packages."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a strategy's module, None for every other."""
        if fullname.partition(".")[0] not in _owners:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = SharedCodeLoader(spec.loader.name, spec.loader.path)
        return spec


class StrategyPath(list[str]):
    """sys.path: what a strategy adds is added for that strategy alone."""

    def append(self, folder: str) -> None:
        """Add a folder."""
        if not _takes(folder):
            super().append(folder)

    def insert(self, index: int, folder: str) -> None:  # type: ignore[override]
        """Add a folder."""
        if not _takes(folder):
            super().insert(index, folder)

    def extend(self, folders: Iterable[str]) -> None:
        """Add folders."""
        super().extend([folder for folder in folders if not _takes(folder)])

    def __iadd__(self, folders: Iterable[str]) -> "StrategyPath":  # type: ignore[misc]
        self.extend(folders)
        return self


def install() -> None:
    """Have this process import as described above; before the first strategy, once."""
    if not any(isinstance(finder, PrivateFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, PrivateFinder())
    if not isinstance(sys.path, StrategyPath):
        sys.path = StrategyPath(sys.path)
    importlib.import_module = import_module
    importlib.reload = reload


def warm_up(root: Path, names: Iterable[str]) -> Iterator[tuple[str, BaseException]]:
    """Import modules and forget them, so that workers share their bytecode and the libraries that they import.

    What they do to the process is refused or left undone, as in a strategy (hive.workers.rehearsal).

    Yields:
        (name, error) of those that cannot be imported: each will fail its own strategies.
    """
    modules = PrivateModules("", root)
    path = list(sys.path)
    try:
        for name in names:
            try:
                Rehearsal(name, SimpleNamespace(modules=modules)).run(modules.load, name)
            except BaseException as error:  # noqa: BLE001 - a script's sys.exit() must not end the fleet
                yield name, error
            finally:
                shared_code.put_back()  # the strategy is told when it starts
    finally:
        modules.close()
        sys.path[:] = path


def import_module(name: str, package: str | None = None) -> ModuleType:
    """Import as importlib.import_module does, for the strategy whose code asks."""
    owner = _current_owner()
    private = None if owner is None or name.startswith(".") else owner.private_name(name)
    return _import_module(private or name, package)


def reload(module: ModuleType) -> ModuleType:
    """Reload as importlib.reload does; PermissionError in a strategy whose module it is not: others use it as it is."""
    owner = _current_owner()
    if owner is not None and not owner.has(module):
        raise PermissionError(f"importlib.reload of {module.__name__} is refused: all strategies of the worker use it")
    return _reload(module)


def _import(
    name: str,
    globals: dict[str, Any] | None = None,
    locals: dict[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    importer = (globals or {}).get("__name__")  # none in a bare __import__() and in code run by exec()
    owner = _current_owner() if importer is None else _owners.get(str(importer).partition(".")[0])
    private = owner.private_name(name) if owner is not None and level == 0 else None
    if private is None:
        return builtins.__import__(name, globals, locals, fromlist, level)
    module = builtins.__import__(private, globals, locals, fromlist, 0)
    return module if fromlist else sys.modules[f"{private.partition('.')[0]}.{name.partition('.')[0]}"]


def _forget(package: str) -> None:
    _owners.pop(package, None)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


def _current_owner() -> PrivateModules | None:
    context = CURRENT.get(None)
    return None if context is None else getattr(context.host_data, "modules", None)


def _takes(folder: str) -> bool:
    """Give a folder to the strategy whose code adds it; returns False outside of all."""
    owner = _current_owner()
    if owner is None:
        return False
    owner.add_folder(os.fspath(folder))
    return True


_BUILTINS = {**vars(builtins), "__import__": _import}
