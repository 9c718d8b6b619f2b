from machine_tree import MachineTree

from hetctl.machine import Gpu, NumaNode
from hetctl.probe.cgroup import Cgroup
from hetctl.probe.cpuinfo import read_processors
from hetctl.probe.numa import read_numa_nodes
from hetctl.probe.topology import read_topology
from hetctl.units import GIB


def _nodes(
    tree: MachineTree,
    *,
    usable: set[int] | None = None,
    cgroup: Cgroup | None = None,
    gpus: tuple[Gpu, ...] = (),
) -> tuple[dict[int, NumaNode], list[str]]:
    notes: list[str] = []
    files = tree.files()
    allowed = frozenset(tree.online if usable is None else usable)
    topology = read_topology(files, read_processors(files), allowed, [])
    nodes = read_numa_nodes(files, topology, cgroup or Cgroup(), gpus, notes)
    return {node.id: node for node in nodes}, notes


def _two_sockets_of_two_nodes(tree: MachineTree) -> None:
    """Sub-NUMA clustering: 2 sockets, 4 nodes, 8 cores with SMT."""
    for socket in (0, 1):
        tree.cores([(cpu, cpu + 8) for cpu in range(4 * socket, 4 * socket + 4)], socket=socket)
    distances = ("10 12 21 21", "12 10 21 21", "21 21 10 12", "21 21 12 10")
    for node, distance in enumerate(distances):
        first = 2 * node
        cpus = f"{first}-{first + 1},{first + 8}-{first + 9}"
        tree.node(node, cpus, total_gib=64, free_gib=60, distance=distance)
    tree.meminfo(256, 250)


def test_without_numa_the_machine_is_one_node(tree: MachineTree) -> None:
    tree.cores([(0,), (1,)])
    tree.meminfo(32, 24)
    nodes, notes = _nodes(tree)
    assert nodes[0].cpus == (0, 1)
    assert nodes[0].memory_total_bytes == 32 * GIB
    assert nodes[0].memory_free_bytes == 24 * GIB
    assert nodes[0].distances == {0: 10}
    assert "no NUMA topology" in notes[0]


def test_two_sockets_with_four_nodes(tree: MachineTree) -> None:
    _two_sockets_of_two_nodes(tree)
    nodes, notes = _nodes(tree)
    assert [len(node.cores) for node in nodes.values()] == [2, 2, 2, 2]
    assert [node.cores[0].socket for node in nodes.values()] == [0, 0, 1, 1]
    assert nodes[3].cpus == (6, 7, 14, 15)
    assert nodes[1].distances == {0: 12, 1: 10, 2: 21, 3: 21}
    assert nodes[0].memory_free_bytes == 60 * GIB
    assert notes == []


def test_a_container_with_two_cpus_keeps_the_count_of_the_others(tree: MachineTree) -> None:
    _two_sockets_of_two_nodes(tree)
    nodes, _ = _nodes(tree, usable={2, 10})
    assert [len(node.cores) for node in nodes.values()] == [0, 1, 0, 0]
    assert nodes[1].cpus == (2, 10)
    assert nodes[1].logical_cpus_online == 4


def test_page_cache_counts_as_free(tree: MachineTree) -> None:
    tree.cores([(0,), (1,)])
    tree.node(0, "0", 64, 10, page_cache_gib=30, distance="10 20")
    tree.node(1, "1", 64, 50, distance="20 10")
    tree.meminfo(128, 100)
    nodes, _ = _nodes(tree)
    assert nodes[0].memory_free_bytes == 40 * GIB


def test_the_cgroup_headroom_is_shared_by_the_nodes(tree: MachineTree) -> None:
    _two_sockets_of_two_nodes(tree)
    nodes, _ = _nodes(tree, cgroup=Cgroup(memory_headroom_bytes=24 * GIB))
    assert [node.memory_free_bytes for node in nodes.values()] == [6 * GIB] * 4


def test_a_node_that_the_cpuset_forbids_has_no_free_memory(tree: MachineTree) -> None:
    _two_sockets_of_two_nodes(tree)
    nodes, notes = _nodes(tree, cgroup=Cgroup(memory_nodes=frozenset({0, 1, 2})))
    assert nodes[3].memory_free_bytes == 0
    assert nodes[3].memory_total_bytes == 64 * GIB
    assert "forbids memory of NUMA node 3" in notes[0]


def test_a_single_node_believes_meminfo_on_a_growing_virtual_machine(tree: MachineTree) -> None:
    tree.cores([(0,)])
    tree.node(0, "0", total_gib=11, free_gib=10)
    tree.meminfo(24, 23)
    nodes, _ = _nodes(tree)
    assert nodes[0].memory_total_bytes == 24 * GIB
    assert nodes[0].memory_free_bytes == 23 * GIB


def test_several_nodes_that_hide_memory_are_noted(tree: MachineTree) -> None:
    tree.cores([(0,), (1,)])
    tree.node(0, "0", 10, 9, distance="10 20")
    tree.node(1, "1", 10, 9, distance="20 10")
    tree.meminfo(64, 60)
    nodes, notes = _nodes(tree)
    assert nodes[0].memory_free_bytes == 9 * GIB
    assert "20.0 GiB of the machine's 64.0 GiB" in notes[0]


def test_a_memory_only_node_is_kept_without_cores(tree: MachineTree) -> None:
    tree.cores([(0,)])
    tree.node(0, "0", 64, 60, distance="10 14")
    tree.node(2, "", 128, 120, distance="14 10")
    tree.meminfo(192, 180)
    nodes, _ = _nodes(tree)
    assert nodes[2].cores == ()
    assert nodes[2].memory_free_bytes == 120 * GIB
    assert nodes[0].distances == {0: 10, 2: 14}


def test_gpu_memory_is_not_host_memory(tree: MachineTree) -> None:
    """Grace Hopper: node 1 is the GPU's HBM, nodes 2 to 4 are reserved for MIG and empty."""
    tree.cores([(0,)])
    tree.node(0, "0", 480, 400, distance="10 80 80 80 80")
    tree.node(1, "", 96, 95, distance="80 10 255 255 255")
    for node in (2, 3, 4):
        tree.node(node, "", 0, 0, distance="80 255 255 255 255")
    tree.meminfo(576, 500)
    gpu = Gpu(
        index=0,
        name="NVIDIA GH200 480GB",
        memory_total_bytes=96 * GIB,
        memory_free_bytes=95 * GIB,
        memory_numa_node=1,
    )
    nodes, notes = _nodes(tree, gpus=(gpu,))
    assert list(nodes) == [0]
    assert nodes[0].memory_total_bytes == 480 * GIB
    assert nodes[0].memory_free_bytes == 400 * GIB
    assert notes == []


def test_huge_pages_of_the_size_that_holds_most(tree: MachineTree) -> None:
    tree.cores([(0,)])
    tree.node(0, "0", 64, 60)
    tree.meminfo(64, 60)
    # A lone node is read machine-wide, where the kernel keeps the same files.
    for size, total, free in ((2048, 100, 90), (1048576, 8, 3)):
        folder = f"/sys/kernel/mm/hugepages/hugepages-{size}kB"
        tree.write(f"{folder}/nr_hugepages", total)
        tree.write(f"{folder}/free_hugepages", free)
    nodes, _ = _nodes(tree)
    assert nodes[0].hugepage_size_bytes == GIB
    assert (nodes[0].hugepages_total, nodes[0].hugepages_free) == (8, 3)


def test_huge_pages_of_each_node(tree: MachineTree) -> None:
    tree.cores([(0,), (1,)])
    for node, distance in ((0, "10 20"), (1, "20 10")):
        tree.node(node, str(node), 64, 60, distance=distance)
    tree.huge_pages(1, 2048, 512, 500)
    tree.meminfo(128, 120)
    nodes, _ = _nodes(tree)
    assert (nodes[0].hugepages_total, nodes[1].hugepages_total) == (0, 512)
    assert nodes[1].hugepage_size_bytes == 2 * 1024**2
