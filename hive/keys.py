"""The venues' API keys, kept out of every process but the gate.

    hive up, with keys in it    -> a sealed anonymous file per venue -> the same process anew, without the variables
    the gate, at each start     <- descriptors of those files, over its control channel

So the supervisor holds descriptors only: no key is in its environment, in its arguments or in its memory, and it can
still start a new gate. A simulated exchange's keys are made up by the supervisor and are worth nothing.
"""

import ctypes
import fcntl
import json
import os
import sys
from collections.abc import Iterable, Mapping, MutableMapping

HANDED_OVER = "HIVE_KEY_FDS"
_PR_SET_DUMPABLE = 4
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def forbid_reads() -> None:
    """Forbid core dumps of this process, and reads of its memory by others of the same user."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE) failed")


def seal(api_key: str, api_secret: str) -> int:
    """Return the descriptor of a file in memory that holds a pair of keys and can never be changed."""
    fd = os.memfd_create("hive-keys", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, json.dumps({"api_key": api_key, "api_secret": api_secret}).encode())
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def take_over(environment: MutableMapping[str, str]) -> dict[str, int] | None:
    """Return the descriptors by venue that an earlier life of this process left, None when this is the first."""
    handed = environment.pop(HANDED_OVER, None)
    if handed is None:
        return None
    fds = {venue: int(fd) for venue, fd in json.loads(handed).items()}
    for fd in fds.values():
        os.set_inheritable(fd, False)
    return fds


def start_anew(fds: Mapping[str, int], variables: Iterable[str]) -> None:
    """Replace this process by itself, without `variables` and with the descriptors; does not return."""
    without = set(variables)
    environment = {name: value for name, value in os.environ.items() if name not in without}
    environment[HANDED_OVER] = json.dumps(dict(fds))
    for fd in fds.values():
        os.set_inheritable(fd, True)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
