"""The control socket of a fleet: one JSON object asked, one answered, over a unix socket in its folder.

    {"command": "status"}                        -> {"ok": true, "state": "starting" | "running" | "stopping", "pid": N}
    {"command": "down", "timeout_s": 15}         -> the same; the fleet stops from then on
    {"command": "halt", "venue": V, "strategy": S, "reason": T}
                                                 -> {"ok": true, "halts": [...], "note": ""}
    {"command": "resume", "venue": V, "strategy": S}
                                                 -> the same, and "lifted": [...]
    {"command": "add" | "remove" | "restart" | "pause" | "unpause", "strategy": S}
    {"command": "move", "strategy": S, "worker": N | "new", "orders": "keep" | "cancel"}
                                                 -> {"ok": true, "state": T, "worker": N | null, "message": T}
    {"command": "apply", "file": F, "dry_run": false}
                                                 -> {"ok": true, "steps": [...], "failed": [...]}
    {"command": "flat", "timeout_s": 30}         -> {"ok": true, "open": N | null, "text": ""}, when that is known
    what cannot be done                          -> {"ok": false, "error": T, "code": the command's exit code}

Several may ask at once, and each gets its answer when it is there. Only the socket's owner can connect (the folder is
0700). Figures are not asked for here: readers map the counters.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hive.cli_errors import ERROR, TIMEOUT

ANSWER_WITHIN_S = 5.0
LINE_MAX = 65536
TEXTS = ("command", "venue", "strategy", "reason", "orders", "file")
TIMEOUT_MAX_S = 86_400
ANSWER_MAX = 1 << 22  # two thousand halts with their reasons

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class ControlError(Exception):
    """The supervisor cannot be reached, or answered with an error; `code` is the exit code of a command that asked."""

    def __init__(self, message: str, code: int = ERROR) -> None:
        super().__init__(message)
        self.code = code


class ControlServer:
    """Answers on the socket while the supervisor's loop runs.

    Args:
        path: of the socket; one that a dead supervisor left is replaced.
        answer: takes a request and returns its answer, which may take its time.
    """

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path = path
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._inode = 0

    async def open(self) -> None:
        """Listen; again when the socket was removed."""
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=LINE_MAX)
        self._inode = self._path.stat().st_ino

    def close(self) -> None:
        """Listen no longer and remove the socket, unless another supervisor has its own there."""
        if self._server is not None:
            self._server.close()
            self._server = None
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                line = await reader.readline()
            writer.write(json.dumps(await self._answered(line)).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError, TimeoutError):
            pass  # a caller that hangs, floods or is gone
        finally:
            writer.close()

    async def _answered(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            return {"ok": False, "error": "a request is one line with a JSON object"}
        if problem := _misfit(request):
            return {"ok": False, "error": problem}
        return await self._answer(request)


def _misfit(request: dict[str, Any]) -> str:
    """Return which value of a request is of another kind than its name says, "" when none is."""
    for name in TEXTS:
        value = request.get(name)
        if value is not None and (not isinstance(value, str) or "\0" in value):
            return f"{name} must be a text without NUL, was {value!r:.80}"
    timeout_s = request.get("timeout_s")
    if timeout_s is not None:
        number = isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool)
        if not (number and 0 <= timeout_s <= TIMEOUT_MAX_S):
            return f"timeout_s must be a number from 0 to {TIMEOUT_MAX_S}, was {timeout_s!r:.80}"
    return ""


def ask(path: Path, request: dict[str, Any], timeout_s: float = ANSWER_WITHIN_S) -> dict[str, Any]:
    """Ask the supervisor that listens at `path` and return its answer.

    Raises:
        ControlError: it is too long, nobody listens, nobody answers in time, or the answer is an error.
    """
    asked = json.dumps(request).encode() + b"\n"
    if len(asked) > LINE_MAX:
        raise ControlError(f"a request must have at most {LINE_MAX} bytes, had {len(asked)}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect(str(path))
            sock.sendall(asked)
            with sock.makefile("rb") as file:
                line = file.readline(ANSWER_MAX)
        except OSError as error:
            code = TIMEOUT if isinstance(error, TimeoutError) else ERROR
            raise ControlError(f"{path}: {error.strerror or error}", code) from error
    if not line:
        raise ControlError(f"{path}: the supervisor ended before it answered")
    answer = json.loads(line)
    if not answer.get("ok"):
        raise ControlError(answer.get("error") or "the supervisor refused", answer.get("code", ERROR))
    return answer
