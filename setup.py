"""Build Hive's Cython extensions; everything else about the package is in pyproject.toml.

Every extension is named here, one line each. `hummingbot/` has no `__init__.py` (the published package owns that
level), so a glob would give its modules the wrong names.

Environment:
    HIVE_BUILD_ONLY  comma-separated prefixes of dotted names; builds those alone and skips sources that do not exist
    HIVE_CHECKED=1   turns Cython's run-time checks on, in a build folder of its own (build/checked)
    HIVE_PURE_PYTHON=1  builds nothing: the tree will run on the twins in pure Python (hive/pure.py)
"""

import os
import sys
from pathlib import Path

import Cython
import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
HUMMINGBOT_RELEASE = "20260922"
HUMMINGBOT_SOURCES = f"third_party/hummingbot-{HUMMINGBOT_RELEASE}"

PACKAGES = ["hive", "hive.shm", "hive.feed", "hive.workers", "hive.gate", "hive.sim", "hummingbot.runtime"]
C_MODULES = [
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
]
CPP_MODULES = [
    "hummingbot.runtime.order_book",
    "hummingbot.runtime.clock",
]
PERF_MODULES = {  # for perf/, never installed
    "perf.native.loops": ["rival.c"],
    "perf.native.torn": ["torn_checked.c", "torn_unchecked.c"],
}

WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",  # Cython's wrappers name arguments that they ignore
    "-Wno-missing-field-initializers",  # its type tables end early
    "-Wno-cast-function-type",  # METH_FASTCALL functions are stored as PyCFunction
]
NUMPY_API = [("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")]


def extension(name: str) -> Extension:
    """Return the Extension of one dotted module name."""
    source = name.replace(".", "/") + ".pyx"
    headers = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "hive" / "shm").glob("*.h"))
    common = {"depends": headers, "define_macros": NUMPY_API}
    if name in PERF_MODULES:
        folder = Path(source).parent
        common["depends"] = headers + sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).glob("*.[ch]"))
    if name not in CPP_MODULES:
        return Extension(
            name,
            [source, *(str(folder / file) for file in PERF_MODULES.get(name, ()))],
            language="c",
            include_dirs=["hive/shm", numpy.get_include()],
            extra_compile_args=["-O3", "-std=gnu11", *WARNINGS],
            **common,
        )
    return Extension(
        name,
        [source],
        language="c++",
        include_dirs=["hive/shm", numpy.get_include(), f"{HUMMINGBOT_SOURCES}/hummingbot/core"],
        extra_compile_args=["-O3", "-std=c++17", *WARNINGS, "-Wno-invalid-offsetof"],  # of Hummingbot's own structs
        **common,
    )


def selected() -> list[Extension]:
    """Return the extensions to build: all, or what HIVE_BUILD_ONLY selects and the tree has."""
    only = tuple(filter(None, os.environ.get("HIVE_BUILD_ONLY", "").split(",")))
    extensions = [extension(name) for name in [*C_MODULES, *CPP_MODULES, *PERF_MODULES]]
    if not only:
        return extensions
    kept = []
    for ext in extensions:
        if not ext.name.startswith(only):
            continue
        if (ROOT / ext.sources[0]).exists():
            kept.append(ext)
        else:
            print(f"setup.py: {ext.sources[0]} does not exist, skipped (HIVE_BUILD_ONLY)", file=sys.stderr)
    return kept


def require_hummingbot_sources(extensions: list[Extension]) -> None:
    """Exit with what to do when an extension needs Hummingbot's .pxd files and they are not there."""
    needed = [ext.name for ext in extensions if ext.name in CPP_MODULES]
    if needed and not (ROOT / HUMMINGBOT_SOURCES / "hummingbot" / "core" / "clock.pxd").is_file():
        sys.exit(f"setup.py: {needed[0]} needs {HUMMINGBOT_SOURCES}/ (Hummingbot's .pxd files): run ./compile")


class BuildExt(build_ext):
    """Builds the extensions, then records what they were built against in hive/_build_info.py."""

    def run(self) -> None:
        if not self.inplace:
            self.extensions = [one for one in self.extensions if one.name not in PERF_MODULES]
        if not self.extensions and not PURE:
            return
        path = (ROOT if self.inplace else Path(self.build_lib)) / "hive" / "_build_info.py"
        if not os.environ.get("HIVE_BUILD_ONLY"):
            path.unlink(missing_ok=True)  # a build that fails half-way leaves an unbuilt tree
        super().run()
        lines = [
            '"""What the compiled modules were built against; written by setup.py."""',
            "",
            f'HUMMINGBOT_RELEASE = "{HUMMINGBOT_RELEASE}"',
            f'PYTHON = "{sys.implementation.cache_tag}"',
            f'CYTHON = "{Cython.__version__}"',
            f'NUMPY = "{numpy.__version__}"',
            f"CHECKED = {CHECKED}",
            f"PURE = {PURE}",
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_suffix(f".{os.getpid()}")
        written.write_text("\n".join(lines) + "\n")
        written.replace(path)


CHECKED = os.environ.get("HIVE_CHECKED", "") not in ("", "0")
PURE = os.environ.get("HIVE_PURE_PYTHON", "") not in ("", "0")
BUILD_BASE = "build/checked" if CHECKED else "build/plain"
DIRECTIVES = {
    "language_level": 3,
    "embedsignature": True,
    "boundscheck": CHECKED,
    "wraparound": CHECKED,
    "initializedcheck": CHECKED,
    "cdivision": not CHECKED,
    "overflowcheck": False,  # sequences wrap on purpose
}

os.chdir(ROOT)
EXTENSIONS = [] if PURE else selected()
require_hummingbot_sources(EXTENSIONS)
setup(
    packages=PACKAGES,
    ext_modules=cythonize(
        EXTENSIONS,
        build_dir=f"{BUILD_BASE}/cython",
        include_path=[".", HUMMINGBOT_SOURCES],
        compiler_directives=DIRECTIVES,
        nthreads=os.cpu_count() or 1,
    ),
    cmdclass={"build_ext": BuildExt},
    options={"build": {"build_base": BUILD_BASE}},
    zip_safe=False,
)
