"""The runs as a table for pandas, and as a Parquet file."""

import importlib.util
import io
from typing import TYPE_CHECKING

from hetctl.bench.csv import to_csv
from hetctl.bench.results import Results
from hetctl.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


def to_frame(results: Results) -> "pd.DataFrame":
    """One row per run, with the columns of ``results.csv`` and times as timestamps."""
    import pandas as pd

    frame = pd.read_csv(io.StringIO(to_csv(results)))
    frame["started"] = pd.to_datetime(frame["started"], utc=True)
    return frame


def to_parquet(results: Results) -> bytes:
    """The same as a Parquet file.

    Raises:
        UsageError: pyarrow is not installed.
    """
    require_pyarrow()
    return to_frame(results).to_parquet(None, engine="pyarrow", index=False)


def require_pyarrow() -> None:
    """Raise UsageError, with the remedy, where Parquet files cannot be written."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(
            "Writing Parquet needs the package pyarrow, which is not installed; run "
            "pip install 'hetctl[parquet]', or read results.csv."
        )
