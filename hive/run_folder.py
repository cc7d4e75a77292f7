"""Looks after the fleet's folder while the fleet runs: who removes it takes away its lock, its socket and its FIFOs.

    kept     nothing is to be done
    gone     made again: lock, fleet.json, socket; the gate starts again, for its key lock and its FIFO
    taken    another supervisor has the name: this fleet ends, and leaves that folder alone

$XDG_RUNTIME_DIR goes when its user's last session ends (without `loginctl enable-linger`). systemd-tmpfiles leaves a
folder alone on which somebody holds a lock (tmpfiles.d(5)), so the folder of all fleets has one while a fleet runs.
"""

import fcntl
import os
from collections.abc import Callable

from hive.state import FleetDir, FleetLocked, StateError, runs_dir

BEATS_PER_LOOK = 2


class RunFolder:
    """One fleet's folder, from its supervisor's beat.

    Args:
        folder: which one.
        lock_fd: of the fleet's lock; it stays the same number when the lock is taken anew.
        say: say(level, text) tells the operator.
        taken: called when the folder belongs to another supervisor.
        made_again: called when the folder was made again and is empty.
        fail: fail(why) ends the fleet.
    """

    def __init__(
        self,
        folder: FleetDir,
        lock_fd: int,
        *,
        say: Callable[..., None],
        taken: Callable[[], None],
        made_again: Callable[[], None],
        fail: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._lock_fd = lock_fd
        self._say = say
        self._taken = taken
        self._made_again = made_again
        self._fail = fail
        self._beats = 0
        self._told = ""
        self._parent_fd = -1
        self._protect()

    def beat(self) -> None:
        """Look at it, now and then."""
        self._beats += 1
        if self._beats % BEATS_PER_LOOK or self._folder.holds(self._lock_fd):
            return
        try:
            self._folder.lock_anew(self._lock_fd)
        except FleetLocked:
            self._taken()
            self._fail(f"{self._folder.path} was removed and belongs to another `hive up` now")
        except (StateError, OSError) as error:
            self._tell(f"{self._folder.path} was removed and cannot be made again: {error}")
        else:
            self._protect()
            self._told = ""
            self._say("warning", f"{self._folder.path} was removed: made again; the gate is started again")
            self._made_again()

    def close(self) -> None:
        """Let go of it."""
        if self._parent_fd >= 0:
            os.close(self._parent_fd)
            self._parent_fd = -1

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._say("error", text)

    def _protect(self) -> None:
        self.close()
        try:
            self._parent_fd = os.open(runs_dir(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._parent_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (StateError, OSError):
            self.close()  # it is a courtesy of the cleaner's, and somebody else has the lock
