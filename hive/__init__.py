"""Hive: one host, many Hummingbot strategies, over shared order books and one order gate."""

import sys
from pathlib import Path

from hive import pure

__version__ = "0.1.0"

try:
    from hive._build_info import PURE as _PURE
    from hive._build_info import PYTHON as _PYTHON
except ImportError as error:
    raise ImportError(f"Hive is not built: run ./compile in {Path(__file__).resolve().parent.parent}") from error

pure.install(_PURE)

if pure.implementation() == pure.COMPILED and sys.implementation.cache_tag != _PYTHON:
    raise ImportError(
        f"Hive was built for {_PYTHON}, this is {sys.implementation.cache_tag}: run ./compile with this Python"
    )
