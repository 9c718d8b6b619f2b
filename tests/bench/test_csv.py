"""One line per run."""

import io

import pandas as pd
import pytest

from hetctl.bench.csv import COLUMNS, to_csv
from hetctl.bench.telemetry.digest import Mark
from tests.bench import sample


def test_pandas_reads_every_run_with_its_figures() -> None:
    results = sample.results(model='org/a,"b"\nc')
    frame = pd.read_csv(io.StringIO(to_csv(results)))
    assert list(frame.columns) == list(COLUMNS)
    assert list(frame["configuration"]) == ["hybrid", "cpu", "gpu+prefetch"]
    assert list(frame["role"]) == ["plan", "baseline", "baseline"]
    assert set(frame["model"]) == {'org/a,"b"\nc'}
    assert frame["output_throughput"].tolist() == pytest.approx([100, 20, 80])
    assert frame["ttft_p99_s"][0] == pytest.approx(0.52 * 2.2)
    assert frame["itl_mean_s"].notna().all()
    assert pd.to_datetime(frame["started"])[0] == pd.Timestamp(sample.STARTED)


def test_telemetry_and_costs_are_columns_and_missing_ones_are_empty() -> None:
    sampled = sample.run("hybrid").model_copy(
        update={
            "telemetry_digest": sample.telemetry(
                marks=(Mark(kind="throttling", text="hot"), Mark(kind="foreign load", text="busy"))
            )
        }
    )
    frame = pd.read_csv(io.StringIO(to_csv(sample.results(runs=(sampled, sample.run("cpu"))))))
    first, second = frame.iloc[0], frame.iloc[1]
    assert first["gpu_joules_per_output_token"] == pytest.approx(1)
    assert first["gpu_temperature_max_c"] == 61
    assert first["foreign_cpu_share"] == pytest.approx(0.01)
    assert first["marks"] == "throttling: hot; foreign load: busy"
    for column in ("gpu_joules_per_output_token", "cpu_load_mean", "gpu_energy_j", "marks"):
        assert pd.isna(second[column])
