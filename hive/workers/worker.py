"""A worker: boots from its channel, starts its strategies through the host, and ticks them until it is told to stop.

    main() -> Worker.run():  counters, loop, feeds and gates as they are named  ->  ready
                             -> each strategy: starting -> running (or failed)
                             -> stop: all strategies at once, with a deadline -> stopped

Everything that a strategy raises stays with that strategy. The end of the channel means that the supervisor is gone:
the process ends at once, without asking its strategies.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from time import monotonic_ns
from typing import Any, NoReturn

from hive.shm.channel import Channel, connect_fd
from hive.shm.counters import Counters
from hive.shm.errors import ShmError
from hive.shm.link import Link
from hive.shm.order_queue import OrderQueue
from hive.shm.stale_figures import StaleFigures
from hive.shm.tracing import allow_tracing
from hive.shm.wake import Waker, WakeReceiver
from hive.workers.beats import Beats
from hive.workers.boot import WorkerBoot
from hive.workers.busy import BusyLog
from hive.workers.changes import StrategyChanges
from hive.workers.clock import CallbackCounter, MultiStrategyClock
from hive.workers.conduct import Conduct
from hive.workers.context import StrategyContext, StrategyCounters, count_unresolved
from hive.workers.errors import BootError
from hive.workers.executor_watch import ExecutorWatch
from hive.workers.forked import counters_capacity, create_counters, set_up_process, strategy_logs, tell_of_logs
from hive.workers.host import Host, StrategySpec, WorkerServices
from hive.workers.log import flush_logs
from hive.workers.log_quota import LineQuota
from hive.workers.loop import new_loop, note_callbacks, run_until_done
from hive.workers.market import MarketData
from hive.workers.orders import OrderRouter
from hive.workers.own_memory import OwnMemory
from hive.workers.pauses import GarbagePauses
from hive.workers.phases import offset_ns
from hive.workers.pulse import BEAT_NS, CLOSE_LOOK_NS, Pulse
from hive.workers.refusals import Refusals
from hive.workers.running import Running
from hive.workers.schedstat import RunDelay
from hive.workers.scheduler import State, StrategyScheduler
from hive.workers.strategies import Strategies
from hive.workers.wants import Wish
from hive.workers.watchdog import LOOK_S, Watchdog

EXIT_STOPPED = 0
EXIT_DIED = 1
EXIT_CANNOT_BOOT = 3
BOOT_WITHIN_S = 30
STOP_WITHIN_S = 10  # when SIGTERM asks instead of the supervisor
LAST_WORDS_WITHIN_S = 1
BEATS_IN_LIMIT = 4  # of a callback: a beat that comes a little late must not look like one that is held up

log = logging.getLogger(__name__)


class Worker:
    """One worker process."""

    def __init__(
        self,
        boot: WorkerBoot,
        channel: Channel,
        loop: asyncio.SelectorEventLoop,
        callbacks: CallbackCounter,
        lines: LineQuota,
    ) -> None:
        self._boot = boot
        self._channel = channel
        self._loop = loop
        self._callbacks = callbacks
        self._stop_within_s = 0.0
        self._stopping = asyncio.Event()
        self._segment = create_counters(boot)
        self._counters = counters = Counters.create(self._segment, counters_capacity(boot))
        count_unresolved(counters.counter("context_unresolved").inc)
        self._wake = WakeReceiver(Path(boot.run_dir) / f"wake.worker{boot.index}.{boot.epoch}")
        running = counters.counter("running_strategy")
        busy = BusyLog()
        note_callbacks(loop, Running(running, busy))
        self._market = MarketData(
            want=self._want,
            stale_after_ms=boot.stale_after_ms,
            figures=self._stale_figures,
            loop=loop,
            name_of=boot.venue_name,
        )
        self._orders = OrderRouter(
            loop=loop,
            now_ns=monotonic_ns,
            market=self._market,
            cancel_after_ms=boot.cancel_after_ms,
            placing_max=boot.orders_waiting,
            on_wedged=lambda: channel.send({"type": "wedged", "index": boot.index, "epoch": boot.epoch}),
            on_fill=self._on_fill,
        )
        self._scheduler = StrategyScheduler(
            MultiStrategyClock(callbacks, order=boot.scheduler, running=running, busy=busy),
            loop=loop,
            interval_ns=boot.tick_interval_ns,
            report=self._report,
            on_failing=self._cancel_orders_of,
            books=self._market,
            worker_offset_ns=offset_ns(boot.index),
        )
        self._executors = ExecutorWatch(channel.send)
        self._refusals = Refusals()
        delay = RunDelay()
        memory = OwnMemory()
        self._conduct = Conduct(
            scheduler=self._scheduler,
            orders=self._orders,
            send=channel.send,
            loop=loop,
            delay=delay,
            loop_share=boot.loop_share,
            memory=memory,
            memory_mb=boot.memory_mb,
            lines=lines,
            refusals=self._refusals,
        )
        self._beats = beats = Beats(
            counters,
            counters.histogram("loop_lag_ns", worker=str(boot.index)),
            every_ns=min(BEAT_NS, round(boot.slow_callback_ms * 1e6) // BEATS_IN_LIMIT),
            look_ns=CLOSE_LOOK_NS,
            limit_s=boot.slow_callback_ms / 1e3,
            again_s=LOOK_S,
            memory=None if boot.memory_mb is None else memory,
        )
        watchdog = Watchdog(
            delay=delay,
            limit_s=boot.slow_callback_ms / 1e3,
            interrupt_after_s=None if boot.interrupt_after_ms is None else boot.interrupt_after_ms / 1e3,
            may_interrupt=self._conduct.may_interrupt,
            on_interrupted=self._conduct.interrupted,
            on_hold=beats.ask,
            beaten_ns=lambda: beats.last_ns,
        )
        self._pauses = GarbagePauses(counters.histogram("gc_pause_ns", worker=str(boot.index)))
        self._pulse = Pulse(
            beats,
            loop=loop,
            selector=loop._selector,
            watchdog=watchdog,
            orders=self._orders,
            market=self._market,
            look=self._look,
            count_cancels=counters.counter("stale_cancels").inc,
        )

    async def run(self, host_class: type[Host], host_config: Mapping[str, Any]) -> int:
        """Live until told to stop; returns the exit code. Raises BootError when the host cannot be made."""
        strategies = self._strategies(host_class, host_config)
        self._changes = StrategyChanges(strategies, self._context, self._orders, self._channel.send, self._loop)
        self._loop.add_reader(self._wake.fileno(), self._on_wake)
        self._loop.add_signal_handler(signal.SIGTERM, self._ask_to_stop, STOP_WITHIN_S)
        self._refusals.install()
        self._pulse.start()
        self._pauses.start()
        self._scheduler.start()
        listening = self._loop.create_task(self._listen(), name="channel")
        self._channel.send(
            {"type": "ready", "counters": self._segment.name, "wake": str(self._wake.path), "pid": os.getpid()}
        )
        starting = self._loop.create_task(self._start(strategies), name="start")
        await self._stopping.wait()
        starting.cancel()
        late = await strategies.stop(self._stop_within_s)
        self._orders.pump()
        self._channel.send({"type": "stopped", "open_orders": len(self._orders.open_orders()), "late": late})
        self._scheduler.stop()
        self._pulse.stop()
        self._pauses.stop()
        self._refusals.uninstall()
        await self._last_words()
        self._market.close()
        listening.cancel()
        self._wake.close()
        return EXIT_STOPPED

    def discard(self) -> None:
        """Remove what this worker has put into the file system; nobody will read its counters."""
        self._wake.close()
        with contextlib.suppress(ShmError, OSError):
            self._segment.unlink()

    def on_escape(self, context: StrategyContext | None, error: BaseException) -> None:
        """Pause the strategy whose SystemExit or KeyboardInterrupt got out of a task or callback."""
        name = type(error).__name__
        if context is None:
            log.error("%s out of code of no strategy: ignored", name, exc_info=error)
            return
        context.counters.errors.inc()
        log.error(
            "strategy %s: a callback raised %s", context.id, name, exc_info=error, extra={"strategy": context.id}
        )
        if self._scheduler.state(context) in (State.STARTING, State.RUNNING):
            self._scheduler.pause(context, f"paused: a callback raised {name}")
            self._cancel_orders_of(context)

    def _strategies(self, host_class: type[Host], host_config: Mapping[str, Any]) -> Strategies:
        boot = self._boot
        services = WorkerServices(
            loop=self._loop,
            orders=self._orders,
            books=self._market,
            scheduler=self._scheduler,
            counters=self._counters,
            callbacks=self._callbacks,
            now_ns=monotonic_ns,
            log=logging.getLogger("hive.host"),
            fleet_id=boot.fleet_id,
            run_dir=boot.run_dir,
            worker_epoch=boot.epoch,
            tick_interval_ns=boot.tick_interval_ns,
            venues=boot.venues,
            request=self._market.instruments,
        )
        try:
            host = host_class({**host_config, **boot.host_config}, services)
        except Exception as error:
            log.exception("the host cannot be made")
            raise BootError(f"the host cannot be made: {type(error).__name__}: {error}") from error
        members = [(spec, self._context(spec)) for spec in boot.strategies]
        self._orders.expect(spec.tag for spec in boot.strategies)
        return Strategies(host, members, scheduler=self._scheduler, orders=self._orders, on_end=self._market.release)

    def _context(self, spec: StrategySpec) -> StrategyContext:
        """Return the context of a strategy's new life here; TableFull when there is no room for its counters."""
        context = StrategyContext(
            spec.id,
            spec.tag,
            spec.index,
            loop=self._loop,
            callbacks=self._callbacks,
            counters=StrategyCounters.of(self._counters, spec.id),
            priority=spec.priority,
            config=spec.config,
        )
        self._conduct.take_in(context)
        self._executors.take_in(context)
        return context

    async def _start(self, strategies: Strategies) -> None:
        await strategies.start()
        self._conduct.begin()
        self._market.tell_wants(one["index"] for one in self._boot.venues)

    async def _listen(self) -> None:
        while (message := await self._channel.recv()) is not None:
            try:
                self._on_message(message)
            except Exception as error:  # a worker that no longer listens could not even be stopped
                text = f"message {message.get('type')}: {type(error).__name__}: {error}"
                log.exception("%s", text)
                self._channel.send({"type": "event", "level": "error", "text": f"worker {self._boot.index}: {text}"})
        self._end_orphaned()

    def _on_message(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "gate":
                self._attach_gate(message)
            case "gate_gone":
                self._orders.detach_gate()
            case "feed":
                venue = self._boot.venue_index(message["venue"])
                self._market.attach(venue, message["epoch"], message["books"], message["trades"])
            case "unknown":
                venue = self._boot.venue_index(message["venue"])
                self._market.mark_unknown(venue, message["pair"], message.get("reason", ""))
            case "series":
                venue = self._boot.venue_index(message["venue"])
                where = (message["pair"], message["interval"], message["segment"])
                self._market.mark_series(venue, *where, message.get("reason", ""))
            case "add" | "go" | "remove" | "pause" | "resume" | "idle":
                self._changes.take(message)
            case "stop":
                self._ask_to_stop(message.get("deadline_s", STOP_WITHIN_S))
            case other:
                log.warning("a message of type %s is not for a worker", other)

    def _attach_gate(self, message: dict[str, Any]) -> None:
        wake = message["wake"]
        epoch = message.get("link_epoch", self._boot.epoch)  # what both ends of the link know

        def make_link(inbound: str, outbound: str) -> Link:
            return Link(OrderQueue.attach(inbound), OrderQueue.attach(outbound), Waker(wake), epoch)

        self._be_reachable()
        self._orders.attach_gate(message["epoch"], message["inbound"], message["outbound"], make_link)

    def _be_reachable(self) -> None:
        """Make the FIFO again by which a new gate will wake this worker, when its folder was removed."""
        if self._wake.path.exists():
            return
        self._loop.remove_reader(self._wake.fileno())
        try:
            self._wake.make_again()
        except OSError as error:
            log.error("%s cannot be made again: %s", self._wake.path, error.strerror)
        self._loop.add_reader(self._wake.fileno(), self._on_wake)

    def _ask_to_stop(self, within_s: float) -> None:
        self._stop_within_s = within_s
        self._stopping.set()

    def _look(self) -> bool:
        self._conduct.look()
        return self._executors.look()

    def _on_fill(self, strategy: StrategyContext) -> None:
        if strategy.executors is not None:
            self._beats.ask()

    def _on_wake(self) -> None:
        self._wake.drain()
        self._orders.pump()

    def _stale_figures(self, venue: int) -> StaleFigures:
        name = self._boot.venue_name(venue)
        names = ("stale_intervals", "stale_ms")
        return StaleFigures(*(self._counters.counter(one, venue=name) for one in names))

    def _want(self, venue: int, wishes: list[Wish]) -> None:
        self._channel.send({"type": "want", "venue": self._boot.venue_name(venue), "wants": wishes})

    def _report(self, context: StrategyContext, state: State, message: str) -> None:
        log.info("strategy %s: %s %s", context.id, state.value, message, extra={"strategy": context.id})
        self._channel.send({"type": "strategy", "id": context.id, "state": state.value, "message": message})

    def _cancel_orders_of(self, context: StrategyContext) -> None:
        """A strategy that was paused for its errors cannot look after its orders."""
        cancelled = self._orders.cancel_all(context)
        if cancelled:
            log.warning("strategy %s: cancelling its %d open orders", context.id, cancelled)

    async def _last_words(self) -> None:
        give_up_ns = monotonic_ns() + LAST_WORDS_WITHIN_S * 1_000_000_000
        while self._channel.pending and monotonic_ns() < give_up_ns:
            await asyncio.sleep(0.005)

    def _end_orphaned(self) -> NoReturn:
        """End at once: nobody is left who could be asked or told."""
        log.error("the supervisor is gone")
        self.discard()
        flush_logs()
        os._exit(EXIT_DIED)


def worker_main(fd: int, host_class: type[Host], host_config: Mapping[str, Any]) -> int:
    """Be a worker: boot from the channel on descriptor `fd`, live, and return the exit code."""
    channel = connect_fd(fd)
    try:
        message = channel.recv_blocking(BOOT_WITHIN_S)
        if message is None:
            return EXIT_DIED
        boot = WorkerBoot.from_dict(message)
        logs = strategy_logs(boot)
        lines = LineQuota(boot.log_lines_per_s)
        set_up_process(boot, lines, logs)
        if message.get("profiling"):
            allow_tracing()
        callbacks = CallbackCounter()
        loop = new_loop(callbacks, offset_ns(boot.index))
        asyncio.set_event_loop(loop)
        if logs is not None:
            tell_of_logs(logs, boot.index, channel, loop)
        worker = Worker(boot, channel, loop, callbacks, lines)
        task = loop.create_task(worker.run(host_class, host_config), name="worker")
        try:
            return run_until_done(loop, task, worker.on_escape)
        except BootError:
            worker.discard()
            raise
    except (BootError, ShmError, OSError) as error:
        log.error("cannot boot: %s", error)
        channel.send({"type": "fatal", "message": str(error)})
        return EXIT_CANNOT_BOOT
