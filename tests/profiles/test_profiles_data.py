import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hetctl.errors import HetctlError
from hetctl.profiles import data
from hetctl.profiles.data import CpuEntry, GpuEntry, load_cpu_data, load_gpu_data

_ROOT = Path(__file__).parents[2]


def _gpu_entry(name: str) -> GpuEntry | None:
    return next((entry for entry in load_gpu_data().gpu if entry.matches(name)), None)


def _cpu_entry(model: str) -> CpuEntry | None:
    return next((entry for entry in load_cpu_data().cpu if entry.matches(model)), None)


@pytest.mark.parametrize(
    ("name", "memory_gb_per_s", "bf16_tflops"),
    [
        ("NVIDIA H200", 4800, 989),
        ("NVIDIA H100 80GB HBM3", 3350, 989),
        ("NVIDIA H100 PCIe", 2000, 756),
        ("NVIDIA H100 NVL", 3900, 835),
        ("NVIDIA A100-SXM4-80GB", 2039, 312),
        ("NVIDIA A100 80GB PCIe", 1935, 312),
        ("NVIDIA A100-SXM4-40GB", 1555, 312),
        ("NVIDIA A100-PCIE-40GB", 1555, 312),
        ("NVIDIA L40S", 864, 362),
        ("NVIDIA L40", 864, 181),
        ("NVIDIA L4", 300, 121),
        ("NVIDIA A10", 600, 125),
        ("NVIDIA A10G", 600, 70),
        ("NVIDIA RTX A6000", 768, 154.8),
        ("NVIDIA RTX 6000 Ada Generation", 960, 364),
        ("NVIDIA GeForce RTX 5090", 1792, 209.5),
        ("NVIDIA GeForce RTX 5080", 960, 112.6),
        ("NVIDIA GeForce RTX 5070 Ti", 896, 87.9),
        ("NVIDIA GeForce RTX 4090", 1008, 165.2),
        ("NVIDIA GeForce RTX 4080", 716.8, 97.5),
        ("NVIDIA GeForce RTX 4070", 504, 58.3),
        ("NVIDIA GeForce RTX 4060 Ti", 288, 44.1),
        ("NVIDIA GeForce RTX 3090", 936, 71),
        ("NVIDIA GeForce RTX 3080", 760, 59.5),
        ("NVIDIA GeForce RTX 3060", 360, 25.5),
        ("Tesla T4", 320, 65),
        ("Tesla V100-SXM2-16GB", 900, 125),
        ("Tesla V100-PCIE-32GB", 900, 112),
    ],
)
def test_gpus_are_found_by_the_name_that_nvml_gives(
    name: str, memory_gb_per_s: float, bf16_tflops: float
) -> None:
    entry = _gpu_entry(name)
    assert entry is not None
    assert entry.memory_read_bytes_per_s == pytest.approx(memory_gb_per_s * 1e9)
    assert entry.matmul_bf16_flops == pytest.approx(bf16_tflops * 1e12)


@pytest.mark.parametrize(
    "name",
    ["NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA A100-10C", "NVIDIA GeForce RTX 4090 D", ""],
)
def test_a_name_that_only_resembles_a_gpu_is_not_taken_for_it(name: str) -> None:
    assert _gpu_entry(name) is None


@pytest.mark.parametrize(
    ("model", "gb_per_s_per_socket"),
    [
        ("Intel(R) Xeon(R) 6972P", 614.4),
        ("Intel(R) Xeon(R) 6787P", 409.6),
        ("INTEL(R) XEON(R) PLATINUM 8592+", 358.4),
        ("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", 307.2),
        ("Intel(R) Xeon(R) Gold 6430", 307.2),
        ("Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", 204.8),
        ("AMD EPYC 7R32", 204.8),
        ("AMD EPYC 7763 64-Core Processor", 204.8),
        ("AMD EPYC 9654 96-Core Processor", 460.8),
        ("AMD EPYC 9R14", 460.8),
        ("AMD EPYC 9965 192-Core Processor", 576),
        ("AMD Ryzen Threadripper PRO 5975WX 32-Cores", 204.8),
        ("AMD Ryzen Threadripper PRO 7995WX 96-Cores", 332.8),
        ("AMD Ryzen Threadripper 7980X 64-Cores", 166.4),
        ("AMD Ryzen 9 9950X 16-Core Processor", 89.6),
        ("AMD Ryzen 7 7800X3D 8-Core Processor", 83.2),
        ("AMD Ryzen 5 5600X 6-Core Processor", 51.2),
        ("12th Gen Intel(R) Core(TM) i7-12700K", 76.8),
        ("13th Gen Intel(R) Core(TM) i9-13900K", 89.6),
        ("Intel(R) Core(TM) i9-14900K", 89.6),
        ("ARM Neoverse-V2", 384),
    ],
)
def test_cpus_are_found_by_the_name_that_the_kernel_gives(
    model: str, gb_per_s_per_socket: float
) -> None:
    entry = _cpu_entry(model)
    assert entry is not None
    assert entry.memory_peak_bytes_per_s == pytest.approx(gb_per_s_per_socket * 1e9)


@pytest.mark.parametrize(
    "model", ["AMD EPYC", "Intel(R) Xeon(R) Processor", "Intel(R) Xeon(R) CPU @ 2.20GHz"]
)
def test_a_name_hidden_by_a_virtual_machine_is_in_no_entry(model: str) -> None:
    assert _cpu_entry(model) is None


def test_no_entry_is_hidden_by_an_earlier_one_with_the_same_name() -> None:
    for entries in (load_gpu_data().gpu, load_cpu_data().cpu):
        names = [entry.name for entry in entries]
        assert len(names) == len(set(names))


def test_the_wheel_puts_the_data_where_it_is_looked_for() -> None:
    pyproject = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    target = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]["profiles"]
    installed, checkout = data.data_folders()
    assert installed == _ROOT / target
    assert checkout == _ROOT / "profiles"


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(data, "data_folders", lambda: (tmp_path / "_profiles", tmp_path))
    load_gpu_data.cache_clear()
    yield tmp_path
    load_gpu_data.cache_clear()


def test_an_installed_copy_is_read_before_a_checkout(data_folder: Path) -> None:
    text = (_ROOT / "profiles" / "gpus.toml").read_text()
    (data_folder / "gpus.toml").write_text("broken")
    (data_folder / "_profiles").mkdir()
    (data_folder / "_profiles" / "gpus.toml").write_text(text)
    assert load_gpu_data().gpu


def test_missing_data_is_one_clear_sentence(data_folder: Path) -> None:
    with pytest.raises(HetctlError, match=r"gpus\.toml is missing from .*reinstall hetctl"):
        load_gpu_data()


@pytest.mark.parametrize(
    ("text", "words"),
    [("[[gpu", "not valid TOML"), ('[[gpu]]\nname = "("', "not a regular expression")],
)
def test_malformed_data_names_the_file(data_folder: Path, text: str, words: str) -> None:
    (data_folder / "gpus.toml").write_text(text)
    with pytest.raises(HetctlError, match=rf"gpus\.toml.*{words}"):
        load_gpu_data()
