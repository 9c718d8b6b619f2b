import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from hetctl.cli.app import app
from hetctl.cli.machine_view import render_machine
from hetctl.machine import Core, Cpu, Gpu, Machine, NumaNode, PcieLink
from hetctl.units import GIB

_LINK = PcieLink(generation_now=1, width_now=16, generation_max=5, width_max=16)


def _machine(*, nodes: int = 2, gpus: int = 2) -> Machine:
    return Machine(
        hostname="box",
        fingerprint="0123456789ab",
        kernel="6.8.0",
        cpu=Cpu(
            model="Intel(R) Xeon(R) Platinum 8592+",
            sockets=2,
            logical_cpus_online=128,
            isa=("avx512f", "amx_bf16"),
        ),
        numa_nodes=tuple(
            NumaNode(
                id=node,
                cores=tuple(
                    Core(cpus=(cpu, cpu + 64), socket=node)
                    for cpu in range(32 * node, 32 * node + 32)
                ),
                memory_total_bytes=512 * GIB,
                memory_free_bytes=400 * GIB,
                distances={0: 10 if node == 0 else 21, 1: 10 if node == 1 else 21},
            )
            for node in range(nodes)
        ),
        gpus=tuple(
            Gpu(
                index=index,
                name="NVIDIA RTX 6000 Ada Generation",
                memory_total_bytes=48 * GIB,
                memory_free_bytes=47 * GIB,
                compute_capability=(8, 9),
                pcie=_LINK,
                numa_node=index,
                nvlink_peers=(1 - index,),
            )
            for index in range(gpus)
        ),
        notes=("A fact could not be found out [because].",),
    )


def _rendered(machine: Machine, width: int = 80) -> str:
    console = Console(width=width, highlight=False)
    with console.capture() as capture:
        console.print(render_machine(machine))
    return capture.get()


@pytest.mark.parametrize("width", [80, 120])
def test_every_fact_is_shown_within_the_width(width: int) -> None:
    text = _rendered(_machine(), width)
    for fact in (
        "box",
        "0123456789ab",
        "Platinum 8592+, 2 sockets",
        "64 cores, 128 of 128 CPUs",
        "amx_bf16",
        "0-31,64-95",
        "400 / 512 GiB",
        "21 10",
        "8.9",
        "47.0 / 48.0 GiB",
        "1.0 x16 / 5.0 x16",
        "NVLink",
        "[because]",
    ):
        assert fact in text
    assert max(len(line) for line in text.splitlines()) <= width


def test_rows_do_not_wrap_on_80_columns() -> None:
    lines = _rendered(_machine()).splitlines()
    assert any("RTX 6000 Ada" in line and "5.0 x16" in line for line in lines)


def test_columns_that_would_say_nothing_are_left_out() -> None:
    text = _rendered(_machine(nodes=1, gpus=0))
    for heading in ("Distances", "Huge pages", "GPU", "MIG", "NVLink"):
        assert heading not in text


def test_mig_and_huge_pages_get_a_column_where_there_are_any() -> None:
    machine = _machine()
    gpus = (machine.gpus[0].model_copy(update={"mig_enabled": True}), machine.gpus[1])
    pages = {"hugepages_total": 128, "hugepages_free": 100, "hugepage_size_bytes": 2 * 1024**2}
    nodes = (machine.numa_nodes[0].model_copy(update=pages), machine.numa_nodes[1])
    text = _rendered(machine.model_copy(update={"gpus": gpus, "numa_nodes": nodes}), 120)
    assert "MIG" in text
    assert "Huge pages" in text
    assert "100/128 x 2 MiB" in text


def test_limits_are_shown() -> None:
    machine = _machine()
    cpu = machine.cpu.model_copy(update={"cpu_quota": 1.5})
    text = _rendered(machine.model_copy(update={"cpu": cpu, "memory_limit_bytes": 64 * GIB}), 120)
    assert "1.5 CPUs of time" in text
    assert "limited to 64.0 GiB" in text


def test_json_is_the_document_and_nothing_else() -> None:
    result = CliRunner().invoke(app, ["probe", "--json"])
    assert result.exit_code == 0
    machine = Machine.parse(result.stdout, origin="stdout")
    assert machine.to_json() == result.stdout
    assert json.loads(result.stdout)["kind"] == "hetctl.machine"


def test_save_writes_the_document_and_keeps_stdout_clean(tmp_path: Path) -> None:
    file = tmp_path / "new" / "machine.json"
    result = CliRunner().invoke(app, ["probe", "--json", "--save", str(file)])
    assert result.exit_code == 0
    assert Machine.load(file).fingerprint == Machine.parse(result.stdout, "stdout").fingerprint
    assert str(file) in result.stderr
