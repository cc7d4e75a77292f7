"""What is wrong with a strategy's code or configuration, in one line for its operator: file, line or key, rule, value.

    conf/scripts/x.yml: spread: Input should be a valid decimal, was 'lots'
    scripts/x.py, line 60: NameError: name 'foo' is not defined
"""

import traceback
from pathlib import Path

from pydantic import ValidationError

from hummingbot.runtime.private_modules import PACKAGE

VALUE_MAX = 50  # characters that are shown of one
WITHOUT_VALUE = ("missing", "extra_forbidden")


def shown(path: str, root: Path) -> str:
    """Return a file as errors name it: relative to the strategy's root where it can be."""
    return str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path


def problems(error: ValidationError) -> str:
    """Return what a model finds wrong with a configuration."""
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'all of it'}: {one['msg']}{_was(one['type'], one['input'])}"
        for one in error.errors()
    )


def told(error: BaseException, root: Path) -> str:
    """Return an error with the last line of the strategy's own code that it came through."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{shown(error.filename, root)}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    own = [one for one in traceback.extract_tb(error.__traceback__) if Path(one.filename).is_relative_to(root)]
    where = f"{shown(own[-1].filename, root)}, line {own[-1].lineno}: " if own else ""
    what = problems(error) if isinstance(error, ValidationError) else usual(str(error))
    return f"{where}{type(error).__name__}: {what}"


def usual(text: str) -> str:
    """Return a text with the names of a strategy's modules as their author knows them."""
    before, package, after = text.partition(PACKAGE)
    _, dot, rest = after.partition(".")
    return before + rest if package and dot else text


def went_through(error: BaseException, function: str) -> bool:
    """Return whether an error came out of a call of the function of this name."""
    return any(one.name == function for one in traceback.extract_tb(error.__traceback__))


def _was(rule: str, value: object) -> str:
    if rule in WITHOUT_VALUE or isinstance(value, dict):
        return ""
    return f", was {f'{value!r}' if value is None or isinstance(value, str) else f'{value}':.{VALUE_MAX}}"
