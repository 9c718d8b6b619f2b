import pytest

from hetctl.document import Figure
from hetctl.machine import Core, Cpu, Gpu, Machine, NumaNode, PcieLink
from hetctl.profiles import with_rates
from hetctl.units import GIB

_H200_BYTES = 150_754_820_096
_AMX = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")


def _node(node: int, cores: int, socket: int = 0) -> NumaNode:
    first = 1000 * node
    return NumaNode(
        id=node,
        cores=tuple(Core(cpus=(first + core,), socket=socket) for core in range(cores)),
        memory_total_bytes=128 * GIB,
        memory_free_bytes=120 * GIB,
    )


def _machine(
    *nodes: NumaNode,
    model: str = "Intel(R) Xeon(R) Processor",
    isa: tuple[str, ...] = _AMX,
    sockets: int = 1,
    quota: float | None = None,
    gpus: tuple[Gpu, ...] = (),
) -> Machine:
    cpu = Cpu(model=model, sockets=sockets, isa=isa, cpu_quota=quota)
    return Machine(cpu=cpu, numa_nodes=nodes, gpus=gpus)


def _gpu(name: str = "NVIDIA H200", memory: int = _H200_BYTES, **facts: object) -> Gpu:
    pcie = PcieLink(generation_now=1, width_now=16, generation_max=5, width_max=16)
    fields = {"pcie": pcie, "memory_total_bytes": memory, "memory_free_bytes": memory, **facts}
    return Gpu(index=0, name=name, **fields)  # type: ignore[arg-type]


def _gpu_rates(gpu: Gpu) -> tuple[Figure, Figure, Figure]:
    (rated,) = with_rates(_machine(_node(0, 1), gpus=(gpu,))).gpus
    assert rated.memory_read_bytes_per_s is not None
    assert rated.matmul_bf16_flops is not None
    assert rated.host_to_device_bytes_per_s is not None
    return (
        rated.memory_read_bytes_per_s,
        rated.matmul_bf16_flops,
        rated.host_to_device_bytes_per_s,
    )


def _memory(machine: Machine, node: int = 0) -> Figure:
    figure = with_rates(machine).numa_nodes[node].memory_read_bytes_per_s
    assert figure is not None
    return figure


def _matmul(machine: Machine, node: int = 0) -> Figure:
    figure = with_rates(machine).numa_nodes[node].matmul_bf16_flops
    assert figure is not None
    return figure


class TestGpu:
    def test_a_known_gpu_has_its_datasheets_figures(self) -> None:
        memory, matmul, _ = _gpu_rates(_gpu())
        assert (memory.value, memory.source) == (4.8e12, "datasheet")
        assert (matmul.value, matmul.source) == (989e12, "datasheet")
        assert "H200 SXM datasheet" in memory.note

    def test_pcie_5_x16_is_near_the_55_gb_per_s_measured_on_an_h200(self) -> None:
        copy = _gpu_rates(_gpu())[2]
        assert copy.value == pytest.approx(55e9, rel=0.05)
        assert copy.source == "estimate"
        assert "PCIe 5.0 x16" in copy.note

    def test_an_idle_links_lower_generation_does_not_count_but_fewer_lanes_do(self) -> None:
        link = PcieLink(generation_now=1, width_now=8, generation_max=4, width_max=8)
        assert _gpu_rates(_gpu(pcie=link))[2].value == pytest.approx(0.85 * 8 * 1.969e9)

    def test_an_unknown_link_is_assumed_to_be_slow(self) -> None:
        copy = _gpu_rates(_gpu(pcie=None))[2]
        assert copy.value == pytest.approx(0.85 * 16 * 0.985e9)
        assert "assumed" in copy.note

    def test_a_generation_of_the_future_counts_as_the_newest_known(self) -> None:
        link = PcieLink(generation_max=9, width_max=16)
        assert _gpu_rates(_gpu(pcie=link))[2].value == pytest.approx(0.85 * 16 * 7.563e9)

    def test_grace_hopper_copies_over_its_own_link(self) -> None:
        copy = _gpu_rates(_gpu("NVIDIA GH200 480GB", pcie=None))[2]
        assert copy.value > 300e9
        assert copy.source == "datasheet"

    def test_an_unknown_gpu_is_computed_from_clocks_and_widths(self) -> None:
        """With the H200's recorded facts this must give the H200's datasheet."""
        facts = {
            "compute_capability": (9, 0),
            "memory_bus_bits": 6016,
            "memory_clock_hz": 3_201_000_000,
            "cuda_cores": 16896,
            "sm_clock_hz": 1_980_000_000,
        }
        memory, matmul, _ = _gpu_rates(_gpu("NVIDIA H999", **facts))
        assert memory.value == pytest.approx(4.8e12, rel=0.01)
        assert matmul.value == pytest.approx(989e12, rel=0.1)
        assert {memory.source, matmul.source} == {"estimate"}
        assert "6016 bits x 3201 MHz" in memory.note

    def test_a_gpu_of_which_nothing_is_known_gets_a_low_guess(self) -> None:
        memory, matmul, _ = _gpu_rates(_gpu("NVIDIA H999"))
        assert memory.value <= 272e9
        assert matmul.value <= 25.5e12
        assert "low guess" in memory.note

    def test_a_mig_instance_gets_its_part_of_the_gpu(self) -> None:
        memory, matmul, _ = _gpu_rates(_gpu(memory=_H200_BYTES // 4, mig_enabled=True))
        assert memory.value == pytest.approx(4.8e12 / 4, rel=0.01)
        assert matmul.value == pytest.approx(989e12 / 4, rel=0.01)
        assert memory.source == "estimate"


class TestNode:
    def test_sixteen_hidden_cores_read_what_was_measured_on_such_a_machine(self) -> None:
        figure = _memory(_machine(_node(0, 16)))
        assert 85e9 <= figure.value <= 96e9
        assert figure.source == "estimate"
        assert "16 usable cores x 5.5 GB/s" in figure.note

    def test_sixteen_amx_cores_multiply_what_was_measured_on_such_a_machine(self) -> None:
        assert 2.5e12 <= _matmul(_machine(_node(0, 16))).value <= 4.4e12

    def test_a_whole_socket_reads_its_channels(self) -> None:
        figure = _memory(_machine(_node(0, 96), model="AMD EPYC 9654 96-Core Processor"))
        assert figure.value == pytest.approx(0.8 * 460.8e9)
        assert figure.source == "datasheet"

    def test_a_few_cores_of_a_known_socket_are_limited_by_the_cores(self) -> None:
        figure = _memory(_machine(_node(0, 4), model="AMD EPYC 9654 96-Core Processor"))
        assert figure.value == pytest.approx(4 * 7.2e9)
        assert figure.source == "estimate"

    def test_nodes_of_one_socket_share_its_channels(self) -> None:
        nodes = [_node(node, 48, socket=node // 2) for node in range(4)]
        machine = _machine(*nodes, model="AMD EPYC 9654", sockets=2)
        assert _memory(machine).value == pytest.approx(0.8 * 460.8e9 / 2)

    def test_a_node_whose_cpus_are_forbidden_keeps_its_channels(self) -> None:
        forbidden = _node(1, 0).model_copy(update={"logical_cpus_online": 48})
        machine = _machine(_node(0, 48), forbidden, model="AMD EPYC 9654")
        assert _memory(machine).value == pytest.approx(0.8 * 460.8e9 / 2)

    def test_a_node_of_memory_alone_takes_no_channels_and_has_no_rates(self) -> None:
        machine = _machine(_node(0, 96), _node(1, 0), model="AMD EPYC 9654")
        assert _memory(machine).value == pytest.approx(0.8 * 460.8e9)
        assert with_rates(machine).numa_nodes[1] == machine.numa_nodes[1]

    def test_a_quota_counts_as_that_many_cores(self) -> None:
        assert _memory(_machine(_node(0, 16), quota=4)).value == pytest.approx(4 * 5.5e9)
        assert _matmul(_machine(_node(0, 16), quota=4)).value == pytest.approx(4 * 1.6e11)

    def test_a_quota_is_shared_by_the_nodes(self) -> None:
        machine = _machine(_node(0, 12), _node(1, 4), quota=4)
        assert _memory(machine, 0).value == pytest.approx(3 * 5.5e9)

    def test_an_unknown_desktop_has_two_channels(self) -> None:
        figure = _memory(_machine(_node(0, 8), model="Some CPU"))
        assert figure.value == pytest.approx(0.8 * 51.2e9)
        assert figure.source == "estimate"
        assert "'Some CPU' is not in the data" in figure.note

    def test_better_instruction_sets_multiply_faster(self) -> None:
        sets = [(), ("avx2",), ("avx2", "avx512f"), ("avx2", "avx512f", "avx512_bf16"), _AMX]
        rates = [_matmul(_machine(_node(0, 8), isa=isa)).value for isa in sets]
        assert rates == sorted(rates)
        assert len(set(rates)) == len(rates)


def test_rates_that_are_there_are_kept() -> None:
    measured = Figure(value=123e9, source="measured")
    node = _node(0, 16).model_copy(update={"memory_read_bytes_per_s": measured})
    gpu = _gpu().model_copy(update={"host_to_device_bytes_per_s": measured})
    rated = with_rates(_machine(node, gpus=(gpu,)))
    assert rated.numa_nodes[0].memory_read_bytes_per_s == measured
    assert rated.gpus[0].host_to_device_bytes_per_s == measured
    assert rated.numa_nodes[0].matmul_bf16_flops is not None


def test_filling_in_twice_changes_nothing() -> None:
    once = with_rates(_machine(_node(0, 16), gpus=(_gpu(),)))
    assert with_rates(once) == once
    assert Machine.parse(once.to_json(), origin="test") == once
