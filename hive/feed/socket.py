"""A market WebSocket: whole messages in by callback, text and pings out.

    connect(url, on_message, on_closed) -> DNS -> TCP -> TLS -> HTTP upgrade -> MarketSocket

on_message is called in the loop iteration in which the bytes were read, without a task in between. Pings of the venue
are answered at once. Whatever ends the connection, on_closed is called once with the reason; not after close().

A read may bring megabytes after the loop was busy. So that everybody else on the loop keeps having turns, what lies
behind the first BYTES_PER_TURN waits for the next ones, in order, and nothing more is read meanwhile.
"""

import asyncio
import socket
import ssl as tls
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSParsedURL,
    WSTransport,
    ws_connect,
)

from hive.feed.errors import FeedError
from hive.feed.frames import Frames

LARGEST_MESSAGE = 16 << 20
ADDRESS_WITHIN_S = 3.0  # then the next address of the host is tried
BYTES_PER_TURN = 256 << 10  # of messages: a few ms of work
TEXT, BINARY, CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION

OnMessage = Callable[[bytes, int], None]


class SocketError(FeedError):
    """A connection that could not be opened.

    `stage` is how far it came: "url", "dns", "tcp", "tls", "http"; `status` the HTTP status, 0 when there was none;
    `retry_after_s` what the venue asks to wait, 0 when it did not say.
    """

    def __init__(self, message: str, stage: str, status: int = 0, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.stage = stage
        self.status = status
        self.retry_after_s = retry_after_s


async def connect(
    url: str,
    on_message: OnMessage,
    on_closed: Callable[[str], None],
    *,
    on_pong: Callable[[bytes], None] | None = None,
    within_s: float = 10.0,
    ssl: tls.SSLContext | None = None,
    woke_ns: Callable[[], int] = time.monotonic_ns,
) -> "MarketSocket":
    """Open a WebSocket.

    Args:
        on_message: gets a whole text or binary message (fragments joined) and when the loop woke up for it (monotonic).
        on_closed: gets the reason, once, unless close() was called.
        on_pong: gets a pong's payload.
        within_s: for everything from the name's resolution to the venue's upgrade.
        ssl: for wss://; None verifies against the system's authorities.
        woke_ns: tells when the loop woke up; asked once for all messages that were read together.

    A venue may speak first: on_message may be called before connect() returns. Raises SocketError naming the stage that
    failed, or TimeoutError.
    """
    opened: list[socket.socket] = []

    async def open_socket(parsed: WSParsedURL) -> socket.socket:
        opened.append(await _open_socket(parsed.host, parsed.port))
        return opened[0]

    market = MarketSocket(on_message, on_closed, on_pong, woke_ns)
    host = urlsplit(url).netloc
    listener = None
    try:
        async with asyncio.timeout(within_s):
            _, listener = await ws_connect(
                lambda: market._listener,
                url,
                ssl_context=ssl,
                websocket_handshake_timeout=None,
                logger_name="hive",
                max_frame_size=LARGEST_MESSAGE,
                max_redirects=0,
                socket_factory=open_socket,
            )
    except WSHandshakeError as error:
        raise _refused(host, error) from None
    except tls.SSLError as error:
        raise SocketError(f"TLS with {host}: {error.reason or error}", "tls") from None
    except (WSError, ValueError) as error:
        raise SocketError(f"{url}: {error}", "url") from None
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise TimeoutError(f"{host} was not connected within {within_s:g} s") from None
        raise SocketError(f"{host}: {error}", "tcp") from None
    finally:
        if listener is None:
            market._forget()
            if opened:
                _end(opened[0])
    if listener is None:
        raise SocketError(f"{host} closed the connection instead of upgrading it", "http")
    return market


class MarketSocket:
    """An open WebSocket; from connect()."""

    def __init__(
        self,
        on_message: OnMessage,
        on_closed: Callable[[str], None],
        on_pong: Callable[[bytes], None] | None,
        woke_ns: Callable[[], int],
    ) -> None:
        self._on_closed = on_closed
        self._listener = _Listener(self, on_message, on_pong, woke_ns)
        self._transport: WSTransport | None = None
        self._ended: asyncio.Task[None] | None = None
        self._closed = False

    def send(self, text: str) -> None:
        """Send a text message; dropped when the connection is over."""
        self._transport.send(WSMsgType.TEXT, text)

    def ping(self, payload: bytes) -> None:
        """Send a ping of up to 125 bytes."""
        self._transport.send_ping(payload)

    def close(self) -> None:
        """End the connection without waiting for the venue's goodbye; no callback is called any more."""
        if not self._closed:
            self._forget()
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect(graceful=False)

    def _forget(self) -> None:
        """Call no callback any more."""
        self._closed = True
        self._listener.end()

    def _connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._ended = asyncio.ensure_future(transport.wait_disconnected())
        self._ended.add_done_callback(self._report)

    def _report(self, ended: asyncio.Future[None]) -> None:
        error = None if ended.cancelled() else ended.exception()
        if error is not None and not isinstance(error, WSError):
            context = {"message": "a market message's handler failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
        if not self._closed and not ended.cancelled():
            self._forget()
            self._on_closed(_reason(self._transport, error))


class _Listener(WSListener):
    """Joins frames to messages, until its frames are over."""

    def __init__(
        self,
        market: MarketSocket,
        on_message: OnMessage,
        on_pong: Callable[[bytes], None] | None,
        woke_ns: Callable[[], int],
    ) -> None:
        self._market = market
        self._on_message = on_message
        self._on_pong = on_pong
        self._frames = Frames(
            on_message, self._look_at, woke_ns, TEXT, largest=LARGEST_MESSAGE, per_turn=BYTES_PER_TURN
        )
        self.on_ws_frame = self._frames.take  # of the instance, so that no code in Python comes first
        self._waiting: deque[tuple[WSMsgType, bool, bytes, int]] = deque()
        self._parts: list[bytes] = []
        self._parts_bytes = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._market._connected(transport)

    def end(self) -> None:
        """Hear nothing any more."""
        self._frames.end()

    def _look_at(self, frame: WSFrame) -> None:
        """Handle any frame but a ping, now or later."""
        self._handle(frame)
        self._frames.busy = bool(self._waiting or self._parts)

    def _handle(self, frame: WSFrame) -> None:
        if frame.tail_size < self._frames.last_tail or self._waiting:
            self._wait(frame)
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._give_up(WSCloseCode.PROTOCOL_ERROR, "a frame with a reserved bit")
        else:
            self._take(frame.msg_type, frame.fin, frame.get_payload_as_bytes(), self._frames.read_ns)

    def _take(self, kind: WSMsgType, final: bool, payload: bytes, read_ns: int) -> None:
        """Handle any frame but a ping."""
        if kind is TEXT or kind is BINARY or kind is CONTINUATION:
            self._part(kind, final, payload, read_ns)
        elif kind is WSMsgType.PONG:
            if self._on_pong is not None:
                self._on_pong(payload)
        else:
            self._frames.over = True
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect(graceful=False)

    def _part(self, kind: WSMsgType, final: bool, payload: bytes, read_ns: int) -> None:
        """Take a message, or one of several frames of it, or give up what breaks the protocol."""
        if (kind is CONTINUATION) != bool(self._parts):
            self._give_up(WSCloseCode.PROTOCOL_ERROR, "a frame out of its message")
            return
        if not self._parts and final:
            self._on_message(payload, read_ns)
            return
        self._parts_bytes += len(payload)
        if self._parts_bytes > LARGEST_MESSAGE:
            self._give_up(WSCloseCode.MESSAGE_TOO_BIG, f"a message must be at most {LARGEST_MESSAGE} bytes")
            return
        self._parts.append(payload)
        if final:
            message = b"".join(self._parts)
            self._parts.clear()
            self._parts_bytes = 0
            self._on_message(message, read_ns)

    def _wait(self, frame: WSFrame) -> None:
        """Keep a frame for another turn; read nothing until there is none."""
        if not self._waiting:
            self._transport.underlying_transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._work_on)
        self._waiting.append((frame.msg_type, frame.fin, frame.get_payload_as_bytes(), self._frames.read_ns))

    def _work_on(self) -> None:
        """Handle a turn's worth of the frames that wait."""
        waiting = self._waiting
        left = BYTES_PER_TURN
        while waiting and left > 0 and not self._frames.over:
            kind, final, payload, read_ns = waiting.popleft()
            left -= len(payload)
            try:
                self._take(kind, final, payload, read_ns)
            except Exception:
                self._give_up(WSCloseCode.INTERNAL_ERROR, "a message's handler failed")
                raise
        if self._frames.over:
            waiting.clear()
        elif waiting:
            asyncio.get_running_loop().call_soon(self._work_on)
        else:
            self._frames.busy = bool(self._parts)
            self._transport.underlying_transport.resume_reading()

    def _give_up(self, code: WSCloseCode, why: str) -> None:
        self._frames.over = True
        self._transport.send_close(code, why)
        self._transport.disconnect(graceful=False)


def _refused(host: str, error: WSHandshakeError) -> SocketError:
    """Return what became of an upgrade that the venue did not make."""
    response = error.response
    if response is None:
        return SocketError(f"{host} did not upgrade to a WebSocket: {error}", "http")
    status = int(response.status)
    wait = response.headers.get("Retry-After", "")
    wait_s = float(wait) if wait.isascii() and wait.isdigit() else 0.0
    said = f"HTTP {status}" if status != HTTPStatus.SWITCHING_PROTOCOLS else str(error)
    return SocketError(f"{host} did not upgrade to a WebSocket: {said}", "http", status, wait_s)


def _reason(transport: WSTransport, error: BaseException | None) -> str:
    """Return why a connection is over."""
    if error is not None:
        return f"given up: {error}" if isinstance(error, WSError) else f"{type(error).__name__}: {error}"
    handshake = transport.close_handshake
    if handshake is None:
        return "lost without a goodbye"
    said = handshake.recv if handshake.recv is not None else handshake.sent
    by = "closed by the venue" if handshake.recv is not None else "given up"
    return f"{by}: code {int(said.code)} {said.reason or ''}".rstrip()


async def _open_socket(host: str, port: int) -> socket.socket:
    """Return a connected socket of the first of the host's addresses that takes the connection."""
    loop = asyncio.get_running_loop()
    try:
        addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise SocketError(f"{host} was not found: {error.strerror}", "dns") from None
    except RuntimeError as error:  # no thread can be started to ask in
        raise SocketError(f"{host} cannot be looked up: {error}", "dns") from None
    failure = ""
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            async with asyncio.timeout(ADDRESS_WITHIN_S):
                await loop.sock_connect(sock, address)
            return sock
        except OSError as error:
            failure = f"{address[0]} port {port}: {error.strerror or 'no answer'}"
            sock.close()
        except BaseException:
            sock.close()
            raise
    raise SocketError(failure or f"{host} has no address", "tcp")


def _end(sock: socket.socket) -> None:
    """End a connection that failed half-way; its transport, which nobody can name, sees that and frees it."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed already
