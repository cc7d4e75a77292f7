"""What belongs to the whole process, taken by one strategy for its own: neighbours, and the worker, notice nothing."""

import asyncio
import decimal
import faulthandler
import gc
import logging
import logging.config
import random
import signal
import socket
import sys
import threading
import tracemalloc
import warnings
from decimal import Decimal

import numpy
import pytest

from hive.workers import process_wide, shared_logging
from hive.workers.context import CURRENT
from hive.workers.loop import handle_exception


@pytest.fixture(autouse=True)
def installed():
    process_wide.install()
    process_wide.install()  # twice does no harm


@pytest.fixture
def pair(idle_strategies):
    return idle_strategies.new("a"), idle_strategies.new("b")


def five():
    return [random.random() for _ in range(3)] + [random.gauss(0, 1), random.randint(0, 10**9)]


def five_of_numpy():
    return [*numpy.random.rand(3), numpy.random.normal(), numpy.random.randint(0, 10**9)]


@pytest.mark.parametrize(("module", "draw"), [(random, five), (numpy.random, five_of_numpy)])
def test_each_strategy_has_random_numbers_of_its_own(pair, module, draw):
    a, b = pair
    alone = a.run(lambda: (module.seed(42), draw(), draw()))[1:]
    a.run(module.seed, 42)
    first = a.run(draw)
    b.run(module.seed, 7)
    b.run(draw)
    draw()  # the process's own
    assert (first, a.run(draw)) == alone
    a.run(module.seed, 1)
    b.run(module.seed, 1)
    assert a.run(draw) == b.run(draw)


def test_a_seed_in_a_strategy_leaves_the_process_unpredictable(pair):
    a, _ = pair
    random.seed(5)
    expected = five()
    random.seed(5)
    a.run(random.seed, 99)
    assert five() == expected


def test_a_decimal_precision_stays_with_its_strategy(pair):
    a, b = pair

    def short():
        decimal.getcontext().prec = 5
        decimal.getcontext().rounding = decimal.ROUND_UP

    a.run(short)
    third = a.run(lambda: Decimal(1) / 3)
    assert third == Decimal("0.33334")
    assert b.run(lambda: Decimal(1) / 3) == Decimal(1) / 3 == Decimal("0.3333333333333333333333333333")


def switches():
    root = logging.getLogger()
    logs = (root.level, list(root.handlers), root.manager.disable, root.disabled, faulthandler.is_enabled())
    logs += (logging.getLoggerClass(), logging.getLogRecordFactory(), logging.getLogger("asyncio").level)
    logs += tuple((handler.level, handler.formatter, tuple(handler.filters)) for handler in root.handlers)
    others = (socket.getdefaulttimeout(), tracemalloc.is_tracing(), asyncio.get_event_loop_policy())
    traces = (sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile())
    garbage = gc.isenabled(), gc.get_threshold()
    return others, traces, garbage, signal.getsignal(signal.SIGUSR1), sys.getswitchinterval(), logs


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("gc.disable", lambda: gc.disable()),
        ("gc.set_threshold", lambda: gc.set_threshold(1)),
        ("signal.signal", lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN)),
        ("signal.alarm", lambda: signal.alarm(1)),
        ("signal.setitimer", lambda: signal.setitimer(signal.ITIMER_PROF, 1)),
        ("signal.raise_signal", lambda: signal.raise_signal(signal.SIGTERM)),
        ("faulthandler.disable", lambda: faulthandler.disable()),
        ("logging.basicConfig", lambda: logging.basicConfig(level=logging.ERROR, force=True)),
        ("logging.disable", lambda: logging.disable(logging.CRITICAL)),
        ("logging.config.dictConfig", lambda: logging.config.dictConfig({"version": 1})),
        ("logging.getLogger().setLevel", lambda: logging.getLogger().setLevel(logging.CRITICAL)),
        ("logging.getLogger().removeHandler", lambda: logging.getLogger().removeHandler(logging.root.handlers[0])),
        ("sys.setswitchinterval", lambda: sys.setswitchinterval(1)),
        ("sys.settrace", lambda: sys.settrace(print)),
        ("threading.setprofile", lambda: threading.setprofile(print)),
        ("tracemalloc.start", lambda: tracemalloc.start()),
        ("socket.setdefaulttimeout", lambda: socket.setdefaulttimeout(0.1)),
        ("asyncio.set_event_loop_policy", lambda: asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())),
        ("logging.setLoggerClass", lambda: logging.setLoggerClass(logging.Logger)),
        ("logging.setLogRecordFactory", lambda: logging.setLogRecordFactory(print)),
        ("logging.getLogger().handlers.clear", lambda: logging.getLogger().handlers.clear()),
        ("logging.getLogger().handlers.pop", lambda: logging.getLogger().handlers.pop()),
        ("logging.getLogger().handlers.__setitem__", lambda: logging.getLogger().handlers.__setitem__(slice(None), [])),
        ("logging.getLogger('asyncio').setLevel", lambda: logging.getLogger("asyncio").setLevel(logging.CRITICAL)),
    ],
)
def test_a_switch_of_the_whole_process_is_not_turned_by_a_strategy(pair, caplog, name, call):
    a, _ = pair
    before = switches()
    for _ in range(2):
        assert a.run(call) is None
    assert switches() == before
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"{name}() has no effect in a strategy: it would change all strategies of the worker"]


def test_the_root_loggers_handlers_stay_whatever_a_strategy_assigns_or_sets(pair, caplog):
    a, _ = pair
    root = logging.getLogger()
    shared_logging.install_on_handlers(process_wide.refused)
    before = switches()

    def careless():
        root.handlers = []
        root.level = logging.CRITICAL
        root.disabled = True
        for handler in root.handlers:
            handler.setLevel(logging.CRITICAL)
            handler.setFormatter(None)
            handler.close()

    a.run(careless)
    assert switches() == before
    told = {record.getMessage().partition(" has")[0] for record in caplog.records}
    assert told >= {"logging.getLogger().handlers = ...", "logging.getLogger().level = ..."}
    added = logging.NullHandler()
    root.addHandler(added)
    assert root.handlers[-1] is added
    root.removeHandler(added)
    assert added not in root.handlers


def test_a_handler_of_a_strategy_is_given_its_own_lines_alone(pair):
    a, b = pair
    heard = []

    class Keeping(logging.Handler):
        def emit(self, record):
            heard.append(record.getMessage())

    logger = logging.getLogger("test_process_wide.shared")
    handler = Keeping()
    a.run(logger.addHandler, handler)
    for context, text in ((a, "of a"), (b, "of b")):
        context.run(logger.warning, text)
    logger.warning("of nobody")
    a.run(logger.removeHandler, handler)
    assert heard == ["of a"]
    a.run(logger.warning, "after it")
    assert heard == ["of a"]


def test_levels_of_a_strategys_own_loggers_are_its_to_set(pair):
    a, _ = pair
    for name in ("my_bot", f"hive_{a.tag}.scripts.mine"):
        logger = logging.getLogger(name)
        a.run(logger.setLevel, logging.DEBUG)
        assert logger.level == logging.DEBUG


async def test_a_strategy_that_cancels_all_tasks_cancels_its_own(strategies):
    process_wide.install()
    a, b = strategies.new("a"), strategies.new("b")
    forever = [one.create_task(asyncio.sleep(3600)) for one in (a, b)]
    stopping = a.create_task(asyncio.sleep(3600), name="stop a")  # as Hive's, which waits for what the strategy does

    async def careless():
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()

    await a.create_task(careless())
    await asyncio.sleep(0)
    assert [task.cancelled() for task in (*forever, stopping)] == [True, False, False]
    assert {*forever[1:], stopping, asyncio.current_task()} <= asyncio.all_tasks()
    for task in (*forever, stopping):
        task.cancel()


async def test_a_strategy_cannot_take_executor_or_generators_from_the_loop(strategies):
    loop = asyncio.get_running_loop()
    process_wide.install_on(loop)
    a = strategies.new("a")

    async def careless():
        await loop.shutdown_default_executor()
        await loop.shutdown_asyncgens()

    await a.create_task(careless())
    assert await asyncio.to_thread(lambda: "still") == "still"


async def test_a_thread_is_its_strategys_and_so_is_what_it_hands_to_the_loop(pair):
    a, b = pair
    loop = asyncio.get_running_loop()
    seen = []

    async def on_the_loop():
        seen.append(CURRENT.get(None))

    def work():
        seen.append(CURRENT.get(None))
        asyncio.run_coroutine_threadsafe(on_the_loop(), loop).result(30)

    class Worker(threading.Thread):
        def run(self):
            work()

    for context, thread in ((a, threading.Thread(target=work)), (b, Worker()), (b, threading.Timer(0, work))):
        context.run(thread.start)
        await asyncio.to_thread(thread.join, 30)
        assert seen == [context, context]
        seen.clear()
    names_of_its_own = threading.Thread(target=lambda: seen.append(CURRENT.get(None)), name="hive-log")
    a.run(names_of_its_own.start)
    names_of_its_own.join(30)
    assert seen == [None]


def test_outside_of_strategies_everything_is_as_in_any_process():
    gc.disable()
    assert not gc.isenabled()
    gc.enable()
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    assert signal.signal(signal.SIGUSR1, before) is signal.SIG_IGN
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("seen", UserWarning, stacklevel=1)
    assert [str(one.message) for one in caught] == ["seen"]


def warn(text, category=UserWarning):
    warnings.warn(text, category, stacklevel=1)


def test_a_lasting_filter_hides_the_warnings_of_its_strategy_alone(pair):
    a, b = pair
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        a.run(warnings.filterwarnings, "ignore", "", UserWarning)
        a.run(warn, "of a")
        a.run(warn, "otherwise", RuntimeWarning)
        b.run(warn, "of b")
        warn("of nobody")
    assert [str(one.message) for one in caught] == ["otherwise", "of b", "of nobody"]


def test_warnings_made_errors_by_one_strategy_are_none_in_another(pair):
    a, b = pair
    before = list(warnings.filters)
    a.run(warnings.simplefilter, "error")
    assert list(warnings.filters) == before
    b.run(warn, "harmless")


def test_libraries_still_catch_warnings_inside_a_strategy(pair):
    a, _ = pair

    def library():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn("mine")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                warn("raised")
            except UserWarning as error:
                return [str(one.message) for one in caught], str(error)

    assert a.run(library) == (["mine"], "raised")


async def test_an_exception_handler_hears_of_its_own_strategys_tasks_alone(strategies, caplog):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(handle_exception)
    process_wide.install_on(loop)
    a, b = strategies.new("a"), strategies.new("b")
    heard = []
    a.run(lambda: asyncio.get_event_loop().set_exception_handler(lambda _, details: heard.append(details["message"])))
    for context in (a, b):
        context.run(loop.call_soon, lambda: 1 / 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(heard) == 1
    assert [context.counters.errors.value for context in (a, b)] == [1, 1]
    a.run(loop.set_exception_handler, None)
    a.run(loop.call_soon, lambda: 1 / 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(heard) == 1


async def test_a_strategy_cannot_stop_the_loop_of_its_worker(strategies, caplog):
    loop = asyncio.get_running_loop()
    process_wide.install_on(loop)
    a = strategies.new("a")
    a.run(loop.stop)
    a.run(loop.add_signal_handler, signal.SIGTERM, print)
    a.run(loop.set_debug, True)
    await asyncio.sleep(0)
    assert signal.SIGTERM not in loop._signal_handlers
    assert not loop.get_debug()
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 3
