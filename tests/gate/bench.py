"""A gate process with real queues, a real exchange, and this test in the places of supervisor and workers."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from hive import keys
from hive.gate.signing import Signer
from hive.shm.channel import Channel
from hive.shm.counters import CountersReader
from hive.shm.errors import QueueWedged
from hive.shm.ids import order_prefix, strategy_tag
from hive.shm.link import Link
from hive.shm.messages import MAYBE_SENT, Intent, IntentKind, OrderType, Reply, ReplyKind, Side, TimeInForce, unpack
from hive.shm.order_queue import OrderQueue
from hive.shm.segment import Segment, list_segments, segment_name, unlink
from hive.shm.wake import Waker

FLEET = "bench"
FLEET_ID = "benca"
CENT = Decimal("0.01")
PAIR, SYMBOL = "BTC-USDT", "BTCUSDT"
ENDS = {ReplyKind.FILLED, ReplyKind.CANCELLED, ReplyKind.EXPIRED, ReplyKind.REJECTED}
FIRST_WORD = {ReplyKind.ACKED, ReplyKind.REJECTED, ReplyKind.UNKNOWN}


def until(ready: Callable[[], object], what: str | Callable[[], str], timeout_s: float = 20.0) -> object:
    """Return the first true value of `ready`, asked every few ms; fail with `what` at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not (value := ready()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.005)
    return value


class Exchange:
    """The simulated exchange, quiet: nothing trades but the test."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "hive.sim", "--seed", "7", "--rate", "0.001", "--symbols", "5"]
        self.process = subprocess.Popen(
            [*command, "--exit-on-eof", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.told = json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def get(self, path: str) -> dict:
        with urllib.request.urlopen(f"{self.told['rest_url']}{path}", timeout=30) as response:
            return json.loads(response.read())

    def post(self, path: str, body: dict) -> dict:
        request = urllib.request.Request(f"{self.told['rest_url']}{path}", json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read())

    def fault(self, name: str, **arguments: object) -> None:
        self.post("/sim/fault", {"name": name, **arguments})

    def clear(self) -> None:
        self.post("/sim/clear", {})

    def signed(self, method: str, path: str, **params: object) -> dict:
        """Send a signed request around the gate."""
        signer = Signer(self.told["api_key"], self.told["api_secret"])
        query = signer.query({**params, "timestamp": self.get("/api/v3/time")["serverTime"]})
        request = urllib.request.Request(
            f"{self.told['rest_url']}{path}?{query}", method=method, headers={"X-MBX-APIKEY": signer.api_key}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read())

    def place_around(self, client_order_id: str, price: Decimal) -> dict:
        """Rest a buy order at the exchange that the gate did not send."""
        order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
        return self.signed(
            "POST", "/api/v3/order", **order, quantity="0.01", price=str(price), newClientOrderId=client_order_id
        )

    def fill(self, order_price: Decimal, amount: str = "0.01") -> None:
        """Let the house sell into a resting buy order."""
        self.post("/sim/trade", {"symbol": SYMBOL, "side": "SELL", "quantity": amount, "price": str(order_price)})

    def orders(self, client_order_id: str | None = None) -> list[dict]:
        orders = [order for account in self.get("/sim/ledger")["accounts"] for order in account["orders"]]
        return [o for o in orders if client_order_id in (None, o["clientOrderId"])]

    def open_orders(self) -> list[dict]:
        return [o for o in self.orders() if o["status"] in ("NEW", "PARTIALLY_FILLED")]

    def best(self, side: str) -> Decimal:
        book = self.get(f"/api/v3/depth?symbol={SYMBOL}&limit=5")
        return Decimal(book["bids" if side == "bid" else "asks"][0][0])

    def low_price(self) -> Decimal:
        """Return a price at which nothing is sold."""
        return (self.best("bid") * Decimal("0.9")).quantize(CENT)

    def top_price(self) -> Decimal:
        """Return a price just above the best bid: first in line, and not taking."""
        return self.best("bid") + CENT


class Worker:
    """This test as one worker: its queues, its link, what it was told."""

    def __init__(self, bench: "GateBench", index: int, epoch: int = 1) -> None:
        self.index = index
        self.epoch = epoch
        self.tag = strategy_tag(f"strategy-{index}")
        self.told: list[Reply] = []
        self.waker = Waker(bench.wake)
        self._serial = 0
        self._queues: list[OrderQueue] = []
        self.link: Link | None = None
        self.connect(bench)

    def connect(self, bench: "GateBench") -> None:
        """Make a pair of queues and tell the gate."""
        queues = []
        for way in ("up", "down"):
            self._serial += 1
            name = f"queue.{way}{self._serial}.worker{self.index}.{self.epoch}"
            queues.append(OrderQueue.create(segment_name(bench.run, name, bench.epoch), bench.epoch))
        self._queues += queues
        up, down = queues
        self.link = Link(down, up, self.waker, self.epoch)
        bench.channel.send(
            {
                "type": "worker",
                "index": self.index,
                "epoch": self.epoch,
                "inbound": up.name,
                "outbound": down.name,
                "wake": str(bench.run_dir / f"wake.worker{self.index}.{self.epoch}"),
            }
        )

    def close(self) -> None:
        for queue in self._queues:
            queue.close()
        self.waker.close()

    def new_id(self) -> str:
        return order_prefix(FLEET_ID, self.tag) + secrets.token_hex(8)

    def send(self, intent: Intent) -> str:
        self.link.send(intent.pack())
        with contextlib.suppress(QueueWedged):  # a gate was killed in it: the next one brings another
            until(self.link.flush, "the queue takes it")  # busy while the gate is in it
        return intent.client_order_id

    def place(
        self,
        price: Decimal | str | None,
        amount: Decimal | str = "0.01",
        side: Side = Side.BUY,
        order_type: OrderType = OrderType.LIMIT,
        client_order_id: str | None = None,
        flags: int = 0,
        pair: str = PAIR,
        tif: TimeInForce = TimeInForce.GTC,
        created_ns: int | None = None,
        book_epoch: int = 0,
        venue: int = 0,
    ) -> str:
        return self.send(
            Intent(
                IntentKind.PLACE,
                venue,
                pair,
                client_order_id or self.new_id(),
                side,
                order_type,
                tif,
                None if price is None else Decimal(price),
                Decimal(amount),
                book_epoch=book_epoch,
                created_ns=time.monotonic_ns() if created_ns is None else created_ns,
                flags=flags,
            )
        )

    def cancel(self, client_order_id: str, venue: int = 0) -> None:
        self.send(Intent(IntentKind.CANCEL, venue, PAIR, client_order_id, created_ns=time.monotonic_ns()))

    def query(self, client_order_id: str) -> None:
        intent = Intent(IntentKind.QUERY, 0, PAIR, client_order_id, created_ns=time.monotonic_ns(), flags=MAYBE_SENT)
        self.send(intent)

    def listen(self) -> None:
        with contextlib.suppress(QueueWedged):
            for payload in self.link.poll():
                self.told.append(unpack(payload))
            self.link.flush()

    def heard(self, client_order_id: str) -> list[Reply]:
        self.listen()
        return [reply for reply in self.told if reply.client_order_id == client_order_id]

    def kinds(self, client_order_id: str) -> list[str]:
        return [reply.kind.name for reply in self.heard(client_order_id)]

    def wait(self, client_order_id: str, *kinds: ReplyKind, timeout_s: float = 20.0) -> Reply:
        """Return the first reply of one of these kinds about an order."""
        found: list[Reply] = until(
            lambda: [r for r in self.heard(client_order_id) if r.kind in kinds],
            lambda: f"{[kind.name for kind in kinds]} of {client_order_id}, was told {self.kinds(client_order_id)}",
            timeout_s,
        )
        return found[0]

    def opened(self) -> bool:
        self.listen()
        news = [reply for reply in self.told if reply.kind is ReplyKind.OPENED and reply.venue == 0]
        return bool(news) and not news[-1].text

    def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        self.listen()
        return {r.fee_asset: (r.amount, r.cumulative) for r in self.told if r.kind is ReplyKind.BALANCE}


class GateBench:
    """One gate and its workers.

    Args:
        exchange: where it trades
        workers: how many there are, one strategy each
        boot: what the boot message says differently
    """

    def __init__(self, exchange: Exchange, workers: int = 1, run: str | None = None, **boot: object) -> None:
        self.exchange = exchange
        self.run = run or secrets.token_hex(4)
        self.epoch = int(boot.get("epoch", 1))
        self.run_dir = Path(os.environ["XDG_RUNTIME_DIR"]) / "hive" / str(boot.get("fleet", FLEET))
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.log = self.run_dir / "gate.log"
        venue = {"index": 0, "name": "binance", "recv_window_ms": 1000, "request_timeout_s": 1.0}
        told = {name: exchange.told[name] for name in ("rest_url", "ws_url", "ws_api_url", "api_key", "api_secret")}
        self.boot = {
            "type": "boot",
            "run": self.run,
            "fleet": FLEET,
            "fleet_id": FLEET_ID,
            "epoch": self.epoch,
            "run_dir": str(self.run_dir),
            "state_dir": str(self.run_dir / f"state-{self.run}"),
            "log_file": str(self.log),
            "log_level": "DEBUG",
            "supervisor_pid": os.getpid(),
            "venues": [{**venue, **told, **boot.pop("venue", {})}, *boot.pop("replays", ())],
            "strategies": [
                {"id": f"strategy-{i}", "tag": strategy_tag(f"strategy-{i}"), "worker": i} for i in range(workers)
            ],
            "rate_limiting": {"global_orders_per_second": 1000, "per_strategy_orders_per_second": 1000},
            "on_supervisor_death": "cancel",
            "on_worker_death": "cancel",
            **boot,
        }
        self.workers: list[Worker] = []
        self.events: list[dict] = []
        self.channel, theirs = Channel.pair()
        self.process = self._start(theirs)
        accounts = [venue for venue in self.boot["venues"] if "api_key" in venue]
        fds = [keys.seal(venue.pop("api_key"), venue.pop("api_secret")) for venue in accounts]
        self.channel.send(self.boot, fds)
        for fd in fds:
            os.close(fd)

    def _start(self, theirs: socket.socket) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "hive.gate.process", "--channel-fd", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        return process

    def message(self, kind: str, timeout_s: float = 20.0) -> dict:
        """Return the next message of a kind from the gate."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            message = self.channel.recv_blocking(max(0.01, deadline - time.monotonic()))
            assert message is not None, f"the gate is gone, {kind} was expected:\n{self.log_text()}"
            if message["type"] == kind:
                return message
            assert message["type"] != "fatal", message
            self.events.append(message)
        raise AssertionError(f"no {kind} within {timeout_s} s:\n{self.log_text()}")

    def ready(self) -> "GateBench":
        """Wait for the gate, then connect the workers."""
        told = self.message_of_ready = self.message("ready")
        self.counters = Segment.open(told["counters"], kind="counters")
        self.wake = told["wake"]
        self.workers = [Worker(self, index) for index in range(len(self.boot["strategies"]))]
        for worker in self.workers:
            until(worker.opened, "the account is opened for the worker")
        return self

    def figures(self) -> dict[str, int]:
        """Return the gate's counters by name."""
        return {name: value for (name, _), value in CountersReader(self.counters).read().values.items()}

    def histogram(self, wanted: str) -> object:
        read = CountersReader(self.counters).read()
        return next(value for (name, _), value in read.histograms.items() if name == wanted)

    def log_text(self) -> str:
        return self.log.read_text() if self.log.exists() else "(no log)"

    def stop(self, deadline_s: float = 15.0) -> int:
        """Stop the gate; returns how many orders it says are open."""
        self.channel.send({"type": "stop", "deadline_s": deadline_s})
        left = self.message("stopped", deadline_s + 5)["open_orders"]
        assert self.process.wait(30) == 0
        return left

    def close(self) -> None:
        """End what still runs, and unlink the run's segments."""
        self.channel.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        for worker in self.workers:
            worker.close()
        if hasattr(self, "counters"):
            self.counters.close()
        for info in list_segments(self.run):
            unlink(info.name)
        for left in self.run_dir.glob("wake.gate.*"):
            left.unlink()

    def forget(self) -> None:
        """Remove what gates of this run remember."""
        shutil.rmtree(self.run_dir / f"state-{self.run}", ignore_errors=True)
