"""A file with a venue's API keys: YAML or JSON, of this user, readable by nobody else.

    {api_key: ..., api_secret: ...}

Whatever is wrong with it, no error shows anything that stands in it.
"""

import errno
import os
import stat
from pathlib import Path

from hive.config_yaml import YamlError, parse_yaml

SIZE_MAX = 65_536


class KeyFileError(Exception):
    """A file of keys that is not used: where it is, and the rule that it breaks."""


def read_key_file(path: Path) -> tuple[str, str]:
    """Return the key and the secret of a file.

    Raises:
        KeyFileError: it is not a regular file of this user, others may read or write it, or it holds something else.
    """
    text = _read_private(path)
    rule = f"{path} must be YAML or JSON with the texts api_key and api_secret, and nothing else"
    try:
        values = parse_yaml(text, path.name)
    except (YamlError, ValueError):
        raise KeyFileError(rule) from None  # what the parser says can hold a piece of the secret
    if set(values) != {"api_key", "api_secret"} or not all(isinstance(value, str) for value in values.values()):
        raise KeyFileError(rule)
    return values["api_key"], values["api_secret"]


def others_may(status: os.stat_result) -> bool:
    """Return whether a file's mode allows more than 0600."""
    return bool(stat.S_IMODE(status.st_mode) & 0o177)


def _read_private(path: Path) -> str:
    """Return a file's text; the checks are of the file that is read, not of what its name meant a moment before."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise KeyFileError(f"{path} must be a file, not a symbolic link") from None
        raise KeyFileError(f"{path} must be a file that can be read: {error.strerror}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} must be a regular file")
        if status.st_uid != os.geteuid():
            raise KeyFileError(f"{path} must belong to the user who starts the fleet, belongs to uid {status.st_uid}")
        if others_may(status):
            mode = stat.S_IMODE(status.st_mode)
            raise KeyFileError(f"{path} must have mode 0600 or stricter, has {mode:04o}: chmod 600 {path}")
        data = os.pread(fd, SIZE_MAX + 1, 0)
    finally:
        os.close(fd)
    if len(data) > SIZE_MAX:
        raise KeyFileError(f"{path} must be at most {SIZE_MAX} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise KeyFileError(f"{path} must be UTF-8 text") from None
