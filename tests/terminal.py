"""A program in a terminal of its own: what it shows, keys, and the terminal's size."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping

PATIENCE_S = 30.0
_CONTROL = re.compile(rb"\x1b(\[[0-9;?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>78])|[\x0e\x0f]")


class Terminal:
    """Runs `command` in a pseudo-terminal of 40 rows and 140 columns; a context manager that ends it."""

    def __init__(self, command: list[str], environment: Mapping[str, str]):
        self._main, child = pty.openpty()
        self.resize(40, 140)
        self._process = subprocess.Popen(
            command,
            stdin=child,
            stdout=child,
            stderr=child,
            env={**environment, "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(child)
        self._shown = b""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *raised: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._main)

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size and tell the program, as a window does."""
        fcntl.ioctl(self._main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "_process"):
            self._process.send_signal(signal.SIGWINCH)

    def type(self, keys: str) -> None:
        """Press keys; only what is shown from now on counts for wait_for()."""
        self._read(0)
        self._shown = b""
        os.write(self._main, keys.encode())

    def wait_for(self, text: str) -> None:
        """Return when the program has written `text`; AssertionError at the deadline."""
        deadline = time.monotonic() + PATIENCE_S
        while text.encode() not in _CONTROL.sub(b"", self._shown):
            assert time.monotonic() < deadline, f"never shown: {text!r}; shown: {_CONTROL.sub(b'', self._shown)!r}"
            self._read(0.2)

    def hang_up(self) -> int:
        """Take the terminal away, and return the program's exit status."""
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, self._main)
        os.close(nothing)
        return self._process.wait(PATIENCE_S)

    def ended(self) -> int:
        """Return the program's exit status."""
        deadline = time.monotonic() + PATIENCE_S
        while self._process.poll() is None:
            assert time.monotonic() < deadline, "the program has not ended"
            self._read(0.1)
        return self._process.returncode

    def _read(self, patience_s: float) -> None:
        while select.select([self._main], [], [], patience_s)[0]:
            try:
                data = os.read(self._main, 65536)
            except OSError:  # the other side is closed
                return
            if not data:
                return
            self._shown += data
            patience_s = 0
