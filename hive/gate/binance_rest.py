"""Binance's REST API: one request, one answer, and what is known when there is none."""

import json
import time
from collections.abc import Callable
from contextvars import ContextVar
from types import SimpleNamespace

import aiohttp
from yarl import URL

from hive.gate.binance_messages import Answer, answer_of_rest, needed
from hive.gate.errors import NotSent, Unanswered
from hive.gate.signing import Signer

CONNECT_TIMEOUT_S = 5.0

_may_send: ContextVar[Callable[[], None] | None] = ContextVar("hive_may_send", default=None)


class CheckedRequest(aiohttp.ClientRequest):
    """A request that asks `may_send` once it has its connection: making one may take seconds."""

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Write the request; raises what `may_send` raises."""
        check = _may_send.get()
        if check is not None:
            check()
        return await super().send(conn)


def sent_trace() -> aiohttp.TraceConfig:
    """Return the trace config that calls a request's `on_sent` when its head has been written."""

    async def headers_sent(
        session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestHeadersSentParams
    ) -> None:
        on_sent = context.trace_request_ctx
        if on_sent is not None:
            now_ns = time.monotonic_ns()  # aiohttp does not tell when it began
            on_sent(now_ns, now_ns)

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(headers_sent)
    return trace


class RestApi:
    """Signed and public REST requests.

    Args:
        session: with `sent_trace()` among its trace configs, and CheckedRequest for its requests
        url: scheme and host, no path
        signer: the keys
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, signer: Signer) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._signer = signer

    async def request(
        self,
        method: str,
        path: str,
        params: dict[str, str | int],
        timeout_s: float,
        signed: bool = True,
        on_sent: Callable[[int, int], None] | None = None,
        may_send: Callable[[], None] | None = None,
    ) -> Answer:
        """Send a request and return its answer, whatever its status.

        Args:
            path: from /api on
            may_send: called when there is a connection to write to; what it raises passes through
            params: go into the query string in this order; a signed request's include its timestamp

        Raises:
            NotSent: no connection could be made.
            Unanswered: no answer came, or none that can be read.
        """
        query = self._signer.query(params) if signed else "&".join(f"{name}={value}" for name, value in params.items())
        checked = _may_send.set(may_send)
        url = URL(f"{self._url}{path}{'?' if query else ''}{query}", encoded=True)  # what was signed is what is sent
        try:
            async with self._session.request(
                method,
                url,
                headers={"X-MBX-APIKEY": self._signer.api_key} if signed else None,
                timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S),
                allow_redirects=False,
                trace_request_ctx=on_sent,
            ) as response:
                text = await response.text()
                return answer_of_rest(response.status, _json(text), response.headers)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(f"{method} {path}: no connection: {type(error).__name__}") from None
        except (aiohttp.ClientError, OSError, TimeoutError, UnicodeDecodeError) as error:
            # the error's own text may hold the URL and with it the signature
            raise Unanswered(f"{method} {path}: {type(error).__name__}") from None
        finally:
            _may_send.reset(checked)


def _json(text: str) -> object:
    try:
        return json.loads(text, object_hook=needed)
    except ValueError:
        return None
