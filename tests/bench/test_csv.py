"""One line per run."""

import io

import pandas as pd
import pytest

from hetctl.bench.csv import COLUMNS, to_csv
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
