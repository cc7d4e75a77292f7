"""The control socket: what is no request, or asks for what cannot be, is answered and reaches nobody."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from hive.control import LINE_MAX, TIMEOUT_MAX_S, ControlError, ControlServer, ask


async def answer_to(line: bytes) -> tuple[dict, list[dict]]:
    """Return what a line is answered with, and the requests that have passed."""
    passed: list[dict] = []

    async def take(request: dict) -> dict:
        passed.append(request)
        return {"ok": True}

    path = Path(os.environ["XDG_RUNTIME_DIR"]) / "control.sock"
    server = ControlServer(path, take)
    await server.open()
    try:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(line + b"\n")
        answer = json.loads(await reader.readline())
        writer.close()
    finally:
        server.close()
    return answer, passed


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"command": ["halt"]}, "command must be a text without NUL, was ['halt']"),
        ({"command": "halt", "strategy": {}}, "strategy must be a text without NUL, was {}"),
        ({"command": "halt", "reason": 7}, "reason must be a text without NUL, was 7"),
        ({"command": "apply", "file": "a\0b"}, "file must be a text without NUL, was 'a\\x00b'"),
        ({"command": "down", "timeout_s": "soon"}, "timeout_s must be a number from 0 to 86400, was 'soon'"),
        ({"command": "down", "timeout_s": float("nan")}, "timeout_s must be a number from 0 to 86400, was nan"),
        ({"command": "down", "timeout_s": 1e30}, "timeout_s must be a number from 0 to 86400, was 1e+30"),
        ({"command": "down", "timeout_s": True}, "timeout_s must be a number from 0 to 86400, was True"),
    ],
)
async def test_a_value_of_another_kind_is_refused_with_its_name(request_, error):
    assert await answer_to(json.dumps(request_).encode()) == ({"ok": False, "error": error}, [])


@pytest.mark.parametrize("line", [b"", b"[]", b"halt", b"[" * 30_000, b"\xff\xfe"])
async def test_what_is_no_json_object_is_said_to_be_none(line):
    assert await answer_to(line) == ({"ok": False, "error": "a request is one line with a JSON object"}, [])


async def test_a_request_that_fits_passes_as_it_is():
    request = {"command": "flat", "strategy": None, "timeout_s": TIMEOUT_MAX_S}
    assert await answer_to(json.dumps(request).encode()) == ({"ok": True}, [request])


def test_a_request_that_is_too_long_is_not_sent(tmp_path):
    with pytest.raises(ControlError, match=f"a request must have at most {LINE_MAX} bytes, had "):
        ask(tmp_path / "nobody.sock", {"command": "halt", "reason": "y" * LINE_MAX})
