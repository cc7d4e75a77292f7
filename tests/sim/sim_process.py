"""A simulated exchange in a process of its own, for tests over real HTTP and WebSockets."""
from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlencode

import aiohttp


class SimProcess:
    """A running exchange; ends with its stdin, so it cannot outlive the test process."""

    def __init__(self, *options: str, keys: list[dict[str, Any]] | None = None) -> None:
        command = [sys.executable, "-m", "hive.sim", "--exit-on-eof", *options]
        if keys is not None:
            command.append("--keys-from-stdin")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if keys is not None:
            self.process.stdin.write(json.dumps(keys) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the exchange did not start: exit code {self.process.wait()}")
        self.info: dict[str, Any] = json.loads(line)

    def stop(self) -> int:
        """Close stdin, wait for the end and return the exit code."""
        self.process.stdin.close()
        try:
            return self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


class Client:
    """Speaks to an exchange as the documentation says, signing where told to."""

    def __init__(self, info: dict[str, Any], account: int = 0) -> None:
        self.info = info
        self.key = info["accounts"][account]["api_key"]
        self.secret = info["accounts"][account]["api_secret"]
        self.session: aiohttp.ClientSession | None = None
        self.headers: dict[str, str] = {}

    async def __aenter__(self) -> Client:
        self.session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    def sign(self, payload: str) -> str:
        """Return the signature of a payload."""
        return hmac.new(self.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()

    async def raw(self, method: str, path: str, query: str = "", body: str = "", key: str | None = None,
                  ) -> tuple[int, Any]:
        """Send a request exactly as given; keep the answer's headers."""
        from_key = {} if key is None else {"X-MBX-APIKEY": key}
        if body:
            from_key["Content-Type"] = "application/x-www-form-urlencoded"
        url = aiohttp.client.URL(f"{self.info['rest_url']}{path}{'?' + query if query else ''}", encoded=True)
        async with self.session.request(method, url, data=body or None, headers=from_key) as response:
            self.headers = dict(response.headers)
            text = await response.text()
            is_json = response.content_type == "application/json"
            return response.status, json.loads(text) if is_json else text

    async def get(self, path: str, **params: Any) -> tuple[int, Any]:
        """Ask a public endpoint under /api/v3/."""
        return await self.raw("GET", f"/api/v3/{path}", urlencode(params))

    async def signed(self, method: str, path: str, **params: Any) -> tuple[int, Any]:
        """Ask a signed endpoint under /api/v3/, with the parameters in the query."""
        params.setdefault("timestamp", int(time.time() * 1000))
        query = urlencode(params)
        return await self.raw(
            method, f"/api/v3/{path}", f"{query}&signature={self.sign(query)}", key=self.key
        )

    async def order(self, symbol: str = "BTCUSDT", side: str = "BUY", type: str = "LIMIT", **params: Any,
                    ) -> tuple[int, Any]:
        """Place an order over REST; GTC unless told otherwise."""
        if type == "LIMIT":
            params.setdefault("timeInForce", "GTC")
        return await self.signed("POST", "order", symbol=symbol, side=side, type=type, **params)

    async def control(self, path: str, **body: Any) -> Any:
        """Ask a control endpoint under /sim/; with a body it is a POST."""
        method = "POST" if body or path in ("clear", "fault", "trade") else "GET"
        async with self.session.request(method, f"{self.info['rest_url']}/sim/{path}", json=body or None) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer

    def market(self) -> Any:
        """Return a context manager for a market stream connection."""
        return self.session.ws_connect(self.info["ws_url"])

    def api(self) -> Any:
        """Return a context manager for a WebSocket API connection."""
        return self.session.ws_connect(self.info["ws_api_url"])

    def api_request(self, method: str, request_id: Any = 1, **params: Any) -> dict[str, Any]:
        """Return a signed WebSocket API request."""
        params = {"apiKey": self.key, "timestamp": int(time.time() * 1000), **params}
        texts = {name: str(value).lower() if isinstance(value, bool) else value for name, value in params.items()}
        payload = "&".join(f"{name}={texts[name]}" for name in sorted(texts))
        return {"id": request_id, "method": method, "params": {**params, "signature": self.sign(payload)}}

    async def ask(self, socket: aiohttp.ClientWebSocketResponse, request: dict[str, Any]) -> dict[str, Any]:
        """Send a WebSocket API request and return its answer, leaving out events in between."""
        await socket.send_json(request)
        while True:
            answer = await socket.receive_json(timeout=10)
            if answer.get("id") == request["id"] and "event" not in answer:
                return answer
