"""A venue in a process of its own that sends market messages at set times: `python perf/market_sender.py`.

    stdin {"instruments": N, "seed": S}             stdout {"rest_url": ..., "ws_url": ..., "pairs": [...]}
          {"generate": C, "group": G}                      {"ready": C / G}
          {"rate": R, "group": G, "log": FILE}             {"sent": C, "seconds": ..., "cpu_s": ..., "late_us": ...}
          end of file: exit

It answers exchangeInfo and GET depth with the books as they are before the messages that it sends next, grants every
subscription and answers pings. Messages go out in groups of G that share an intended time, G / R seconds apart; the
sender sleeps until shortly before and then spins, so that it is late only when it was not given a CPU. FILE gets five
int64 per message: the instrument's number, update id, and three times (CLOCK_MONOTONIC, ns): the intended one, the one
right before the socket was given the message, and the one at which the kernel handed it to the loopback device (the
former, where the kernel gave no stamp).
"""

import array
import base64
import ctypes
import gc
import hashlib
import json
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from market_stream import Instrument, instruments, messages
from transmit_stamps import TransmitStamps

WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
LONGEST_SPIN_NS = 150_000
FIRST_IN_NS = 200_000_000
LAST_STAMP_S = 0.1
PR_SET_TIMERSLACK = 29
TEXT, PING, PONG = 0x81, 0x89, 0x8A

type Group = tuple[bytes, list[tuple[int, int]]]  # frames; number of the instrument and update id of each
type Log = list[tuple[list[tuple[int, int]], int, int, int]]  # of each group; when; when; bytes sent with its last one


def frame(kind: int, payload: bytes) -> bytes:
    """Return an unmasked frame."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", kind, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", kind, 126, size) + payload
    return struct.pack("!BBQ", kind, 127, size) + payload


def rules_of(one: Instrument) -> dict[str, object]:
    """Return an instrument's entry in exchangeInfo."""
    base, quote = one.pair.split("-")
    sizes = {"minQty": "0.00001", "maxQty": "9000000", "stepSize": "0.00001"}
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.00001", "maxPrice": "9000000", "tickSize": "0.00001"},
        {"filterType": "LOT_SIZE", **sizes},
        {"filterType": "NOTIONAL", "minNotional": "5"},
    ]
    return {"symbol": one.symbol, "status": "TRADING", "baseAsset": base, "quoteAsset": quote, "filters": filters}


class Books:
    """The venue's instruments: what is sent next, and what GET depth answers: the books before that."""

    def __init__(self, count: int, seed: int) -> None:
        self.instruments = instruments(count, seed)
        self.by_symbol = {one.symbol: one for one in self.instruments}
        self.snapshots: dict[str, dict] = {}
        self.keep()

    def keep(self) -> None:
        """Answer GET depth with the books as they are now."""
        self.snapshots = {one.symbol: one.snapshot() for one in self.instruments}

    def answer(self, path: str) -> object:
        """Return the answer to a GET."""
        url = urlsplit(path)
        asked = parse_qs(url.query)
        if url.path == "/api/v3/depth":
            whole = self.snapshots[asked["symbol"][0]]
            limit = int(asked["limit"][0])
            return {**whole, "bids": whole["bids"][:limit], "asks": whole["asks"][:limit]}
        symbols = json.loads(asked["symbols"][0]) if "symbols" in asked else list(self.by_symbol)
        return {"symbols": [rules_of(self.by_symbol[symbol]) for symbol in symbols]}


def serve_http(books: Books) -> str:
    """Serve the books on loopback; return the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = json.dumps(books.answer(self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


class MarketSocket:
    """The listening end: one connection at a time, which is granted every request."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listening.getsockname()[1]}/ws"
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._sent_bytes = 0  # on the newest connection
        threading.Thread(target=self._accept, daemon=True).start()

    def send(self, frames: bytes) -> int:
        """Send whole frames on the newest connection; return how many bytes that makes since stamps() or its start."""
        with self._lock:
            self._write(self._connection, frames)
            return self._sent_bytes

    def stamps(self) -> TransmitStamps:
        """Let the kernel stamp what is sent on the newest connection."""
        with self._lock:
            self._sent_bytes = 0
            return TransmitStamps(self._connection)

    def _write(self, connection: socket.socket, data: bytes) -> None:
        connection.sendall(data)
        if connection is self._connection:
            self._sent_bytes += len(data)

    def _accept(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        file = connection.makefile("rb")
        key = b""
        while (line := file.readline().strip()) != b"":
            if line.lower().startswith(b"sec-websocket-key:"):
                key = line.split(b":", 1)[1].strip()
        accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET).digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        with self._lock:
            connection.sendall(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            self._connection = connection
            self._sent_bytes = 0
        while (heard := self._hear(file)) is not None:
            kind, payload = heard
            answer = None
            if kind == TEXT:
                answer = frame(TEXT, json.dumps({"result": None, "id": json.loads(payload)["id"]}).encode())
            elif kind == PING:
                answer = frame(PONG, payload)
            if answer is not None:
                with self._lock:
                    self._write(connection, answer)

    @staticmethod
    def _hear(file) -> tuple[int, bytes] | None:
        head = file.read(2)
        if len(head) < 2:
            return None
        size = head[1] & 0x7F
        if size == 126:
            size = int.from_bytes(file.read(2), "big")
        elif size == 127:
            size = int.from_bytes(file.read(8), "big")
        mask = file.read(4)
        payload = file.read(size)
        return head[0], bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def groups(books: Books, count: int, group: int, seed: int) -> list[Group]:
    """Return the next `count` diffs as frames of `group` messages each, with their instruments' numbers and ids."""
    made = []
    frames: list[bytes] = []
    ids: list[tuple[int, int]] = []
    for number, raw in enumerate(messages(books.instruments, count, trade_share=0.0, seed=seed)):
        frames.append(frame(TEXT, raw))
        ids.append((number % len(books.instruments), int(raw[raw.index(b'"u":') + 4 : raw.index(b',"b":')])))
        if len(frames) == group:
            made.append((b"".join(frames), ids))
            frames, ids = [], []
    if frames:
        made.append((b"".join(frames), ids))
    return made


def send(market: MarketSocket, ready: list[Group], interval_ns: int, stamps: TransmitStamps | None) -> tuple[Log, int]:
    """Send each group at its time; return what was sent (stamps: 0) and how late the latest was, in ns."""
    clock = time.monotonic_ns
    log = []
    latest = 0
    spin_ns = min(LONGEST_SPIN_NS, interval_ns // 4)  # the feed may need this CPU between two messages
    intended = clock() + FIRST_IN_NS
    for frames, ids in ready:
        ahead = intended - clock()
        if ahead > spin_ns:
            time.sleep((ahead - spin_ns) / 1e9)
        if stamps is not None:
            stamps.collect()  # of those before; the feed has had its turn
        while intended > clock():
            pass
        handed = clock()
        log.append((ids, intended, handed, market.send(frames)))
        latest = max(latest, handed - intended)
        intended += interval_ns
    return log, latest


def log_rows(log: Log, stamps: TransmitStamps) -> array.array:
    """Return the rows of the file: see the module. TCP joins sends now and then, and the first has no stamp then."""
    time.sleep(LAST_STAMP_S)
    stamps.collect()
    stamps.close()
    rows = array.array("q")
    for ids, intended, handed, sent_bytes in log:
        for number, update_id in ids:
            rows.extend((number, update_id, intended, handed, stamps.of(sent_bytes) or handed))
    return rows


def main() -> None:
    """Serve until standard input ends."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    wish = json.loads(sys.stdin.readline())
    books = Books(wish["instruments"], wish["seed"])
    market = MarketSocket()
    where = {"rest_url": serve_http(books), "ws_url": market.url, "pairs": [one.pair for one in books.instruments]}
    print(json.dumps(where), flush=True)
    gc.freeze()
    gc.disable()
    for number, line in enumerate(sys.stdin):
        wish = json.loads(line)
        if "generate" in wish:
            ready = groups(books, wish["generate"], wish["group"], number)
            print(json.dumps({"ready": len(ready)}), flush=True)
            continue
        stamps = market.stamps() if wish.get("log") else None
        cpu = time.process_time()
        log, latest = send(market, ready, round(wish["group"] / wish["rate"] * 1e9), stamps)
        cpu = time.process_time() - cpu
        if stamps is not None:
            Path(wish["log"]).write_bytes(log_rows(log, stamps).tobytes())
        sent = sum(len(ids) for ids, *_ in log)
        seconds = len(ready) * wish["group"] / wish["rate"]
        result = {"sent": sent, "seconds": seconds, "cpu_s": cpu, "late_us": latest / 1e3}
        print(json.dumps(result), flush=True)
        books.keep()


if __name__ == "__main__":
    main()
