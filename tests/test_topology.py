"""What of a machine may be used: CPUs, cores, nodes, time and memory, read from made-up trees of /proc and /sys."""

import os

import pytest

from hive import cgroup, memory
from hive.topology import Cpu, Topology, parse_list, read_topology, show_list
from topologies import legacy, machine, unified, write

EIGHT = [(core, core + 4) for core in range(4)]  # four cores of two threads


def test_this_machine_is_what_the_kernel_says():
    assert read_topology().numbers == tuple(sorted(os.sched_getaffinity(0)))


def test_lists_are_read_and_shown_as_the_kernel_writes_them():
    assert parse_list("0-3,8,10-11\n") == [0, 1, 2, 3, 8, 10, 11]
    assert parse_list("") == []
    assert show_list([11, 0, 1, 2, 3, 8, 10]) == "0-3, 8, 10, 11"
    assert show_list([]) == ""


def test_threads_of_one_core_are_known_by_either_name_of_the_file(tmp_path):
    for name, older in (("new", False), ("old", True)):
        root = machine(tmp_path / name, EIGHT, older_kernel=older)
        topology = read_topology(root, range(8))
        assert [cpu.core for cpu in topology.cpus] == [0, 1, 2, 3, 0, 1, 2, 3]
        assert [[cpu.number for cpu in core] for core in topology.cores()] == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_without_any_file_each_cpu_is_a_core_on_one_node(tmp_path):
    assert read_topology(tmp_path, (3, 1)) == Topology((Cpu(1, 1), Cpu(3, 3))) == Topology.flat((3, 1))


def test_nodes_come_from_the_kernel_and_the_one_with_most_cores_is_first(tmp_path):
    root = machine(tmp_path, [(cpu,) for cpu in range(6)], [(0, 1), (2, 3, 4, 5)])
    topology = read_topology(root, range(6))
    assert [cpu.node for cpu in topology.cpus] == [0, 0, 1, 1, 1, 1]
    assert [core[0].number for core in topology.cores()] == [2, 3, 4, 5, 0, 1]
    assert topology.node_of(5) == 1


def test_affinity_cpuset_and_what_is_online_all_limit(tmp_path):
    root = unified(
        machine(tmp_path, [(cpu,) for cpu in range(8)], online="0-6"),
        "/box/fleet",
        {"/box": {"cpuset.cpus.effective": "2-7"}, "/box/fleet": {"cpu.max": "max 100000"}},
    )
    assert read_topology(root, range(1, 8)).numbers == (2, 3, 4, 5, 6)
    assert read_topology(root, (6, 5)).numbers == (5, 6)


def test_the_innermost_group_that_has_a_cpuset_counts(tmp_path):
    root = unified(
        tmp_path, "/a/b", {"/a": {"cpuset.cpus.effective": "0-3"}, "/a/b": {"cpuset.cpus.effective": "2-3"}}
    )
    assert cgroup.cpuset(root) == "2-3"
    write(root / "sys/fs/cgroup/a/b/cpuset.cpus.effective", "")
    assert cgroup.cpuset(root) == "0-3"


def test_version_one_has_a_cpuset_too(tmp_path):
    root = legacy(machine(tmp_path, EIGHT), "cpuset", "/x", {"/x": {"cpuset.cpus": "1,5"}})
    assert read_topology(root, range(8)).numbers == (1, 5)


def test_the_tightest_quota_on_the_way_up_holds(tmp_path):
    root = unified(tmp_path, "/a/b", {"/a": {"cpu.max": "150000 100000"}, "/a/b": {"cpu.max": "400000 100000"}})
    assert cgroup.cpu_quota(root) == 1.5
    assert Topology.flat(range(8)).power == 8
    assert Topology(Topology.flat(range(8)).cpus, 1.5).power == 1.5
    assert Topology(Topology.flat(range(2)).cpus, 16.0).power == 2


@pytest.mark.parametrize(("quota", "allowed"), [("50000", 0.5), ("-1", None)])
def test_version_one_has_a_quota_too(tmp_path, quota, allowed):
    files = {"/x": {"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": "100000"}}
    assert cgroup.cpu_quota(legacy(tmp_path, "cpu", "/x", files)) == allowed


def test_no_limit_and_no_group_is_no_quota(tmp_path):
    assert cgroup.cpu_quota(tmp_path / "nothing") is None
    assert cgroup.cpu_quota(unified(tmp_path, "/", {"/": {"cpu.max": "max 100000"}})) is None


def test_inside_a_container_the_mount_itself_is_the_group(tmp_path):
    limits = {"/": {"cpu.cfs_quota_us": "200000", "cpu.cfs_period_us": "100000"}}
    root = legacy(tmp_path, "cpu", "/docker/ab12", limits, mount_root="/docker/ab12")
    assert cgroup.cpu_quota(root) == 2.0
    root = legacy(tmp_path / "seen from outside", "cpu", "/elsewhere", limits, mount_root="/docker/ab12")
    assert cgroup.cpu_quota(root) == 2.0


def test_memory_is_the_least_of_the_machine_and_its_groups_and_the_cache_is_free(tmp_path):
    write(tmp_path / "proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    5000 kB")
    assert memory.available(tmp_path) == 5000 * 1024
    stat = "anon 1\nfile 400000\nshmem 100000"
    group = {"memory.max": "3000000", "memory.current": "1000000", "memory.stat": stat}
    root = unified(tmp_path, "/a", {"/a": group, "/": {"memory.max": "max", "memory.current": "1"}})
    assert cgroup.memory_left(root) == 3_000_000 - 1_000_000 + 400_000 - 100_000
    assert memory.available(root) == 2_300_000


def test_version_one_says_no_limit_of_memory_by_a_huge_number(tmp_path):
    files = {"/a": {"memory.limit_in_bytes": "9223372036854771712", "memory.usage_in_bytes": "1"}}
    root = legacy(tmp_path, "memory", "/a", files)
    assert cgroup.memory_left(root) is None
    write(root / "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000")
    assert cgroup.memory_left(root) == 999


def test_a_group_that_is_full_has_nothing_left(tmp_path):
    root = unified(tmp_path, "/a", {"/a": {"memory.max": "10", "memory.current": "20"}})
    assert cgroup.memory_left(root) == 0
