"""Machines by name: complete, sourced, and in line with the tables by device."""

from pathlib import Path

import pytest

from hetctl.document import Figure, FigureByRows
from hetctl.errors import HetctlError, UsageError
from hetctl.machine import Machine
from hetctl.planner import make_plan
from hetctl.profiles import machines, with_rates
from hetctl.profiles.data import load_gpu_data
from hetctl.profiles.machines import load_named_machine, machine_names
from hetctl.workload import Workload
from tests.planner.machines import model

NAMES = machine_names()
MEASURED = ("h200-box", "two-cores")


def figures(machine: Machine) -> list[Figure | FigureByRows]:
    parts = [*machine.gpus, *machine.numa_nodes]
    found = [getattr(part, name) for part in parts for name in type(part).model_fields]
    return [figure for figure in found if isinstance(figure, Figure | FigureByRows)]


def test_the_machines_that_users_have_are_there() -> None:
    assert set(NAMES) >= {
        *MEASURED,
        "rtx4090-ddr5",
        "rtx3090-ddr4",
        "l4-xeon",
        "l40s-xeon",
        "a100-epyc7003",
        "h100-2xspr",
        "2xrtx4090-threadripper",
        "8xh100-2xepyc9004",
        "gh200",
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_says_where_it_comes_from(name: str) -> None:
    found = figures(load_named_machine(name))
    assert found
    for figure in found:
        assert figure.note
        if name not in MEASURED:
            assert figure.source != "measured"
        if figure.source == "datasheet":
            assert figure.note.startswith("https://")


@pytest.mark.parametrize("name", NAMES)
def test_rates_are_complete_and_a_small_model_is_planned(name: str) -> None:
    where = load_named_machine(name)
    assert with_rates(where) == where
    plan = make_plan(where, model(8), Workload(max_model_len=2048))
    assert plan.machine_fingerprint == f"profile:{name}"
    assert plan.prediction.output_tokens_per_s > 1


@pytest.mark.parametrize("name", NAMES)
def test_gpu_figures_are_those_of_the_table_by_device(name: str) -> None:
    for gpu in load_named_machine(name).gpus:
        entry = next(entry for entry in load_gpu_data().gpu if entry.matches(gpu.name))
        assert gpu.memory_read_bytes_per_s is not None
        assert gpu.matmul_bf16_flops is not None
        assert gpu.memory_read_bytes_per_s.value == entry.memory_read_bytes_per_s
        assert gpu.matmul_bf16_flops.value == pytest.approx(entry.matmul_bf16_flops, rel=0.01)


def test_cores_are_numbered_once_and_sockets_apart() -> None:
    big = load_named_machine("8xh100-2xepyc9004")
    cpus = [cpu for node in big.numa_nodes for cpu in node.cpus]
    assert sorted(cpus) == list(range(256))
    assert [gpu.numa_node for gpu in big.gpus] == [0] * 4 + [1] * 4
    assert big.gpus[0].nvlink_peers == (1, 2, 3, 4, 5, 6, 7)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'rtx9999'.*known machines: .*gh200, .*rtx4090-ddr5"):
        load_named_machine("rtx9999")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title", "name", "lacks or misuses a field: 'title'"),
        ('source = "measured"', 'source = "hearsay"', "source"),
        ("rows = [1, 8,", "rows = [8, 1,", "rows must rise"),
        ("rows = [1, 8, 64]", "rows = [1, 8]", "2 rows have 3 values"),
        ("[cpu]", "[cpu", "not valid TOML"),
        ("value = 5.5e10", "value = -1.0", "greater than 0"),
    ],
)
def test_a_broken_file_is_named_with_the_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    folder = tmp_path / "machines"
    folder.mkdir()
    text = (machines._folder() / "h200-box.toml").read_text()
    assert old in text
    (folder / "broken.toml").write_text(text.replace(old, new, 1))
    monkeypatch.setattr(machines, "data_folders", lambda: (tmp_path,))
    with pytest.raises(HetctlError, match=message) as caught:
        load_named_machine("broken")
    assert "broken.toml" in str(caught.value)
