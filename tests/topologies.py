"""Made-up machines: the files of /proc and /sys that hive/topology.py reads, in a folder of their own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

MOUNT = "31 23 0:28 {root} /sys/fs/cgroup{name} rw,relatime - {kind} {kind} rw{options}"


def machine(
    root: Path,
    cores: Sequence[Sequence[int]],
    nodes: Sequence[Sequence[int]] = (),
    *,
    online: str | None = None,
    older_kernel: bool = False,
) -> Path:
    """Write a machine and return its root.

    Args:
        cores: the CPUs of each core.
        nodes: the CPUs of each NUMA node; none: the kernel says nothing of nodes.
        online: as the kernel lists them; None: all.
        older_kernel: it calls the CPUs of a core by the name of before 5.4.
    """
    cpus = sorted(cpu for core in cores for cpu in core)
    folder = root / "sys/devices/system/cpu"
    write(folder / "online", online or f"{cpus[0]}-{cpus[-1]}")
    name = "thread_siblings_list" if older_kernel else "core_cpus_list"
    for core in cores:
        for cpu in core:
            write(folder / f"cpu{cpu}" / "topology" / name, ",".join(map(str, core)))
    for number, node in enumerate(nodes):
        write(root / f"sys/devices/system/node/node{number}/cpulist", ",".join(map(str, node)))
    return root


def unified(root: Path, group: str, files: Mapping[str, Mapping[str, str]]) -> Path:
    """Add control groups of version 2: this process's group, and the files of groups by their paths."""
    write(root / "proc/self/cgroup", f"0::{group}")
    write(root / "proc/self/mountinfo", MOUNT.format(root="/", name="", kind="cgroup2", options=""))
    return _groups(root / "sys/fs/cgroup", files, root)


def legacy(
    root: Path, controller: str, group: str, files: Mapping[str, Mapping[str, str]], mount_root: str = "/"
) -> Path:
    """Add control groups of version 1 of one controller."""
    line = MOUNT.format(root=mount_root, name=f"/{controller}", kind="cgroup", options=f",{controller}")
    append(root / "proc/self/cgroup", f"4:{controller}:{group}")
    append(root / "proc/self/mountinfo", line)
    return _groups(root / "sys/fs/cgroup" / controller, files, root)


def write(path: Path, text: str) -> None:
    """Write a file of one line, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def append(path: Path, text: str) -> None:
    """Add a line to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text + "\n")


def _groups(folder: Path, files: Mapping[str, Mapping[str, str]], root: Path) -> Path:
    for group, values in files.items():
        for name, text in values.items():
            write(folder / group.strip("/") / name, text)
    return root
