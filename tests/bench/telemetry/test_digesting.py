"""Figures of the load alone, and marks where a run cannot be believed."""

import pytest

from hetctl.bench.telemetry.digest import Mark
from hetctl.bench.telemetry.digesting import digest
from hetctl.bench.telemetry.record import Record

# Rows at 0 (idle), 1 (server), 2 to 6 (load). The load begins at 1 and takes 4 s.
PHASES = ("idle", "server", *["load"] * 5)


def record(**columns: list[float | None]) -> Record:
    return Record(
        times_s=tuple(float(t) for t in range(7)),
        phases=PHASES,
        columns={name: tuple(values) for name, values in columns.items()},
    )


def marks(**columns: list[float | None]) -> list[Mark]:
    found = digest(record(**columns), 4)
    assert found is not None
    return list(found.marks)


def test_only_the_load_counts() -> None:
    found = digest(
        record(
            cpu0_load=[0, 0, 1, 1, 0.5, 0.5, 0],
            cpu1_load=[0, 0, 0, 0, 0.5, 0.5, 0],
            memory_used_bytes=[9, 9, 1, 2, 3, 2, 9],
            gpu1_power_w=[0, 0, 100, 200, 300, 400, 900],
        ),
        4,
        ["a note"],
    )
    assert found is not None
    assert (found.samples, found.notes) == (4, ("a note",))
    assert found.cpu_load_mean == pytest.approx(0.5)
    assert found.memory_used_max_bytes == 3
    (gpu,) = found.gpus
    assert (gpu.index, gpu.power_mean_w) == (1, 250)
    assert gpu.temperature_max_c is None


def test_a_load_between_two_readings_still_has_one() -> None:
    found = digest(record(cpu0_load=[0, 0, 0.5, 1, 1, 1, 1]), 0.25)
    assert found is not None
    assert (found.samples, found.cpu_load_mean) == (1, 0.5)


def test_energy_is_what_the_counter_rose_by() -> None:
    counter: list[float | None] = [0, 1000, 1100, None, 1300, 1400, 9000]
    found = digest(record(gpu0_energy_j=counter, gpu0_power_w=[50.0] * 7), 3.5)
    assert found is not None
    assert found.gpus[0].energy_j == pytest.approx(350), "half of the last second counts"


def test_without_a_counter_energy_is_the_integral_of_power() -> None:
    found = digest(record(gpu0_power_w=[0, 0, 100, 200, 300, 400, 900]), 4)
    assert found is not None
    assert found.gpus[0].energy_j == pytest.approx(1000)


def test_a_load_that_was_not_recorded_has_no_digest() -> None:
    idle = Record((0.0, 1.0), ("idle", "server"), {"cpu0_load": (0.0, 1.0)})
    assert digest(idle, 4) is None


def test_a_quiet_run_has_no_mark() -> None:
    quiet = marks(
        cpu0_load=[1] * 7,
        foreign_cpus=[0.9, 0.9, 0.01, 0.0, 0.02, 0.01, 0.9],
        stolen_cpus=[0.0] * 7,
        gpu0_busy_share=[0.0, 0.5, 1, 1, 1, 1, 1],
        gpu0_throttle_reasons=[0x20, 0x20, 0x4, 0x1, 0x4, 0x0, 0x40],
        cpu_throttle_events=[3, 5, 5, 5, 5, 5, 9],
        cpu_frequency_hz=[1e9, 1e9, 3e9, 2.9e9, 2.8e9, 2.8e9, 1e9],
    )
    assert quiet == []


def test_foreign_load_is_marked_with_its_share_and_the_limit() -> None:
    (mark,) = marks(cpu0_load=[1] * 7, cpu1_load=[1] * 7, foreign_cpus=[0.3] * 7)
    assert mark.kind == "foreign load"
    assert "15% of the CPUs' time (limit 5%)" in mark.text
    (mark,) = marks(cpu0_load=[1] * 7, stolen_cpus=[0.2] * 7)
    assert "20%" in mark.text


def test_a_gpu_that_was_busy_before_is_foreign_load() -> None:
    (mark,) = marks(gpu0_busy_share=[0.4, 0, 1, 1, 1, 1, 1])
    assert mark.kind == "foreign load"
    assert "GPU 0 was 40% busy before the load began" in mark.text


def test_a_gpu_that_others_use_during_the_load_is_foreign_load() -> None:
    columns: dict[str, list[float | None]] = {"gpu1_foreign_busy_share": [0.9, 0.9, *[0.1] * 5]}
    (mark,) = marks(**columns)
    assert mark.kind == "foreign load"
    assert "other programs kept GPU 1 busy for 10% of the load (limit 5%)" in mark.text
    found = digest(record(**columns), 4)
    assert found is not None
    assert found.gpus[0].foreign_busy_mean == pytest.approx(0.1)
    assert marks(gpu1_foreign_busy_share=[0.9, 0.9, *[0.04] * 5]) == []


@pytest.mark.parametrize("reason", [0x8, 0x20, 0x40, 0x80])
def test_heat_and_the_power_brake_are_throttling(reason: int) -> None:
    (mark,) = marks(gpu0_throttle_reasons=[0, 0, reason | 0x4, 0, 0, 0, 0])
    assert mark.kind == "throttling"
    assert "25% of the time" in mark.text


def test_the_power_limit_is_told_but_not_marked() -> None:
    found = digest(record(gpu0_throttle_reasons=[0, 0, 4, 4, 0, 0, 0]), 4)
    assert found is not None
    assert found.marks == ()
    assert found.gpus[0].power_cap_share == 0.5


def test_a_cpu_that_slows_down_or_counts_heat_is_throttling() -> None:
    (mark,) = marks(cpu_frequency_hz=[1e9, 1e9, 3e9, 3e9, 2.5e9, 2.5e9, 3e9])
    assert "from 3.00 to 2.50 GHz" in mark.text
    (mark,) = marks(cpu_throttle_events=[0, 0, 0, 2, 2, 2, 2])
    assert mark.kind == "throttling"
