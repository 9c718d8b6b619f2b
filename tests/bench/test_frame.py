"""Parquet where pyarrow is there, and a clear word where it is not."""

import importlib.util
import io

import pandas as pd
import pytest

from hetctl.bench import frame
from hetctl.bench.csv import COLUMNS
from hetctl.errors import UsageError
from tests.bench import sample


def test_the_frame_has_types() -> None:
    found = frame.to_frame(sample.results())
    assert list(found.columns) == list(COLUMNS)
    assert found["started"][0] == pd.Timestamp(sample.STARTED)
    assert found["output_throughput"].dtype == float


def test_without_pyarrow_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'hetctl\[parquet\]'"):
        frame.to_parquet(sample.results())


def test_parquet_is_read_back_as_it_was() -> None:
    pytest.importorskip("pyarrow", reason="the extra hetctl[parquet] is not installed")
    results = sample.results()
    found = pd.read_parquet(io.BytesIO(frame.to_parquet(results)))
    pd.testing.assert_frame_equal(found, frame.to_frame(results))
