"""Openings of the market WebSocket that fail, each with its stage, and TLS; against real servers on loopback."""

import asyncio
import os
import socket
import ssl
import subprocess
import threading

import pytest

from feed.socket_peer import BINARY, TEXT, Client, forever, frame, server, until
from hive.feed.socket import SocketError, connect


async def test_a_refused_upgrade_names_the_http_status_and_how_long_to_wait():
    async def script(peer):
        await peer.upgrade("429 Too Many Requests", "Retry-After: 17\r\n")

    async with server(script, upgrade=False) as port:
        with pytest.raises(SocketError, match="HTTP 429") as caught:
            await Client().connect(port)
    assert (caught.value.stage, caught.value.status, caught.value.retry_after_s) == ("http", 429, 17.0)


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 101 OK\r\n\r\n", b"HTTP/1.1 302 X\r\nLocation: ws://x/\r\n\r\n"]
)
async def test_an_answer_that_is_no_upgrade_is_refused(answer):
    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(answer)

    async with server(script, upgrade=False) as port:
        with pytest.raises(SocketError) as caught:
            await Client().connect(port)
    assert caught.value.stage == "http"


async def test_a_host_without_a_thread_to_look_a_name_up_in_is_a_failure_like_any_other(monkeypatch):
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(SocketError, match="cannot be looked up: can't start new thread") as caught:
            await Client().connect(9)
    assert caught.value.stage == "dns"


async def test_a_port_that_nobody_listens_on_is_a_tcp_failure():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(SocketError) as caught:
            await Client().connect(taken.getsockname()[1])
    assert caught.value.stage == "tcp"


async def test_a_name_that_does_not_exist_is_a_dns_failure():
    with pytest.raises(SocketError) as caught:
        await Client().connect(1, host="nowhere.invalid")
    assert caught.value.stage == "dns"


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "127.0.0.1", "ws://", "ws://127.0.0.1:x/"])
async def test_what_is_no_websocket_address_is_refused(url):
    with pytest.raises(SocketError) as caught:
        await connect(url, print, print)
    assert caught.value.stage == "url"


async def test_a_venue_that_does_not_answer_is_given_up_and_its_socket_closed():
    seen = []

    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        seen.append(await peer.reader.read())

    async with server(script, upgrade=False) as port:
        with pytest.raises(TimeoutError, match=r"not connected within 0\.05 s"):
            await Client().connect(port, within_s=0.05)
        await until(lambda: seen)
    assert seen == [b""]


async def test_a_cancelled_opening_leaves_nothing_open():
    seen = []

    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        seen.append(b"request")
        seen.append(await peer.reader.read())

    async with server(script, upgrade=False) as port:
        opening = asyncio.create_task(Client().connect(port))
        await until(lambda: seen)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await until(lambda: len(seen) == 2)
    assert opening.cancelled()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate of "localhost": the server's context and the file."""
    folder = tmp_path_factory.mktemp("tls")
    key, file = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", file]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return context, file


async def test_messages_come_through_tls(certificate):
    context, file = certificate
    payload = os.urandom(3_000_000)
    client = Client()

    async def script(peer):
        heard = await peer.hear()
        await peer.send(frame(BINARY, payload), frame(TEXT, heard[1]))
        await forever(peer)

    async with server(script, tls=context) as port:
        ws = await client.connect(port, "wss", "localhost", ssl=ssl.create_default_context(cafile=file))
        ws.send("hello")
        await until(lambda: len(client.messages) == 2)
        ws.close()
    assert client.messages == [payload, b"hello"]


async def test_a_certificate_that_nobody_signed_is_a_tls_failure(certificate):
    async with server(forever, tls=certificate[0]) as port:
        with pytest.raises(SocketError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            await Client().connect(port, "wss", "localhost")
    assert caught.value.stage == "tls"


async def test_a_certificate_of_another_host_is_a_tls_failure(certificate):
    context = ssl.create_default_context(cafile=certificate[1])
    async with server(forever, tls=certificate[0]) as port:
        with pytest.raises(SocketError) as caught:
            await Client().connect(port, "wss", "127.0.0.1", ssl=context)
    assert caught.value.stage == "tls"


async def test_a_server_without_tls_is_a_tls_failure():
    async def script(peer):
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with server(script, upgrade=False) as port:
        with pytest.raises(SocketError) as caught:
            await Client().connect(port, "wss")
    assert caught.value.stage == "tls"
