"""Who gets the CPU first: what Linux' scheduler may be asked for on behalf of feed and gate.

    a session of its own   where the kernel schedules by session (autogroup), a process that sleeps most of the time has
                           no share to speak of in a group with workers that compute; in its own it has a whole one
    a short slice          who asks for 0.1 ms at a time is given the CPU sooner than who asks for the usual 1 to 3 ms;
                           since Linux 6.12, for everybody; older kernels take no notice
    niceness -5            only where that is allowed (CAP_SYS_NICE, RLIMIT_NICE); workers raise their own by 5

None of this makes the processes run more than they need, only sooner.
"""

import ctypes
import os
import platform
import struct

PREFERRED = -5  # niceness beside this process's own
SLICE_NS = 100_000  # the shortest that the kernel takes
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_ATTR = struct.Struct("=IIQiIQQQ")  # size, policy, flags, nice, priority, runtime, deadline, period
_SCHED_OTHER = 0


def prefer(pid: int) -> str:
    """Have a process given the CPU soon; return in words what was granted. It may be gone already."""
    granted = []
    try:
        nice = os.getpriority(os.PRIO_PROCESS, pid)
    except OSError:
        return "gone"
    wanted = os.getpriority(os.PRIO_PROCESS, 0) + PREFERRED
    try:
        os.setpriority(os.PRIO_PROCESS, pid, wanted)
        nice = wanted
        granted.append(f"niceness {nice}")
    except OSError as error:
        granted.append(f"no niceness of {wanted} ({error.strerror})")
    why_not = _set_slice(pid, nice)
    granted.append(f"no short slice ({why_not})" if why_not else f"slices of {SLICE_NS / 1e6:g} ms")
    return ", ".join(granted)


def _set_slice(pid: int, nice: int) -> str:
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return f"not known how on {platform.machine()}"
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = _ATTR.pack(_ATTR.size, _SCHED_OTHER, 0, nice, 0, SLICE_NS, 0, 0)
    if libc.syscall(number, pid, attributes, 0) != 0:
        return os.strerror(ctypes.get_errno())
    return ""
