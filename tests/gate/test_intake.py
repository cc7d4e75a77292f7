"""When workers hear of the account's balances: at once while they have something going on, else with the next beat."""

import logging
import secrets
from decimal import Decimal
from pathlib import Path

import pytest

from hive.gate.intake import CALM, Intake
from hive.gate.replies import balance
from hive.gate.settings import OwnerSettings
from hive.shm.ids import order_prefix
from hive.shm.link import Link
from hive.shm.messages import Intent, IntentKind, Reply, ReplyKind, unpack
from hive.shm.order_queue import OrderQueue
from hive.shm.segment import segment_name
from hive.shm.wake import WakeReceiver

FLEET = "fleet"
TAGS = ("first", "other")
EPOCH = 5


class Workers:
    """Two workers with a strategy each, as a gate's intake sees them, and what they have heard."""

    def __init__(self, folder: Path) -> None:
        self.handled: list[Intent] = []
        self.intake = Intake(
            FLEET,
            tuple(OwnerSettings(tag, tag, worker) for worker, tag in enumerate(TAGS)),
            lambda intent, tag, life: self.handled.append(intent),
            on_wedged=lambda index, epoch: None,
            on_pending=lambda: None,
            on_taken=lambda venue, order: None,
            log=logging.getLogger("gate"),
        )
        self.wakes, self.links, self._queues = [], [], []
        run = secrets.token_hex(4)
        for index in range(len(TAGS)):
            names = [segment_name(run, f"{way}{index}", EPOCH) for way in ("in", "out")]
            queues = [OrderQueue.create(name, EPOCH) for name in names]
            self._queues += queues
            self.wakes.append(WakeReceiver(folder / f"wake{index}"))
            self.links.append(Link(queues[1], queues[0], None, EPOCH))
            assert self.intake.attach(index, EPOCH, *names, str(self.wakes[-1].path))

    def woken(self) -> list[bool]:
        """Return which worker has been woken since the last call."""
        return [wake.drain() for wake in self.wakes]

    def heard(self, worker: int) -> list[str]:
        """Return the assets of balances, and the orders of other replies, that a worker has been sent."""
        replies = [unpack(payload) for payload in self.links[worker].poll()]
        return [reply.fee_asset or reply.client_order_id for reply in replies]

    def calm_down(self) -> None:
        for _ in range(CALM):
            self.intake.beat()
        self.woken()

    def close(self) -> None:
        self.intake.close()
        for wake in self.wakes:
            wake.close()
        for queue in self._queues:
            queue.close()
            queue.unlink()


@pytest.fixture
def workers(tmp_path: Path):
    made = Workers(tmp_path)
    yield made
    made.close()


def told(asset: str) -> Reply:
    return balance(0, asset, Decimal("1.5"), Decimal(0))


def order_of(worker: int) -> str:
    return order_prefix(FLEET, TAGS[worker]) + "1"


def test_a_balance_reaches_a_worker_at_once_that_has_just_been_told_of_an_order_and_others_with_the_next_beat(workers):
    intake = workers.intake
    workers.calm_down()
    intake.reply(TAGS[0], Reply(ReplyKind.ACKED, 0, order_of(0)))
    assert intake.flush()
    assert workers.woken() == [True, False]
    intake.broadcast(told("USDT"))
    assert intake.flush()
    assert workers.woken() == [True, False]
    assert (workers.heard(0), workers.heard(1)) == ([order_of(0), "USDT"], [])
    assert intake.beat()
    assert workers.woken() == [False, True]
    assert workers.heard(1) == ["USDT"]
    assert intake.beat()
    assert workers.woken() == [False, False]


def test_a_balance_reaches_a_worker_at_once_that_has_just_sent_an_intent(workers):
    workers.calm_down()
    workers.links[1].send(Intent(IntentKind.CANCEL, 0, "BTC-USDT", order_of(1)).pack())
    assert workers.links[1].flush()
    workers.intake.poll()
    assert [one.client_order_id for one in workers.handled] == [order_of(1)]
    workers.intake.broadcast(told("BTC"))
    assert workers.intake.flush()
    assert workers.woken() == [False, True]
    assert (workers.heard(0), workers.heard(1)) == ([], ["BTC"])


def test_a_worker_that_was_told_of_nothing_but_balances_for_two_beats_is_calm(workers):
    intake = workers.intake
    workers.calm_down()
    intake.reply(TAGS[0], Reply(ReplyKind.ACKED, 0, order_of(0)))
    for beat in range(CALM):
        intake.broadcast(told("USDT"))
        assert intake.flush()
        assert workers.woken() == [True, False], beat
        intake.beat()
        workers.woken()
    intake.broadcast(told("USDT"))
    assert intake.flush()
    assert workers.woken() == [False, False]


def test_what_waited_is_told_in_order_before_what_comes_after_it(workers):
    workers.calm_down()
    workers.intake.broadcast(told("USDT"))
    workers.intake.broadcast(told("BTC"))
    workers.intake.reply(TAGS[0], Reply(ReplyKind.FILLED, 0, order_of(0)))
    assert workers.intake.flush()
    assert workers.woken() == [True, False]
    assert workers.heard(0) == ["USDT", "BTC", order_of(0)]


def test_that_the_account_is_ready_is_told_to_all_at_once_whatever_else_happens(workers):
    workers.calm_down()
    workers.intake.broadcast(Reply(ReplyKind.OPENED, 0, ""))
    assert workers.intake.flush()
    assert workers.woken() == [True, True]
