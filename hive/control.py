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
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hive.cli_errors import ERROR, TIMEOUT

ANSWER_WITHIN_S = 5.0
LINE_MAX = 65536
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

    async def open(self) -> None:
        """Listen."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=LINE_MAX)

    def close(self) -> None:
        """Listen no longer and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._path.unlink(missing_ok=True)

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
        except json.JSONDecodeError:
            request = None
        if not isinstance(request, dict):
            return {"ok": False, "error": "a request is one line with a JSON object"}
        return await self._answer(request)


def ask(path: Path, request: dict[str, Any], timeout_s: float = ANSWER_WITHIN_S) -> dict[str, Any]:
    """Ask the supervisor that listens at `path` and return its answer.

    Raises:
        ControlError: nobody listens, nobody answers in time, or the answer is an error.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect(str(path))
            sock.sendall(json.dumps(request).encode() + b"\n")
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
