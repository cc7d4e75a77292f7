"""The control groups of this process: what they say of CPUs, CPU time and memory. Versions 1 and 2, also mixed.

    /proc/self/cgroup      which group, by controller          4:memory:/docker/ab    0::/user.slice
    /proc/self/mountinfo   where that controller's tree is     mount root -> mount point
    group and those above  a limit of any of them holds

Source: the kernel's admin-guide/cgroup-v1 and admin-guide/cgroup-v2.rst; proc(5) for mountinfo.
"""

from pathlib import Path

_UNIFIED = ""  # the controller of version 2's only tree


def cpuset(root: Path = Path("/")) -> str | None:
    """Return the CPUs that the groups leave, as the kernel lists them ("0-3,8"); None when none says so."""
    files = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")
    for controller in (_UNIFIED, "cpuset"):
        for group in _groups(root, controller):
            for name in files:
                if text := _read(group / name):
                    return text
    return None


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many CPUs' worth of time the groups allow, None: no limit."""
    allowed = []
    for group in _groups(root, _UNIFIED):
        words = (_read(group / "cpu.max") or "max").split()
        if words[0] != "max":
            allowed.append(int(words[0]) / int(words[1] if len(words) > 1 else 100_000))
    for group in _groups(root, "cpu"):
        quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
        if quota and period and int(quota) > 0:
            allowed.append(int(quota) / int(period))
    return min(allowed, default=None)


def memory_left(root: Path = Path("/")) -> int | None:
    """Return how many bytes more the groups allow, None: no limit. What the page cache holds counts as free."""
    left = []
    names = (
        (_UNIFIED, "memory.max", "memory.current", "file", "shmem"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache", "total_shmem"),
    )
    for controller, most, used, cached, shared in names:
        for group in _groups(root, controller):
            limit, usage = _read(group / most), _read(group / used)
            if limit and usage and limit.isdigit() and int(limit) < 1 << 60:  # version 1 says "none" as a huge number
                stat = group / "memory.stat"
                cache = _figure(stat, cached) - _figure(stat, shared)  # /dev/shm counts as cache, and cannot be dropped
                left.append(int(limit) - int(usage) + cache)
    return max(0, min(left)) if left else None


def _groups(root: Path, controller: str) -> list[Path]:
    """Return the folders of this process's group of a controller and of all groups above it, innermost first."""
    path = _path_of(root, controller)
    mount = _mount_of(root, controller)
    if path is None or mount is None:
        return []
    top, point = mount
    inside = path.relative_to(top) if path.is_relative_to(top) else Path()  # else: seen from inside a container
    folder = root / point.relative_to("/")
    chain = [folder / inside, *(folder / above for above in inside.parents)]
    return list(dict.fromkeys(chain))


def _path_of(root: Path, controller: str) -> Path | None:
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        number, controllers, path = line.split(":", 2)
        if (number == "0" and not controllers) if controller == _UNIFIED else controller in controllers.split(","):
            return Path(path)
    return None


def _mount_of(root: Path, controller: str) -> tuple[Path, Path] | None:
    """Return root and mount point of a controller's tree."""
    for line in (_read(root / "proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), after.split(maxsplit=2)
        wanted = "cgroup2" if controller == _UNIFIED else "cgroup"
        if kind == wanted and (controller == _UNIFIED or controller in options.split(",")):
            return Path(fields[3]), Path(fields[4])
    return None


def _figure(path: Path, name: str) -> int:
    for line in (_read(path) or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _read(path: Path) -> str | None:
    """Return a file's text without blanks around it, None when it cannot be read or has none."""
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
