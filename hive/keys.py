"""The venues' API keys, kept out of every process but the gate.

    hive up, with keys in it    -> a sealed anonymous file per venue -> the supervisor that it becomes (handover.py)
    the gate, at each start     <- descriptors of those files, over its control channel

So the supervisor holds descriptors only: no key is in its environment, in its arguments or in its memory, and it can
still start a new gate. A simulated exchange's keys are made up by the supervisor and are worth nothing.
"""

import ctypes
import fcntl
import json
import os

_PR_SET_DUMPABLE = 4
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def forbid_reads() -> None:
    """Forbid core dumps of this process, and reads of its memory by others of the same user."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE) failed")


def seal(api_key: str, api_secret: str) -> int:
    """Return the descriptor of a file in memory that holds a pair of keys and can never be changed."""
    fd = os.memfd_create("hive-keys", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, json.dumps({"api_key": api_key, "api_secret": api_secret}).encode())
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd
