from machine_tree import MachineTree

from hetctl.probe.cgroup import Cgroup, read_cgroup
from hetctl.units import GIB


def test_no_cgroups_means_no_limits(tree: MachineTree) -> None:
    assert read_cgroup(tree.files()) == Cgroup()


def test_v2_quota_of_one_and_a_half_cpus(tree: MachineTree) -> None:
    tree.cgroup_v2("/app")
    tree.limit("/app", cpu_max="150000 100000")
    assert read_cgroup(tree.files()).cpu_quota == 1.5


def test_v2_max_is_no_limit(tree: MachineTree) -> None:
    tree.cgroup_v2("/app")
    tree.limit("/app", cpu_max="max 100000", memory_max="max", memory_high="max")
    assert read_cgroup(tree.files()) == Cgroup()


def test_v2_the_tightest_limit_of_any_ancestor_wins(tree: MachineTree) -> None:
    tree.cgroup_v2("/pods/burst/app")
    tree.limit("/pods", cpu_max="800000 100000", memory_max=16 * GIB, memory_current=0)
    tree.limit("/pods/burst", cpu_max="200000 100000", memory_max=64 * GIB, memory_current=0)
    tree.limit("/pods/burst/app", cpu_max="max 100000", memory_max=32 * GIB, memory_current=0)
    cgroup = read_cgroup(tree.files())
    assert cgroup.cpu_quota == 2
    assert cgroup.memory_limit_bytes == 16 * GIB


def test_v2_headroom_can_be_least_where_the_limit_is_not(tree: MachineTree) -> None:
    tree.cgroup_v2("/pods/app")
    tree.limit("/pods", memory_max=64 * GIB, memory_current=60 * GIB)
    tree.limit("/pods/app", memory_max=16 * GIB, memory_current=GIB)
    cgroup = read_cgroup(tree.files())
    assert cgroup.memory_limit_bytes == 16 * GIB
    assert cgroup.memory_headroom_bytes == 4 * GIB


def test_v2_page_cache_counts_as_headroom(tree: MachineTree) -> None:
    tree.cgroup_v2("/app")
    stat = f"anon {2 * GIB}\ninactive_file {4 * GIB}\nactive_file {1 * GIB}\nshmem {GIB}"
    tree.limit("/app", memory_max=10 * GIB, memory_current=8 * GIB, memory_stat=stat)
    assert read_cgroup(tree.files()).memory_headroom_bytes == 7 * GIB


def test_v2_throttling_limit_counts(tree: MachineTree) -> None:
    tree.cgroup_v2("/app")
    tree.limit("/app", memory_max=10 * GIB, memory_high=8 * GIB, memory_current=0)
    assert read_cgroup(tree.files()).memory_limit_bytes == 8 * GIB


def test_v2_usage_over_the_limit_leaves_nothing(tree: MachineTree) -> None:
    tree.cgroup_v2("/app")
    tree.limit("/app", memory_max=GIB, memory_current=2 * GIB)
    assert read_cgroup(tree.files()).memory_headroom_bytes == 0


def test_v2_host_path_in_a_container_without_its_own_namespace(tree: MachineTree) -> None:
    tree.cgroup_v2("/docker/abc/inner", mount_root="/docker/abc")
    tree.limit("", cpu_max="400000 100000")
    tree.limit("/inner", cpu_max="300000 100000")
    assert read_cgroup(tree.files()).cpu_quota == 3


def test_v2_path_outside_the_namespace_leaves_the_mount(tree: MachineTree) -> None:
    tree.cgroup_v2("/../../other")
    tree.limit("", cpu_max="400000 100000")
    assert read_cgroup(tree.files()).cpu_quota == 4


def test_v2_cpuset_of_the_nearest_group_that_has_one(tree: MachineTree) -> None:
    tree.cgroup_v2("/pods/app")
    tree.limit("/pods", cpuset_cpus_effective="4-7", cpuset_mems_effective="1")
    cgroup = read_cgroup(tree.files())
    assert cgroup.cpus == {4, 5, 6, 7}
    assert cgroup.memory_nodes == {1}


def test_v1_with_one_hierarchy_per_controller(tree: MachineTree) -> None:
    tree.write("/proc/self/cgroup", "4:memory:/job\n3:cpuset:/job\n2:cpu,cpuacct:/job\n0::/")
    tree.write(
        "/proc/self/mountinfo",
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
        "34 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
    )
    tree.write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", -1)
    tree.write("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", 250000)
    tree.write("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", 100000)
    tree.write("/sys/fs/cgroup/cpuset/job/cpuset.effective_cpus", "0-1")
    tree.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", 9223372036854771712)
    tree.write("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", 8 * GIB)
    tree.write("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", 3 * GIB)
    tree.write("/sys/fs/cgroup/memory/job/memory.stat", f"total_inactive_file {GIB}")
    assert read_cgroup(tree.files()) == Cgroup(
        cpus=frozenset({0, 1}),
        memory_nodes=None,
        cpu_quota=2.5,
        memory_limit_bytes=8 * GIB,
        memory_headroom_bytes=6 * GIB,
    )
