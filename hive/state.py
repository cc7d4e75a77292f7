"""Where a running fleet leaves its traces: its folder, its lock and `fleet.json`.

$XDG_RUNTIME_DIR/hive/  or  /tmp/hive-<uid>/        0700
    <fleet>/lock                                    flock, held by the supervisor and inherited by its children
    <fleet>/fleet.json                              what readers map and show; replaced whole, never changed
    <fleet>/control.sock, wake.*                    while it runs
    key-<hash>.lock                                 flock of the gate that uses an API key

$XDG_STATE_HOME/hive/<fleet>/{logs,data}            what outlives a run
"""

import errno
import fcntl
import json
import os
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hive.shm.segment import process_start_ticks

SCHEMA = 1
SOCKET_PATH_MAX = 107  # of a unix socket, its final zero not counted


class StateError(Exception):
    """The run folder cannot be used."""


class FleetLocked(StateError):
    """Another supervisor, or what is left of one, holds the fleet's lock."""


def runs_dir() -> Path:
    """Return the folder of all this user's fleets, made when it is missing.

    Raises:
        StateError: it is somebody else's, or others may write to it.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(runtime) / "hive" if runtime else Path(f"/tmp/hive-{os.getuid()}")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise StateError(f"{path} must be a folder of yours that nobody else may write to")
    return path


def states_dir() -> Path:
    """Return the folder of what outlives the runs of all this user's fleets; it need not exist."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "hive"


def state_dir(fleet: str) -> Path:
    """Return the folder of a fleet's logs and data, made when it is missing."""
    path = states_dir() / fleet
    for folder in (path / "logs", path / "data"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def fleet_names() -> list[str]:
    """Return the names of all fleets that have a folder, running or not."""
    return sorted(path.parent.name for path in runs_dir().glob("*/lock"))


@dataclass(frozen=True, slots=True)
class FleetDir:
    """One fleet's folder."""

    path: Path

    @classmethod
    def of(cls, name: str) -> "FleetDir":
        """Return a fleet's folder, which need not exist."""
        return cls(runs_dir() / name)

    @property
    def name(self) -> str:
        """The fleet's name."""
        return self.path.name

    @property
    def control(self) -> Path:
        """Where the supervisor listens."""
        return self.path / "control.sock"

    def exists(self) -> bool:
        """Return whether there ever was such a fleet."""
        return self.path.is_dir()

    def lock(self, patience_s: float = 0.0) -> int:
        """Take the fleet's lock and return its descriptor, which children inherit.

        Args:
            patience_s: how long to wait for the processes of a supervisor that is dead.

        Raises:
            FleetLocked: the fleet runs, or is still ending.
            StateError: the folder's path is too long for a socket in it.
        """
        if len(os.fsencode(self.control)) > SOCKET_PATH_MAX:
            raise StateError(
                f"{self.control}: must have at most {SOCKET_PATH_MAX} bytes: set XDG_RUNTIME_DIR to a shorter folder"
            )
        self.path.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return fd
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise StateError(f"{self.path / 'lock'}: {error.strerror}") from error
            fleet = self.read()
            if is_alive(fleet):
                os.close(fd)
                raise FleetLocked(
                    f"fleet {self.name} is running already (pid {fleet['pid']}): "
                    f"`hive down {self.name}` ends it, --name gives this one another name"
                )
            if self.is_of_another_version():
                os.close(fd)
                raise FleetLocked(f"fleet {self.name} runs under another version of Hive: its `hive down` ends it")
            if time.monotonic() >= deadline:
                os.close(fd)
                raise FleetLocked(f"fleet {self.name} is still ending: its supervisor died, its gate cancels orders")
            time.sleep(0.1)

    def holds(self, fd: int) -> bool:
        """Return whether `fd`, from lock(), is still the lock that others find here."""
        try:
            found, own = os.stat(self.path / "lock"), os.fstat(fd)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)

    def lock_anew(self, fd: int) -> None:
        """Take the lock again, under the same number, when its file or the folder was removed.

        Raises:
            FleetLocked: another supervisor was quicker.
            StateError, OSError: the folder cannot be made again.
        """
        runs_dir()
        fresh = self.lock()
        os.dup2(fresh, fd, inheritable=False)
        os.close(fresh)

    def is_locked(self) -> bool:
        """Return whether some process holds the fleet's lock."""
        try:
            fd = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def read(self) -> dict[str, Any] | None:
        """Return fleet.json, None when there is none."""
        try:
            fleet = json.loads((self.path / "fleet.json").read_bytes())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return fleet if fleet.get("schema") == SCHEMA else None

    def is_of_another_version(self) -> bool:
        """Return whether fleet.json is there and of a version of Hive whose schema this one does not know."""
        try:
            return json.loads((self.path / "fleet.json").read_bytes()).get("schema") != SCHEMA
        except (FileNotFoundError, json.JSONDecodeError):
            return False

    def write(self, fleet: dict[str, Any]) -> None:
        """Replace fleet.json; readers see the old one or the new one."""
        fresh = self.path / f"fleet.json.{os.getpid()}"
        try:
            fresh.write_text(json.dumps(fleet, separators=(",", ":")))
            fresh.rename(self.path / "fleet.json")
        except OSError:
            fresh.unlink(missing_ok=True)
            raise

    def drop_wake(self, who: str) -> None:
        """Remove the FIFOs that a process which was killed has left, by its role and number."""
        for path in self.path.glob(f"wake.{who}.*"):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what a run leaves, but the lock."""
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder of a fleet that does not run."""
        shutil.rmtree(self.path, ignore_errors=True)


def drop_key_locks() -> list[str]:
    """Remove the locks of API keys that no gate holds, which gates that were killed left; return their names."""
    dropped = []
    for path in sorted(runs_dir().glob("key-*.lock")):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # another user's gate, or gone by itself
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:  # else that path may be the lock of the next gate by now
                path.unlink()  # while it is held: a gate that waits for it sees this, and makes another
                dropped.append(path.name)
        except OSError:
            pass  # held by a gate
        finally:
            os.close(fd)
    return dropped


def is_alive(fleet: dict[str, Any] | None) -> bool:
    """Return whether the supervisor that wrote this fleet.json lives."""
    return fleet is not None and process_start_ticks(fleet["pid"]) == fleet["start_ticks"]


def rotate_logs(folder: Path) -> None:
    """Keep the logs of the run before as *.log.1."""
    for path in folder.glob("*.log"):
        path.rename(path.with_name(path.name + ".1"))
