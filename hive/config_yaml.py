"""Read YAML files as Hummingbot reads them: by the 1.2 core schema. A key that stands twice is an error.

`yes`, `12:30:00` and `2024-01-01` are texts, `1e-5` is a number, `010` is ten.
"""

import errno
import math
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

BYTES_MAX = 1_000_000  # eight seconds of PyYAML; two thousand strategies are a quarter of it
SIZE_MAX = 1_000_000
DIGITS_MAX = 100


class YamlError(Exception):
    """A file that cannot be read: `place` is the file, `rule` what is wrong and where in it."""

    def __init__(self, place: str, rule: str) -> None:
        super().__init__(f"{place}: {rule}")
        self.place = place
        self.rule = rule


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Return a file's mapping, {} when it is empty.

    Raises:
        YamlError: it is not there, not a file, too large, not YAML, or not a mapping with text keys.
    """
    try:
        data = _read(path)
    except OSError as error:
        raise YamlError(str(path), error.strerror or "cannot be read") from error
    except ValueError as error:  # a NUL in its name
        raise YamlError(str(path), f"must be the path of a file: {error}") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise YamlError(path.name, "must be UTF-8 text") from error
    return parse_yaml(text, path.name)


def _read(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO that nobody writes to would hold us
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise YamlError(str(path), "must be a regular file")
        data = file.read(BYTES_MAX + 1)
    if len(data) > BYTES_MAX:
        raise YamlError(str(path), f"must have at most {BYTES_MAX} bytes, has {max(status.st_size, len(data))}")
    return data


def parse_yaml(text: str, place: str) -> Mapping[str, Any]:
    """Return a text's mapping, {} when it is empty; YamlError names `place`."""
    try:
        loaded = yaml.load(text, _Yaml12)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise YamlError(place, f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise YamlError(place, " ".join(str(error).split())) from error
    except RecursionError as error:
        raise YamlError(place, "must not be nested so deeply") from error
    if _size(loaded, {}) > SIZE_MAX:
        raise YamlError(place, f"must hold at most {SIZE_MAX} values, counted wherever an alias repeats them")
    if loaded is None:
        return {}
    if not isinstance(loaded, Mapping) or not all(isinstance(key, str) for key in loaded):
        raise YamlError(place, "must be a mapping of keys to values")
    return loaded


def _size(value: Any, known: dict[int, float]) -> float:
    """Return how many values there are in one, those behind aliases each time; endless when it holds itself."""
    if not isinstance(value, Mapping | list):
        return 1
    if id(value) not in known:
        known[id(value)] = math.inf  # as long as its parts are counted: one that is among them again has no end
        parts = value.values() if isinstance(value, Mapping) else value
        known[id(value)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(value)]


class _Yaml12(yaml.SafeLoader):
    """The safe types of YAML 1.2's core schema."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _int(node: yaml.ScalarNode) -> int:
    if len(node.value) > DIGITS_MAX:
        rule = f"a whole number must have at most {DIGITS_MAX} digits, had {len(node.value)}"
        raise yaml.constructor.ConstructorError(None, None, rule, node.start_mark)
    return int(node.value, 16 if node.value.startswith("0x") else 10)


def _resolve(tag: str, pattern: str, first: list[str]) -> None:
    _Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"(?:{pattern})$"), first)


_resolve("bool", "true|True|TRUE|false|False|FALSE", list("tTfF"))
_resolve("null", "~|null|Null|NULL|", ["~", "n", "N", ""])
_resolve("int", "[-+]?[0-9]+|0x[0-9a-fA-F]+", list("-+0123456789"))
_resolve("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789"))
_resolve("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", list("-+."))
_resolve("merge", "<<", ["<"])
_Yaml12.add_constructor("tag:yaml.org,2002:int", lambda loader, node: _int(node))
