"""Who may import whom, over .py, .pyx and .pxd: imports point one way.

    hive/* (cli, config, supervisor, ...)        ->  feed, workers, gate, sim, shm
    hive/feed | hive/workers | hive/gate         ->  shm only: they meet in memory, never in code
    hive/sim, hive/shm                           ->  nothing of hive
    hummingbot/runtime                           ->  hive.workers, hive.shm (never the reverse)

`hive._build_info` is written by the build and imports nothing: the package itself, the command line and the runtime's
own check may read it. No import stands inside a function; one file of hive/ loads the host by its dotted name.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("shm", "feed", "workers", "gate", "sim")
MAY_IMPORT = {
    "hive": {"hive", "hive._build_info", *(f"hive.{part}" for part in PARTS)},
    "hive.shm": {"hive.shm"},
    "hive.feed": {"hive.feed", "hive.shm"},
    "hive.workers": {"hive.workers", "hive.shm"},
    "hive.gate": {"hive.gate", "hive.shm"},
    "hive.sim": {"hive.sim"},
    "hummingbot.runtime": {"hummingbot", "hive.workers", "hive.shm", "hive._build_info"},
}
ONLY_IN = {  # what is known in one place of hive/ only
    "yaml": "hive/config",
    "ruamel": "hive/config",
    "pydantic": "hive/config",
    "curses": "hive/top.py",
}
CYTHON_IMPORT = re.compile(
    r"^(?P<indent>[ \t]*)(?:from[ \t]+(?P<source>[.\w]+)[ \t]+c?import[ \t]+\(?(?P<names>[^#\n)]*)"
    r"|c?import[ \t]+(?P<modules>[\w., \t]+))",
    re.MULTILINE,
)
TEXTS = re.compile(r"\"\"\".*?\"\"\"|'''.*?'''", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module: the line that imports it, and whether that stands in a function."""

    module: str
    line: int
    inside: bool


def violations(root: Path) -> list[str]:
    """Return "path:line: what is wrong" for every import under `root` that breaks a rule."""
    found = []
    loaders = []
    for path in sources(root):
        place = path.relative_to(root).as_posix()
        part = part_of(place)
        for entry in imports(path, root):
            at = f"{place}:{entry.line}"
            if entry.inside:
                found.append(f"{at}: imports {entry.module} inside a function")
            target = layer_of(entry.module)
            if target and not allowed(part, target):
                found.append(f"{at}: {part} may not import {entry.module}")
            home = ONLY_IN.get(entry.module.split(".")[0])
            if home and part.startswith("hive") and not place.startswith(home):
                found.append(f"{at}: only {home} may import {entry.module}")
        if part.startswith("hive") and loads_by_name(path):
            loaders.append(place)
    if len(loaders) > 1:
        found.append(f"one file of hive/ may load by a dotted name, {' and '.join(loaders)} do")
    return found


def sources(root: Path) -> list[Path]:
    """Return every source of the two packages."""
    paths = [path for folder in ("hive", "hummingbot") for path in sorted((root / folder).rglob("*"))]
    return [path for path in paths if path.suffix in (".py", ".pyx", ".pxd") and path.name != "_build_info.py"]


def part_of(place: str) -> str:
    """Return the part of the house that a file is in."""
    if place.startswith("hummingbot/"):
        return "hummingbot.runtime"
    first = place.split("/")[1]
    return f"hive.{first}" if first in PARTS else "hive"


def layer_of(module: str) -> str | None:
    """Return the part that a module's name means, or None for what is not of this tree."""
    names = module.split(".")
    if names[0] == "hummingbot":
        return "hummingbot"
    if names[0] != "hive":
        return None
    if len(names) > 1 and names[1] in (*PARTS, "_build_info"):
        return f"hive.{names[1]}"
    return "hive"


def allowed(part: str, target: str) -> bool:
    """Return whether a part may import another."""
    return target in MAY_IMPORT[part]


def imports(path: Path, root: Path) -> list[Import]:
    """Return what a source imports, with relative names made absolute."""
    package = ".".join(path.relative_to(root).parent.parts)
    text = path.read_text()
    return python_imports(text, package) if path.suffix == ".py" else cython_imports(text, package)


def python_imports(text: str, package: str) -> list[Import]:
    """Return the imports of Python source."""
    found = []

    def walk(node: ast.AST, inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend(Import(alias.name, child.lineno, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                source = absolute("." * child.level + (child.module or ""), package)
                found.extend(Import(module, child.lineno, inside) for module in named(source, child.names))
            walk(child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    walk(ast.parse(text), inside=False)
    return found


def named(source: str, aliases: list[ast.alias]) -> list[str]:
    """Return what `from source import names` reaches: `from hive import gate` means hive.gate."""
    return [f"{source}.{alias.name}" for alias in aliases] if source == "hive" else [source]


def cython_imports(text: str, package: str) -> list[Import]:
    """Return the imports and cimports of Cython source; what is indented counts as inside a function."""
    text = TEXTS.sub(lambda match: "\n" * match.group().count("\n"), text)
    found = []
    for match in CYTHON_IMPORT.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match["source"]:
            source = absolute(match["source"], package)
            names = [name.split()[0] for name in match["names"].split(",") if name.strip()]
            modules = [f"{source}.{name}" for name in names] if source == "hive" else [source]
        else:
            modules = [name.split()[0] for name in match["modules"].split(",") if name.strip()]
        found.extend(Import(module, line, bool(match["indent"])) for module in modules)
    return found


def absolute(source: str, package: str) -> str:
    """Return an absolute module name for `.x`, `..x` or `x` as written in a package."""
    level = len(source) - len(source.lstrip("."))
    if not level:
        return source
    base = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*base, source[level:]]).rstrip(".")


def loads_by_name(path: Path) -> bool:
    """Return whether a Python source imports modules by a computed name."""
    if path.suffix != ".py":
        return False
    names = (
        node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        for node in ast.walk(ast.parse(path.read_text()))
    )
    return bool({"import_module", "__import__"} & set(names))


def test_imports_point_one_way():
    assert violations(ROOT) == []


def test_every_source_is_looked_at():
    seen = {part_of(path.relative_to(ROOT).as_posix()) for path in sources(ROOT)}
    assert seen == set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("place", "text", "expected"),
    [
        ("hive/feed/a.py", "import hive.gate.bucket\n", "hive/feed/a.py:1: hive.feed may not import hive.gate.bucket"),
        ("hive/feed/a.py", "from hive import workers\n", "hive/feed/a.py:1: hive.feed may not import hive.workers"),
        (
            "hive/feed/a.py",
            "from ..workers.clock import x\n",
            "hive/feed/a.py:1: hive.feed may not import hive.workers",
        ),
        ("hive/shm/a.py", "\nfrom hive.config import x\n", "hive/shm/a.py:2: hive.shm may not import hive.config"),
        ("hive/sim/a.py", "from hive.shm import ids\n", "hive/sim/a.py:1: hive.sim may not import hive.shm"),
        (
            "hive/gate/a.pyx",
            '"""x\n"""\nfrom hive.feed.book cimport F\n',
            "hive/gate/a.pyx:3: hive.gate may not import",
        ),
        ("hive/gate/a.pxd", "cimport hive.workers.clock as c\n", "hive/gate/a.pxd:1: hive.gate may not import hive.w"),
        ("hive/cli.py", "import hummingbot.runtime.host\n", "hive/cli.py:1: hive may not import hummingbot"),
        ("hive/workers/a.pyx", "from hummingbot.core.clock cimport C\n", "hive/workers/a.pyx:1: hive.workers may not"),
        ("hummingbot/runtime/a.py", "import hive.gate\n", "hummingbot/runtime/a.py:1: hummingbot.runtime may not"),
        ("hummingbot/runtime/a.py", "from hive import top\n", "hummingbot/runtime/a.py:1: hummingbot.runtime may not"),
        ("hive/plan.py", "def f():\n    import os\n", "hive/plan.py:2: imports os inside a function"),
        ("hive/shm/a.pyx", "def f():\n    import os\n", "hive/shm/a.pyx:2: imports os inside a function"),
        ("hive/plan.py", "import yaml\n", "hive/plan.py:1: only hive/config may import yaml"),
        ("hive/top_view.py", "import curses\n", "hive/top_view.py:1: only hive/top.py may import curses"),
    ],
)
def test_a_planted_violation_is_found(tmp_path, place, text, expected):
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (line,) = violations(tmp_path)
    assert line.startswith(expected)


def test_a_second_loader_by_name_is_found(tmp_path):
    for place in ("hive/workers/a.py", "hive/cli.py"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("from importlib import import_module\n\nimport_module('x')\n")
    assert violations(tmp_path) == ["one file of hive/ may load by a dotted name, hive/cli.py and hive/workers/a.py do"]


def test_what_is_allowed_is_not_reported(tmp_path):
    allowed_texts = {
        "hive/feed/a.pyx": '"""A sentence\nfrom hive.gate import nothing\n"""\nfrom hive.shm.book cimport BookWriter\n',
        "hive/cli.py": "import os\nfrom hive import config\nfrom hive.gate.process import main\n",
        "hive/config.py": "import yaml\n",
        "hummingbot/runtime/a.py": "from hummingbot.core.clock import Clock\nimport hive.workers.context\n",
    }
    for place, text in allowed_texts.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text)
    assert violations(tmp_path) == []
