"""HMAC-SHA256 signatures as Binance wants them.

REST signs the query string as it is sent; the WebSocket API signs its parameters sorted by name, unescaped, apiKey
among them. (developers.binance.com, Request Security, in both APIs.)
"""

import hashlib
from urllib.parse import urlencode

BLOCK_BYTES = 64  # of SHA-256


class Signer:
    """Signs with one key pair.

    Args:
        api_key, api_secret: ASCII
    """

    def __init__(self, api_key: str, api_secret: str) -> None:
        self.api_key = api_key
        secret = api_secret.encode("ascii")
        if len(secret) > BLOCK_BYTES:
            secret = hashlib.sha256(secret).digest()
        block = secret.ljust(BLOCK_BYTES, b"\0")
        # Both hashes have taken the key in (RFC 2104); copies of them take the texts. The module hmac does the same
        # with four times the work for a text of this length.
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def __repr__(self) -> str:
        return "Signer(...)"  # nothing of the keys may reach a log

    def query(self, params: dict[str, str | int]) -> str:
        """Return the query string of a signed REST request, `signature` last."""
        text = urlencode(params)
        return f"{text}&signature={self.sign(text)}"

    def params(self, params: dict[str, str | int]) -> dict[str, str | int]:
        """Return the parameters of a signed WebSocket request, apiKey and signature added."""
        signed = {**params, "apiKey": self.api_key}
        text = "&".join(f"{name}={signed[name]}" for name in sorted(signed))
        signed["signature"] = self.sign(text)
        return signed

    def sign(self, text: str) -> str:
        """Return the signature of a text."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode("ascii"))
        outer.update(inner.digest())
        return outer.hexdigest()
