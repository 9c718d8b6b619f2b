import pytest
from machine_tree import MachineTree

from hetctl.machine import Cache, Cpu
from hetctl.probe.cpu import read_cpu
from hetctl.probe.cpuinfo import read_processors
from hetctl.probe.topology import Topology, read_topology

_SAPPHIRE_RAPIDS = (
    "fpu sse4_2 avx2 avx512f avx_vnni avx512_bf16 avx512_vnni amx_bf16 avx512_fp16 amx_tile "
    "amx_int8"
)


def _topology(tree: MachineTree, usable: set[int], notes: list[str]) -> Topology:
    return read_topology(tree.files(), read_processors(tree.files()), frozenset(usable), notes)


def _cpu(tree: MachineTree, fallback: frozenset[str] | None = None) -> tuple[Cpu, list[str]]:
    def fallback_flags() -> frozenset[str]:
        if fallback is None:
            pytest.fail("py-cpuinfo is slow and must not be asked here")
        return fallback

    notes: list[str] = []
    topology = _topology(tree, set(tree.online), [])
    processors = read_processors(tree.files())
    cpu = read_cpu(tree.files(), processors, topology, "x86_64", None, fallback_flags, notes)
    return cpu, notes


def test_smt_siblings_form_one_core(tree: MachineTree) -> None:
    tree.cores([(0, 2), (1, 3)])
    cores = _topology(tree, {0, 1, 2, 3}, []).cores
    assert [core.cpus for core in cores] == [(0, 2), (1, 3)]


def test_without_smt_each_cpu_is_a_core(tree: MachineTree) -> None:
    tree.cores([(0,), (1,)])
    assert [core.cpus for core in _topology(tree, {0, 1}, []).cores] == [(0,), (1,)]


def test_only_the_usable_sibling_is_in_a_core(tree: MachineTree) -> None:
    tree.cores([(0, 2), (1, 3)])
    assert [core.cpus for core in _topology(tree, {3}, []).cores] == [(3,)]


def test_offline_cpus_are_not_usable_even_if_affinity_names_them(tree: MachineTree) -> None:
    tree.cores([(0,), (1,)])
    topology = _topology(tree, {0, 1, 2, 3}, [])
    assert topology.online == (0, 1)
    assert [core.cpus for core in topology.cores] == [(0,), (1,)]


def test_sockets_are_numbered_without_gaps(tree: MachineTree) -> None:
    tree.cores([(0,)], socket=36)
    tree.cores([(1,)], socket=8228)
    topology = _topology(tree, {0, 1}, [])
    assert topology.sockets == 2
    assert [core.socket for core in topology.cores] == [0, 1]


def test_cpuinfo_gives_the_cores_where_sys_has_no_topology(tree: MachineTree) -> None:
    tree.cores([(0,), (1,)], sysfs=False)
    tree.cpuinfo({"physical id": "0", "core id": "5", "flags": "avx2"}, count=2)
    notes: list[str] = []
    assert [core.cpus for core in _topology(tree, {0, 1}, notes).cores] == [(0, 1)]
    assert notes == []


def test_an_invisible_topology_is_noted(tree: MachineTree) -> None:
    tree.cores([(0,), (1,)], sysfs=False)
    notes: list[str] = []
    assert len(_topology(tree, {0, 1}, notes).cores) == 2
    assert "topology is not visible" in notes[0]


def test_instruction_sets_come_in_a_fixed_order(tree: MachineTree) -> None:
    tree.cores([(0,)])
    tree.cpuinfo(
        {
            "vendor_id": "GenuineIntel",
            "model name": "Intel(R)  Xeon(R) X",
            "flags": _SAPPHIRE_RAPIDS,
        }
    )
    cpu, notes = _cpu(tree)
    assert cpu.isa == (
        "avx2",
        "avx512f",
        "avx512_bf16",
        "avx512_vnni",
        "avx_vnni",
        "amx_tile",
        "amx_bf16",
        "amx_int8",
    )
    assert (cpu.model, cpu.vendor) == ("Intel(R) Xeon(R) X", "GenuineIntel")
    assert notes == []


def test_arm_has_features_instead_of_flags(tree: MachineTree) -> None:
    tree.cores([(0,)])
    tree.cpuinfo(
        {
            "Features": "fp asimd asimddp sve bf16 i8mm",
            "CPU implementer": "0x41",
            "CPU part": "0xd4f",
        }
    )
    cpu, notes = _cpu(tree)
    assert cpu.isa == ("asimd", "asimddp", "bf16", "i8mm", "sve")
    assert (cpu.model, cpu.vendor) == ("ARM Neoverse-V2", "ARM")
    assert notes == []


def test_an_unknown_arm_core_keeps_its_numbers(tree: MachineTree) -> None:
    tree.cores([(0,)])
    tree.cpuinfo({"Features": "asimd", "CPU implementer": "0x99", "CPU part": "0x001"})
    assert _cpu(tree)[0].model == "ARM core 0x99/0x001"


def test_py_cpuinfo_is_asked_where_the_kernel_lists_no_flags(tree: MachineTree) -> None:
    tree.cores([(0,)])
    tree.cpuinfo({"model name": "Some CPU"})
    cpu, _ = _cpu(tree, fallback=frozenset({"avx2"}))
    assert cpu.isa == ("avx2",)


def test_unknown_instruction_sets_and_name_are_noted(tree: MachineTree) -> None:
    tree.cores([(0,)])
    cpu, notes = _cpu(tree, fallback=frozenset())
    assert cpu.model == "unknown x86_64 CPU"
    assert ["instruction sets" in note or "model name" in note for note in notes] == [True, True]


def test_shared_caches_count_once(tree: MachineTree) -> None:
    tree.cores([(0, 2), (1, 3)])
    for cpu, siblings in {0: "0,2", 2: "0,2", 1: "1,3", 3: "1,3"}.items():
        tree.cache(cpu, 0, 1, "Data", "48K", siblings)
        tree.cache(cpu, 3, 3, "Unified", "32M", "0-3")
    assert _cpu(tree, fallback=frozenset())[0].caches == (
        Cache(level=1, kind="data", size_bytes=48 * 1024, instances=2),
        Cache(level=3, kind="unified", size_bytes=32 * 1024**2, instances=1),
    )
