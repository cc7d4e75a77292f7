"""The exit codes of `hive`, and the exception that carries one."""

import click

OK = 0
ERROR = 1
NOT_FOUND = 2
NOT_RUNNING = 3
CONFIG = 4
TIMEOUT = 5


class Failure(click.ClickException):
    """Ends a command with a message on stderr and an exit code.

    Args:
        message: one or more lines.
        exit_code: one of this module's.
    """

    def __init__(self, message: str, exit_code: int = ERROR) -> None:
        super().__init__(message)
        self.exit_code = exit_code
