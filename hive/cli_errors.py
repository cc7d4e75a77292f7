"""The exit codes of `hive`, and the exception that carries one."""

import errno
import sys

from hive.texts import visible

OK = 0
ERROR = 1
NOT_FOUND = 2
NOT_RUNNING = 3
CONFIG = 4
TIMEOUT = 5
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Failure(Exception):
    """Ends a command with a message on stderr and an exit code.

    Args:
        message: one or more lines.
        exit_code: one of this module's.
    """

    def __init__(self, message: str, exit_code: int = ERROR) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code

    def show(self) -> None:
        """Print the message to stderr."""
        lines = [visible(line) for line in self.message.split("\n")]  # they name what somebody else may have written
        print("\n".join(lines) if len(lines) > 1 else f"error: {lines[0]}", file=sys.stderr)


def of_file(error: OSError) -> Failure:
    """Return what to say of a file or folder that cannot be used; an error that names none is raised as it is.

    No room is said in any case: the output is a file too, and its name is not known here.
    """
    if error.filename is None and error.errno in NO_ROOM:
        return Failure(f"what was to be written finds no room: {error.strerror}")
    if error.filename is None:
        raise error
    return Failure(f"{error.filename}: {error.strerror}")
