"""Let profilers of the same user look into this process, also where the kernel only lets a process's parents do that.

Yama's `kernel.yama.ptrace_scope` 1, the default of Ubuntu and Debian, refuses py-spy a process that it did not start,
unless that process has allowed it (prctl(2), PR_SET_PTRACER). A process that is not dumpable stays closed all the same.
"""

import ctypes

_PR_SET_PTRACER = 0x59616D61  # "Yama"
_ANY = ctypes.c_ulong(-1).value


def allow_tracing() -> bool:
    """Allow every process of this user to trace this one; False where the kernel has no such rule to lift.

    A fork does not inherit it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.prctl(_PR_SET_PTRACER, ctypes.c_ulong(_ANY), 0, 0, 0) == 0
