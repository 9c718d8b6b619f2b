"""NVML's figures in base units; what a GPU does not tell is left out and named once."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from hetctl.bench.telemetry.gpu import QUESTIONS, GpuSource
from tests.probe.fake_nvml import FakeNvml

BUSY: dict[str, Any] = {
    "ClockInfo": {pynvml.NVML_CLOCK_SM: 1980, pynvml.NVML_CLOCK_MEM: 3201}.__getitem__,
    "PowerUsage": 412_500,
    "Temperature": lambda sensor: {pynvml.NVML_TEMPERATURE_GPU: 61}[sensor],
    "MemoryInfo": SimpleNamespace(total=150 << 30, free=100 << 30, used=50 << 30),
    "UtilizationRates": SimpleNamespace(gpu=97, memory=41),
    "TotalEnergyConsumption": 9_876_543_210,
    "CurrentClocksEventReasons": pynvml.nvmlClocksEventReasonSwPowerCap,
}


def without(*questions: str) -> dict[str, Any]:
    return {name: answer for name, answer in BUSY.items() if name not in questions}


def test_every_figure_comes_in_base_units() -> None:
    source = GpuSource([0], FakeNvml(BUSY))
    assert source.read() == pytest.approx(
        {
            "gpu0_sm_clock_hz": 1.98e9,
            "gpu0_memory_clock_hz": 3.201e9,
            "gpu0_power_w": 412.5,
            "gpu0_temperature_c": 61,
            "gpu0_memory_used_bytes": 50 << 30,
            "gpu0_busy_share": 0.97,
            "gpu0_memory_busy_share": 0.41,
            "gpu0_energy_j": 9_876_543.21,
            "gpu0_throttle_reasons": 4,
        }
    )
    assert set(source.columns) == {f"gpu0_{name}" for name in QUESTIONS}
    assert source.notes == ()


def test_gpus_are_numbered_as_nvml_numbers_them() -> None:
    source = GpuSource([1], FakeNvml(without("PowerUsage"), BUSY))
    assert source.read()["gpu1_power_w"] == 412.5
    assert not [column for column in source.columns if column.startswith("gpu0_")]


def test_what_is_not_supported_is_left_out_and_named_once() -> None:
    nvml = FakeNvml(without("UtilizationRates", "TotalEnergyConsumption"))
    source = GpuSource([0], nvml)
    left_out = {"gpu0_busy_share", "gpu0_memory_busy_share", "gpu0_energy_j"}
    assert left_out.isdisjoint(source.columns)
    for _ in range(3):
        assert set(source.read()) == set(source.columns)
    assert source.notes == (
        "GPU 0 does not tell busy_share, memory_busy_share, energy_j (Not Supported).",
    )


def test_older_drivers_tell_throttle_reasons_by_their_old_name() -> None:
    device = without("CurrentClocksEventReasons") | {"CurrentClocksThrottleReasons": 0x20}
    assert GpuSource([0], FakeNvml(device)).read()["gpu0_throttle_reasons"] == 0x20


def test_a_failure_during_the_run_leaves_a_gap_and_one_note() -> None:
    lost = pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
    answers: Iterator[Any] = iter([400_000, lost, lost, 300_000])
    source = GpuSource([0], FakeNvml({"PowerUsage": lambda: next(answers)}))
    readings = [dict(source.read()) for _ in range(3)]
    assert readings == [{}, {}, {"gpu0_power_w": 300.0}]
    (_, note) = source.notes
    assert note == f"gpu0_power_w failed during the run ({lost})."


def test_a_gpu_that_does_not_answer_leaves_the_others() -> None:
    source = GpuSource([0, 1], FakeNvml({"lost": True}, BUSY))
    assert {column[:4] for column in source.columns} == {"gpu1"}
    assert "GPU 0 was not sampled" in source.notes[0]


def test_without_a_driver_there_is_a_note_and_no_column() -> None:
    source = GpuSource([0], FakeNvml(init_error=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    assert source.columns == ()
    assert source.read() == {}
    assert "libnvidia-ml.so.1 is not installed" in source.notes[0]
    source.close()


def test_a_machine_without_gpus_is_not_asked_for_them() -> None:
    nvml = FakeNvml(init_error=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    assert GpuSource([], nvml).notes == ()


def test_nvml_is_closed() -> None:
    nvml = FakeNvml(BUSY)
    source = GpuSource([0], nvml)
    assert nvml.is_open
    source.close()
    assert not nvml.is_open


def test_every_question_is_one_that_the_bindings_have() -> None:
    asked = []

    class Recorder:
        NVMLError = pynvml.NVMLError

        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            assert hasattr(pynvml, name)
            if not name.startswith("nvml"):
                return getattr(pynvml, name)
            return lambda *_: (
                SimpleNamespace(used=1, gpu=1, memory=1)
                if "Rates" in name or ("Memory" in name)
                else 1
            )

    for ask in QUESTIONS.values():
        ask(Recorder(), None)
    assert "nvmlDeviceGetTotalEnergyConsumption" in asked
