"""The simulated exchange in a process of its own, for measurements; it is asked for the truth, and ended by close().

Its books stand still unless it is told otherwise, and its limits are those of the options.
"""

import json
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from typing import Any

KEEP = 1_000_000
DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request to place or cancel an order as the exchange saw it.

    kind: "place" or "cancel"; read_ns: when it was read off the socket, monotonic; status: of the answer, as HTTP has
    it; code: the venue's error code, 0 for none.
    """

    kind: str
    order: str
    read_ns: int
    status: int
    code: int


class SimExchange:
    """A running exchange that remembers when it read each request."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "hive.sim", "--exit-on-eof", "--seed", "7", *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.told: dict[str, Any] = json.loads(self._process.stdout.readline())
        self._next = 0
        self.offset_ns = 0  # the exchange's wall clock minus the monotonic one
        self.post("/sim/received", {"keep": KEEP})
        self.requests()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def get(self, path: str) -> Any:
        """Return the answer to a GET."""
        with urllib.request.urlopen(self.told["rest_url"] + path, timeout=DEADLINE_S) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the answer to a POST."""
        request = urllib.request.Request(self.told["rest_url"] + path, json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return json.load(answer)

    def fault(self, name: str, **arguments: object) -> None:
        """Let a fault begin."""
        self.post("/sim/fault", {"name": name, **arguments})

    def requests(self) -> list[Request]:
        """Return the requests since the last call."""
        found = self.get(f"/sim/received?after={self._next}")
        if found["missed"]:
            raise RuntimeError(f"the exchange must remember all requests, had forgotten {found['missed']}")
        self._next = found["next"]
        self.offset_ns = found["wall_ms"] * 1_000_000 - found["ns"]
        return [Request(*record[1:]) for record in found["records"]]

    def cpu_s(self) -> float:
        """Return the CPU seconds that it has used."""
        return self.get("/sim/state")["cpu_seconds"]

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        try:
            self._process.wait(DEADLINE_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
