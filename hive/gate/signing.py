"""HMAC-SHA256 signatures as Binance wants them.

REST signs the query string as it is sent; the WebSocket API signs its parameters sorted by name, unescaped, apiKey
among them. (developers.binance.com, Request Security, in both APIs.)
"""

import hmac
from urllib.parse import urlencode


class Signer:
    """Signs with one key pair.

    Args:
        api_key, api_secret: ASCII
    """

    def __init__(self, api_key: str, api_secret: str) -> None:
        self.api_key = api_key
        self._keyed = hmac.new(api_secret.encode("ascii"), digestmod="sha256")

    def __repr__(self) -> str:
        return "Signer(...)"  # nothing of the keys may reach a log

    def query(self, params: dict[str, str | int]) -> str:
        """Return the query string of a signed REST request, `signature` last."""
        text = urlencode(params)
        return f"{text}&signature={self._sign(text)}"

    def params(self, params: dict[str, str | int]) -> dict[str, str | int]:
        """Return the parameters of a signed WebSocket request, apiKey and signature added."""
        signed = {**params, "apiKey": self.api_key}
        text = "&".join(f"{name}={signed[name]}" for name in sorted(signed))
        signed["signature"] = self._sign(text)
        return signed

    def _sign(self, text: str) -> str:
        mac = self._keyed.copy()  # the key is hashed once, not for every request
        mac.update(text.encode("ascii"))
        return mac.hexdigest()
