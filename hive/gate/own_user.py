"""The gate as a user of its own: nobody of the fleet's user can look into it; its files are that user's all the same.

    effective and saved   gate_user      to look into a process, or trace it, all of its ids must be one's own
    real                  the fleet's    the supervisor may signal it, so that needs no right to signal everybody
    of files              the fleet's    whose segments, queues, wake-ups, locks, logs and journal it opens and makes

It is started by the fleet's user with the right to change users and keeps nothing of that right. Until then nobody of
that user can trace it either, because it may do more than they. Sources: ptrace(2) (access mode checking), kill(2),
setfsuid(2), capabilities(7).
"""

import ctypes
import os

from hive.gate.errors import BootError

_CAPABILITY_VERSION_3 = 0x20080522
_LIBC = ctypes.CDLL(None, use_errno=True)


def become(uid: int, gid: int) -> None:
    """Be that user, with the files of the user that this process was started as, and without any capability.

    Call it before any thread is started: the user of files is kept by thread.

    Raises:
        BootError: this process may not change its user, or did not do so fully.
    """
    own_uid, own_gid = os.getuid(), os.getgid()
    try:
        os.setgroups([])
        os.setresgid(own_gid, gid, gid)
        os.setresuid(own_uid, uid, uid)
    except PermissionError as error:
        raise BootError(f"gate_user: the gate may not become uid {uid}, gid {gid}: {error.strerror}") from None
    _LIBC.setfsgid(own_gid)
    _LIBC.setfsuid(own_uid)
    _give_up_capabilities()
    left = [line.split()[1] for line in _status() if line.startswith(("CapPrm", "CapEff", "CapInh", "CapAmb"))]
    ids = [[int(one) for one in line.split()[1:]] for line in _status() if line.startswith(("Uid", "Gid"))]
    expected = [[own_uid, uid, uid, own_uid], [own_gid, gid, gid, own_gid]]
    if ids != expected or any(int(mask, 16) for mask in left) or len(left) != 4:
        raise BootError(f"gate_user: the gate must have ids {expected} and no capability, has {ids} and {left}")


def _status() -> list[str]:
    with open("/proc/self/status") as status:
        return status.readlines()


def _give_up_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if _LIBC.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise BootError(f"gate_user: the gate cannot give up its capabilities: {os.strerror(ctypes.get_errno())}")
