"""What may happen to a model world, step by step, and what must be true of it once everything has settled."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from gate.fake_venue import SECOND
from gate.model_venue import LAG_NS, Request
from gate.model_worker import TAGS, Worker
from gate.model_world import World
from hive.gate.errors import NotSent, Throttled, Unanswered
from hive.gate.venue import OrderStatus
from hive.shm.messages import FINAL_KINDS, Reply, ReplyKind

type Step = tuple[str, int, int]

MS = 1_000_000
SETTLE_S = 90
TIMES_NS = (50 * MS, 300 * MS, SECOND, 2500 * MS, 4 * SECOND, 6 * SECOND, 11 * SECOND, 31 * SECOND, 700 * SECOND)
END_KIND = {
    OrderStatus.FILLED: ReplyKind.FILLED,
    OrderStatus.CANCELLED: ReplyKind.CANCELLED,
    OrderStatus.EXPIRED: ReplyKind.EXPIRED,
}
ANSWERS = (ReplyKind.ACKED, ReplyKind.REJECTED, ReplyKind.UNKNOWN)

# how often each kind of step is chosen; "nothing" is what shrinking leaves
STEP_KINDS = {
    "nothing": 1,
    "place": 5,
    "cancel": 3,
    "network": 12,
    "event": 6,
    "event again": 1,
    "fill": 4,
    "venue ends": 1,
    "time": 5,
    "reads": 1,
    "venue": 2,
    "stream": 1,
    "kill gate": 2,
    "restart": 1,
    "kill worker": 1,
    "start worker": 2,
    "move": 2,
    "busy": 1,
    "intent again": 1,
}


def steps(least: int, most: int) -> st.SearchStrategy[list[Step]]:
    """Return lists of so many steps, for `do`."""
    kinds = st.sampled_from([kind for kind, often in STEP_KINDS.items() for _ in range(often)])
    return st.lists(st.tuples(kinds, st.integers(0, 7), st.integers(0, 11)), min_size=least, max_size=most)


def lives(examples: int) -> settings:
    """Return the settings of a test that lives so many lives, the same in each run."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


def do(world: World, kind: str, a: int, b: int) -> None:
    """Take one step, if there is anything that it can be done to; `a` says to what, `b` how."""
    exchange, gate = world.exchange, world.gate
    worker = world.workers[a % 2]
    if kind not in ("kill gate", "restart"):
        world.pump()
    if kind == "place" and worker is not None:
        worker.place()
    elif kind == "cancel" and worker is not None:
        mine = [name for name, placer in world.placed.items() if placer.tag == worker.tag]
        if mine:
            worker.cancel(mine[-1 - b % len(mine)])
    elif kind == "network" and exchange.requests:
        network(world, exchange.requests[a % len(exchange.requests)], b)
    elif kind == "event" and (waiting := [name for name, events in exchange.events.items() if events]):
        event = exchange.events[waiting[a % len(waiting)]].popleft()
        exchange.told.append(event)
        gate.enter(gate.listener.on_order, *event)
    elif kind == "event again" and exchange.told:
        gate.enter(gate.listener.on_order, *exchange.told[-1 - a % len(exchange.told)])
    elif kind == "fill" and (live := exchange.live()):
        name = live[a % len(live)]
        left = exchange.orders[name].left
        exchange.fill(name, left if b % 2 else left / 2)
    elif kind == "venue ends" and (live := exchange.live()):
        exchange.end(live[a % len(live)], OrderStatus.EXPIRED if b % 2 else OrderStatus.CANCELLED)
    elif kind == "time":
        world.advance(TIMES_NS[b % len(TIMES_NS)])
    elif kind == "reads":
        exchange.hold_reads, exchange.fail_reads = ((a, 0), (0, a), (0, 0))[b % 3]
    elif kind == "venue":
        name = ("down", "connecting", "closed", "mute")[b % 4]
        setattr(exchange, name, not getattr(exchange, name))
        exchange.lag_ns = LAG_NS * (a % 2)
    elif kind == "stream" and gate is not None:
        gate.enter(gate.venue.break_stream)
    elif kind == "kill gate":
        kill_gate(world, b)
        world.advance(TIMES_NS[a % len(TIMES_NS)])
        world.start_gate()
    elif kind == "restart" and b < 4:
        world.restart_all()
    elif kind == "kill worker" and worker is not None:
        world.kill_worker(a % 2)
    elif kind == "start worker" and worker is None:
        world.start_worker(a % 2)
    elif kind == "move" and worker is not None:
        world.move(a % 2, cancel=bool(b % 2), death=("", "retired", "begun", "adopted")[b // 2 % 4])
    elif kind == "busy" and worker is not None:
        worker.busy = not worker.busy
    elif kind == "intent again" and gate is not None:
        again = [(life, payload) for life, payload in gate.handled if life in world.workers]
        if again:
            gate.handle(*again[-1 - b % len(again)])


def network(world: World, request: Request, b: int) -> None:
    """Say what becomes of a request."""
    exchange = world.exchange
    if request.stage == "connecting":
        exchange.requests.remove(request)
        answer(world, request, NotSent("no connection could be made") if b == 0 else None)
    elif request.stage == "answered":
        deliver(world, request, Unanswered("the connection was lost") if b == 0 else None)
    elif request.future is None:  # nobody waits for it
        exchange.take(request) if b else exchange.requests.remove(request)
    elif b < 5:
        exchange.take(request, ("", "", "part", "fill", "expire")[b])
        if b:
            deliver(world, request)
    elif b == 5:  # it goes on alone
        answer(world, request, Unanswered("no answer in time"))
    elif b == 6:
        exchange.requests.remove(request)
        answer(world, request, Unanswered("the connection was lost before it arrived"))
    elif b == 7:
        exchange.take(request)
        deliver(world, request, Unanswered("503 after it was executed"))
    elif b == 8:
        exchange.refuse(request, Unanswered("503 before it was executed"))
        deliver(world, request)
    elif b == 9:
        exchange.refuse(request, Throttled(1.0, "429"))
        deliver(world, request)
    elif b == 10:
        exchange.take(request, "reject")
        deliver(world, request)
    else:
        exchange.take(request)


def deliver(world: World, request: Request, instead: Exception | None = None) -> None:
    """Let the answer of a request arrive, or something else in its place."""
    if request in world.exchange.requests:
        world.exchange.requests.remove(request)
        answer(world, request, request.answer if instead is None else instead)


def answer(world: World, request: Request, what: object) -> None:
    future, request.future, request.delivered = request.future, None, what
    if future is not None and not future.done():
        world.gate.enter(future.set_exception if isinstance(what, Exception) else future.set_result, what)


def kill_gate(world: World, b: int) -> None:
    """Kill the gate with intents unread; or with those handled; or journaled; or with the replies sent; or heard."""
    gate = world.gate
    stage = b % 5
    if stage >= 1:
        gate.poll()
    if stage == 2:
        gate.commit()
    if stage >= 3:
        gate.flush()
    if stage == 4:
        for worker in filter(None, world.workers):
            worker.pump()
    world.kill_gate()


def settle(world: World) -> None:
    """Let the world be kind until everything is as it must be."""
    exchange = world.exchange
    exchange.down = exchange.connecting = exchange.closed = exchange.mute = False
    exchange.hold_reads = exchange.fail_reads = exchange.lag_ns = 0
    for index in range(len(TAGS)):
        if world.workers[index] is None:
            world.start_worker(index)
        world.workers[index].busy = False
    for second in range(SETTLE_S):
        for _ in range(2):
            for request in list(exchange.requests):
                network(world, request, 1)
            for events in exchange.events.values():
                while events:
                    world.gate.enter(world.gate.listener.on_order, *events.popleft())
            world.advance(SECOND // 2)
        if second >= 8 and not differences(world):
            return


def differences(world: World) -> list[str]:
    """Return how what was told differs from what is true."""
    found = []
    for name, placer in world.placed.items():
        placed = world.exchange.orders.get(name)
        lives = [life for life in world.lives if life.tag == placer.tag]
        told = [reply for life in lives for reply in life.heard.get(name, ())]
        states = [reply.kind for reply in told if reply.kind not in (ReplyKind.FILL, ReplyKind.CANCEL_FAILED)]
        last = states[-1] if states else None
        if placed is None:
            dumb = last is None and placer not in world.workers  # it and its intent are gone
            if not dumb and last not in (ReplyKind.REJECTED, ReplyKind.CANCELLED):
                found.append(f"{name} never was at the venue and was told {last}")
            continue
        missing = {trade.trade_id for trade in placed.trades} - {reply.trade_id for reply in told}
        if missing:
            found.append(f"{name} was not told the fills {missing}")
        if placed.status is not OrderStatus.LIVE and last is not END_KIND[placed.status]:
            found.append(f"{name} is {placed.status.name} and was told {last}")
        if placed.status is OrderStatus.LIVE and (last in FINAL_KINDS or name not in lives[-1].heard):
            found.append(f"{name} is LIVE and was told {last}")
    return found


def check_story(life: Worker, name: str, story: list[Reply]) -> None:
    """Check what one life of a strategy heard of one order."""
    kinds = [reply.kind for reply in story]
    trades = [reply.trade_id for reply in story if reply.kind is ReplyKind.FILL]
    assert len(trades) == len(set(trades)), f"{name}: a fill was told twice"
    ends = [place for place, kind in enumerate(kinds) if kind in FINAL_KINDS]
    fills = [place for place, kind in enumerate(kinds) if kind is ReplyKind.FILL]
    assert len({kinds[place] for place in ends}) <= 1, f"{name} ended in two ways: {kinds}"
    assert not ends or not fills or fills[-1] < ends[0], f"{name} was filled after its end: {kinds}"
    if name in life.placed:  # of an earlier life's orders the end may be told again
        assert kinds[0] in ANSWERS, f"{name} was told {kinds[0].name} before an answer"
        assert len(ends) <= 1, f"{name} ended twice: {kinds}"
        assert not ends or ends[0] == len(kinds) - 1, f"{name} went on after its end: {kinds}"


def check_at_rest(world: World) -> None:
    """Check what must hold once everything has settled."""
    assert (found := differences(world)) == [], found
    for life in world.lives:
        for name, story in life.heard.items():
            check_story(life, name, story)
    for gate in world.gates:
        assert not gate.loop.errors, gate.loop.errors
    broken = [text for text in world.errors.texts if "broke" in text or "journal" in text]
    assert not broken, broken
    world.restart_all()  # which checks what the journal gives back
