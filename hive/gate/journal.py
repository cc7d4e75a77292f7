"""The journal of a venue account: what may be open at the venue is on disk before the request is written.

    sent() acked() fill() ...  ->  tails in memory  -- commit(): one write -->  file  -- SyncThread: fdatasync -->  disk
                                        |
                                 stories, by order   -- a file is full -->  the next file begins with all of them

After kill -9 of everything the next `open` finds every order whose record was committed; after a loss of power, those
that were synced: with the policy "interval" all but the last `interval_s` and what one fdatasync takes, with "every"
all of them, with "none" what the kernel had written by itself. What is needed still (each order whose strategy has not
been told everything, or not ten minutes ago, and each note) is held in memory too. So a file is never the only copy
while the gate lives: after an error of the disk a new file is begun with all of it.

When the disk is full, what was allocated before carries the fills and ends of orders that are out; new orders must stop
(`can_send`) while there is a reserve for these. What cannot be written even so waits in memory. One process at a time
may use a folder: the gate holds the lock of the account's key before it opens this.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from hive.gate.journal_file import JournalFile, file_path, settle
from hive.gate.journal_format import HEADER_BYTES, RECORD_BYTES, TAIL_BYTES, Header
from hive.gate.journal_records import Records
from hive.gate.journal_replay import Replayed, replay
from hive.gate.journal_sync import SyncThread

POLICIES = ("interval", "every", "none")
RESERVE_BYTES = 256 << 10
RESERVE_PER_ORDER = 4  # records: a fill or two, its end, DONE
FILE_BYTES_MIN = 64 << 10
RETRY_NS = 100_000_000


class Journal(Records):
    """Use `Journal.open`. No method that records raises or blocks."""

    def __init__(
        self,
        folder: Path,
        fleet_id: str,
        venue: str,
        policy: str,
        interval_s: float,
        file_bytes: int,
        keep_bytes: int,
        wall_ns: Callable[[], int],
        now_ns: Callable[[], int],
        replayed: Replayed,
    ) -> None:
        super().__init__(wall_ns, now_ns, replayed)
        self._folder = folder
        self._fleet_id = fleet_id
        self._venue = venue
        self._policy = policy
        self._interval_s = interval_s
        self._file_bytes = file_bytes
        self._least_reserve = min(RESERVE_BYTES, file_bytes // 4) // RECORD_BYTES
        self._keep_bytes = keep_bytes
        self._next_serial = replayed.next_serial
        self._ends = replayed.ends
        self._file: JournalFile | None = None
        self._spare: JournalFile | None = None  # allocated ahead; made by the thread, taken by the loop
        self._spare_ns = 0  # when to try that again
        self._retired: list[JournalFile] = []
        self._unsynced = False
        self._work = asyncio.Event()  # there is something for run() to do
        self._suspect = False  # a write or a sync failed: a new file is needed
        self._retry_ns = 0
        self._write_fault = self._sync_fault = self._refused = ""
        self._pool = ThreadPoolExecutor(1, "journal")
        self._syncing = SyncThread(interval_s, lambda: self._file, self._not_synced)
        self._closed = False

    @classmethod
    def open(
        cls,
        folder: Path,
        fleet_id: str,
        venue: str,
        *,
        policy: str = "interval",
        interval_s: float = 0.01,
        file_bytes: int = 16 << 20,
        keep_bytes: int = 1 << 30,
        wall_ns: Callable[[], int] = time.time_ns,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> "Journal":
        """Read what is there, and begin a new file with it.

        A folder that can be read and not written to (a full disk) is no error: see `failing`.

        Args:
            folder: of this account alone; made when it is not there
            policy: "interval", "every" or "none": when records are synced to the disk
            interval_s: between two syncs
            file_bytes: of one file; a file whose snapshot is large becomes larger
            keep_bytes: of older files, which are for who wants to read what happened

        Raises:
            JournalError: it is another version's, fleet's or venue's.
            OSError: the folder cannot be made or read.
            ValueError: an argument is out of range.
        """
        if policy not in POLICIES:
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}, was {policy!r}")
        if file_bytes < FILE_BYTES_MIN:
            raise ValueError(f"file_bytes must be >= {FILE_BYTES_MIN}, was {file_bytes}")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(OSError):
            folder.chmod(0o700)
            for path in folder.glob("*.tmp"):
                path.unlink()
        replayed = replay(folder, fleet_id, venue, wall_ns())
        journal = cls(folder, fleet_id, venue, policy, interval_s, file_bytes, keep_bytes, wall_ns, now_ns, replayed)
        journal.commit()
        journal._settle_now()
        return journal

    @property
    def failing(self) -> str:
        """Return why records are not written as they should be, "" when they are."""
        return self._write_fault or self._sync_fault or self._refused

    @property
    def can_send(self) -> bool:
        """Return whether a new order may be sent: its record, and those that follow from it, will have room."""
        return not (self._write_fault or self._sync_fault or self._refused)

    def commit(self) -> bool:
        """Write everything that was recorded.

        Returns:
            Whether it is in the file (with the policy "every": on the disk). If not, nothing that was recorded since
            the last call may be sent; the records are kept, and tried again by later calls. While `failing` it is also
            False for a new order whose record took of what is reserved for others.
        """
        if self._commit_quickly():
            return True
        self._refused, self._unrecordable = self._unrecordable, ""
        sending, self._sending = self._sending, False
        failed = self.failing
        now_ns = self._now_ns()
        if not self._suspect or now_ns >= self._retry_ns:
            self._write(now_ns)
        if self._has_work:
            self._work.set()
        if sending and failed and self.failing:
            return False
        return not self._pending and not self._suspect and not self._refused

    async def run(self) -> None:
        """Have what was written synced, allocate the next file ahead, try again what failed; asleep without such work.

        Until cancelled; what is written later is synced until `close`.
        """
        loop = asyncio.get_running_loop()
        if self._policy == "interval":
            self._syncing.start(loop)
        while True:
            await self._work.wait()
            await asyncio.sleep(self._interval_s)
            self._work.clear()  # before the look: what comes after it sets this again
            if self.failing:
                self.commit()
            file = self._file
            if file is None:
                continue
            if self._policy == "interval" and not file.in_folder:
                retired, self._retired = self._retired, []
                try:
                    await loop.run_in_executor(self._pool, self._settle, file, retired)
                    self._sync_fault = ""
                except OSError as error:
                    self._distrust(error)
            if self._wants_spare and self._now_ns() >= self._spare_ns:
                await loop.run_in_executor(self._pool, self._allocate)
            if self._has_work:
                self._work.set()

    def close(self) -> None:
        """Write and sync what can be; repeating is harmless."""
        if self._closed:
            return
        self._closed = True
        self._syncing.stop()
        self._pool.shutdown()
        self._retry_ns = 0
        self.commit()
        if self._file is not None:
            self._settle_now()
            with suppress(OSError):
                self._file.cut()
            self._file.close()
        for file in self._retired:
            file.close()
        if self._spare is not None:
            self._spare.discard()

    @property
    def _wants_spare(self) -> bool:
        file = self._file
        return self._spare is None and file is not None and file.room * RECORD_BYTES * 2 < self._file_bytes

    @property
    def _has_work(self) -> bool:
        """Whether there is something for run() to do; to sync what is written to a file that has its name is not."""
        return self._wants_spare or bool(self.failing) or self._file is None or not self._file.in_folder

    def _commit_quickly(self) -> bool:
        """Do all of `commit` when nothing fails and the file has room, as nearly always; returns whether it is done."""
        file, pending = self._file, self._pending
        if file is None or self._unrecordable or self._suspect or self.failing:
            return False
        if not pending:
            return True
        if self._policy != "interval" or len(pending) + self._reserve() > file.room:
            return False
        try:
            file.append(pending)
        except OSError:
            return False  # the same bytes are tried again, and what fails is seen to
        pending.clear()
        self._sending = False
        self._syncing.touch()
        if self._has_work:
            self._work.set()
        return True

    def _write(self, now_ns: int) -> None:
        file = self._file
        try:
            if file is not None and self._pending and len(self._pending) <= file.room:
                file.append(self._pending)
                self._pending.clear()
                self._unsynced = True
        except OSError as error:
            self._suspect = True
            self._write_fault = str(error)
        if file is None or self._suspect or self._pending or file.room < self._reserve():
            self._renew(now_ns)
        if self._policy != "interval" and self._unsynced:
            self._settle_now()
        elif self._unsynced:
            self._unsynced = False
            self._syncing.touch()

    def _reserve(self) -> int:
        """Return how many records of the file are kept for orders that have been sent."""
        return max(self._least_reserve, RESERVE_PER_ORDER * self._stories.unfinished)

    def _renew(self, now_ns: int) -> None:
        """Go on in a new file, which begins with everything that is needed, what is not written yet included."""
        if now_ns < self._retry_ns:
            return
        self._forget()
        snapshot = [*self._notes.values(), *self._stories.all()]
        count = sum(map(len, snapshot)) // TAIL_BYTES
        size = max(self._file_bytes, HEADER_BYTES + 2 * (count + self._reserve()) * RECORD_BYTES)
        first_serial = self._next_serial if self._file is None else self._file.next_serial
        header = Header(
            self._fleet_id, self._venue, first_serial, count, self._wall_ns(), self._day, self._sent_of_day
        )
        file = None
        try:
            if self._spare is not None:
                file, self._spare = self._spare, None
            else:
                file = JournalFile(self._folder / "new.tmp", size)
            file.begin(header, snapshot, size, file_path(self._folder, first_serial))
        except OSError as error:
            if file is not None:
                file.discard()
            self._write_fault = f"a new file cannot be begun: {error}"
            self._retry_ns = now_ns + RETRY_NS
            return
        if self._file is not None:
            self._retired.append(self._file)
        self._file = file
        self._pending.clear()
        self._suspect, self._write_fault = False, ""
        self._unsynced = True

    def _distrust(self, error: OSError) -> None:
        """Go on in a new file: after a sync that failed nobody knows what of this one is on the disk."""
        self._sync_fault = f"not synced: {error}"
        self._suspect = True
        self._retry_ns = self._now_ns() + RETRY_NS

    def _settle_now(self) -> None:
        if self._file is None:
            return
        self._unsynced = False
        retired, self._retired = self._retired, []
        try:
            self._settle(self._file, retired)
            self._sync_fault = ""
        except OSError as error:
            self._distrust(error)

    def _settle(self, file: JournalFile, retired: list[JournalFile]) -> None:
        """Sync a file, and let go of those before it. May run in the thread."""
        ends, self._ends = self._ends, []
        settle(file, retired, ends, self._policy != "none", self._keep_bytes)

    def _not_synced(self, file: JournalFile, error: OSError) -> None:
        if file is self._file:  # else a later file begins with all that was in it
            self._distrust(error)
            self._work.set()

    def _allocate(self) -> None:
        """Allocate the next file; runs in the thread. Without room, there is the reserve."""
        self._spare_ns = self._now_ns() + RETRY_NS
        with suppress(OSError):
            self._spare = JournalFile(self._folder / "next.tmp", self._file_bytes)
