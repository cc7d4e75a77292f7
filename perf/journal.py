"""How fast is the journal: to write before an order is sent, and to read after everything was killed?

    policy "interval", "every", "none":  sent(), commit()   as fast as it goes, and paced
                                         run() syncs, begins files and gives old ones back meanwhile
    open()  a file of 1,000,000 records, as kill -9 leaves it: 200,000 orders, which is what Binance takes in a day,
            sent evenly over that day; most are done, those of the last ten minutes come back as orders

Each order of the writing is sent, acked, filled, ended and done, each with a commit of its own; what is timed is
recording and committing one of these. Afterwards the journal is opened again and everything is looked at. The files lie
in a folder made for it (--dir), on whatever disk that is; reading finds them in the page cache.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from harness import Args, Goal, Outcome, Percentiles, check, interleaved, paced, percentiles, run
from hive.gate.journal import POLICIES, Journal
from hive.gate.journal_file import list_files
from hive.gate.journal_replay import KEEP_DONE_NS
from hive.gate.order import Order, State
from hive.gate.venue import Trade
from hive.shm.messages import IntentKind, OrderType, Side, TimeInForce

ROOT = Path(__file__).resolve().parent.parent
GOALS = (Goal("journal.replay_1m_s", "<=", 2, "s"),)
FLEET, VENUE = "perfx", "binance"
STEPS = ("sent", "acked", "fill", "ended", "done")
ORDERS_OF_A_DAY = 200_000
DAY_NS = 86_400_000_000_000
MIDNIGHT_NS = 20_000 * DAY_NS
PACE_NS = {"interval": 1_000_000, "every": 10_000_000, "none": 1_000_000}  # Binance takes 10 orders a second
LIVE = 1_000  # orders that are open meanwhile, which every snapshot carries
TRADE = Trade(7, Decimal("30000.10"), Decimal("0.01000"), Decimal("0.00001"), "BNB", True, MIDNIGHT_NS)


class Writer:
    """Lets orders live, one record at a time."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.count = 0
        self._order: Order | None = None

    def write(self) -> None:
        """Record and commit what happens next."""
        self.record()
        check(self.journal.commit(), f"the journal does not write: {self.journal.failing}")

    def record(self) -> None:
        """Record what happens next."""
        number, step = divmod(self.count, len(STEPS))
        self.count += 1
        journal = self.journal
        if step == 0:
            self._order = order(number)
            self._order.state = State.SENT
            journal.sent(self._order)
        elif step == 1:
            self._order.state, self._order.exchange_order_id = State.ACKED, str(10_000_000 + number)
            journal.acked(self._order)
        elif step == 2:
            journal.fill(self._order, TRADE)
        elif step == 3:
            self._order.state, self._order.executed = State.FILLED, TRADE.amount
            journal.ended(self._order)
        else:
            journal.done(self._order.client_order_id)


def order(number: int) -> Order:
    """Return an order that is to be sent."""
    return Order(
        f"hv{FLEET}qqqqq-{number:08d}",
        "BTC-USDT",
        "BTCUSDT",
        "qqqqq",
        IntentKind.PLACE,
        Side.BUY,
        OrderType.LIMIT,
        TimeInForce.GTC,
        Decimal("30000.10"),
        Decimal("0.01000"),
        1,
        time.monotonic_ns(),
    )


@contextmanager
def folder(args: Args) -> Iterator[Path]:
    """Make a folder, and remove it."""
    args.options.dir.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="journal-", dir=args.options.dir))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def measure(args: Args) -> Outcome:
    """Write with each policy, then read."""
    records = args.size("records in a row", 100_000, 20_000)
    every = args.size("records in a row, each synced", 2_000, 500)
    paced_s = args.size("seconds at a pace", 10, 2)
    lines, details = [], {}
    for policy in POLICIES:
        in_a_row = every if policy == "every" else records
        with folder(args) as path:
            writes = writing(path, policy, in_a_row, paced_s * 1_000_000_000 // PACE_NS[policy])
            rate, alone, at_pace = asyncio.run(writes)
        lines.append(f"{policy:8}  {rate:>8,.0f} records/s; one {alone.text('us', 1e-3)}")
        lines.append(f"{'':8}  at {1e9 / PACE_NS[policy]:,.0f} records/s: one {at_pace.text('us', 1e-3)}")
        details[policy] = {
            "records_per_s": rate,
            "p50_us": alone.p(50) / 1e3,
            "p99_us": alone.p(99) / 1e3,
            "max_us": alone.max / 1e3,
            "paced_p50_us": at_pace.p(50) / 1e3,
            "paced_p99_us": at_pace.p(99) / 1e3,
            "paced_max_us": at_pace.max / 1e3,
        }
    took_s, size, orders = reading(args)
    lines.append(
        f"read 1,000,000 records ({size >> 20} MB) and give back {orders:,} orders: "
        f"{', '.join(f'{seconds:.2f}' for seconds in sorted(took_s))} s"
    )
    details["replay"] = {"seconds": took_s, "bytes": size, "orders": orders}
    return Outcome({"journal.replay_1m_s": statistics.median(took_s)}, details, lines)


async def writing(path: Path, policy: str, records: int, paced_records: int) -> tuple[float, Percentiles, Percentiles]:
    """Return records a second, and how long one took in ns: as fast as it goes, and paced (from the intended time)."""
    journal = Journal.open(path, FLEET, VENUE, policy=policy)
    syncing = asyncio.create_task(journal.run())
    live = [order(90_000_000 + number) for number in range(LIVE)]
    for one in live:
        journal.sent(one)
    check(journal.commit(), journal.failing)
    writer = Writer(journal)
    took, at_pace = [], []
    clock = time.perf_counter_ns
    begun = clock()
    for count in range(records):
        before = clock()
        writer.write()
        took.append(clock() - before)
        if count % 10 == 0:
            await asyncio.sleep(0)
    rate = records / ((clock() - begun) / 1e9)
    for intended in paced(PACE_NS[policy], paced_records):
        writer.write()
        at_pace.append(time.monotonic_ns() - intended)
        await asyncio.sleep(0)
    check(not journal.failing, journal.failing)
    syncing.cancel()
    image = path / "killed"
    image.mkdir()
    os.link(list_files(path)[-1], image / list_files(path)[-1].name)
    check_all(image, writer.count, LIVE)
    journal.close()
    return rate, percentiles(took), percentiles(at_pace)


def check_all(path: Path, records: int, live: int) -> None:
    """Check that a journal knows every order of a writer, all of them of the last hour, and how far each has come."""
    journal = Journal.open(path, FLEET, VENUE)
    known = {int(one.client_order_id[-8:]): one for one in journal.recovered.orders}
    check(not journal.recovered.damage, journal.recovered.damage)
    whole, steps = divmod(records, len(STEPS))
    check(len(known) == whole + (steps > 0) + live, f"{len(known)} orders of {whole} and {live} live ones are known")
    for number in range(whole):
        check_done(known[number])
    check(all(known[90_000_000 + number].state is State.SENT for number in range(live)), "a live order is not known")
    journal.close()


def check_done(one: Order) -> None:
    """Check that an order came back as its whole life left it."""
    right = one.done and one.state is State.FILLED and one.trades == {TRADE.trade_id: TRADE}
    right = right and one.filled == one.amount == TRADE.amount and str(one.price) == "30000.10"
    check(right, f"an order came back as {one}")


def reading(args: Args) -> tuple[list[float], int, int]:
    """Return how long it took to open a day's journal in s, several times, its bytes, and how many orders came back."""
    with folder(args) as path:
        made = path / "made"
        at_ns = 0
        journal = Journal.open(
            made,
            FLEET,
            VENUE,
            policy="none",
            file_bytes=256 << 20,
            wall_ns=lambda: MIDNIGHT_NS + at_ns,
            now_ns=lambda: at_ns,
        )
        writer = Writer(journal)
        for number in range(ORDERS_OF_A_DAY):
            at_ns = number * DAY_NS // ORDERS_OF_A_DAY
            for _ in STEPS:
                writer.record()
            if number % 1_000 == 0:
                check(journal.commit(), journal.failing)
        check(journal.commit(), journal.failing)
        (file,) = list_files(made)
        size = writer.count * 192
        expected = sum(at_ns - number * DAY_NS // ORDERS_OF_A_DAY <= KEEP_DONE_NS for number in range(ORDERS_OF_A_DAY))

        def once() -> float:
            image = Path(tempfile.mkdtemp(dir=path))
            os.link(file, image / file.name)  # as it is when its writer was killed: open, with room after its end
            begun = time.perf_counter()
            one = Journal.open(image, FLEET, VENUE, wall_ns=lambda: MIDNIGHT_NS + at_ns, now_ns=lambda: DAY_NS + at_ns)
            took_s = time.perf_counter() - begun
            check(not one.recovered.damage and not one.recovered.torn, one.recovered.damage or "a torn tail")
            check(one.recovered.sent_today == ORDERS_OF_A_DAY, f"{one.recovered.sent_today} orders were sent that day")
            check(len(one.recovered.orders) == expected, f"{len(one.recovered.orders)} orders, not {expected}")
            for known in one.recovered.orders:
                check_done(known)
            one.close()
            shutil.rmtree(image)
            return took_s

        check(writer.count == 1_000_000, f"{writer.count} records are not a million")
        took_s = interleaved({"open": once}, repeats=5)["open"]
        journal.close()
        return took_s, size, expected


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add --dir."""
    parser.add_argument("--dir", type=Path, default=ROOT / "build", metavar="DIR", help="where the files are made")


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure, add_options=add_options))
