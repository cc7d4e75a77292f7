"""Pinning a process to a CPU; being refused is never fatal."""

import os


def allowed_cpus() -> list[int]:
    """Return the CPUs that this process may run on, ascending."""
    return sorted(os.sched_getaffinity(0))


def pin(cpu: int | None) -> str:
    """Run this process, and the threads it starts from now on, on one CPU only.

    Returns "" when that is done or `cpu` is None, else why it is not; the process then runs where it did.
    """
    if cpu is None:
        return ""
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError as error:
        allowed = ",".join(map(str, allowed_cpus()))
        return f"not pinned to CPU {cpu}: {error.strerror} (allowed: {allowed})"
    return ""
