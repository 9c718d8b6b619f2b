"""What was chosen, in one line for the log."""

from vllm_hetero.cpu_linear.choice import FEW_ROWS, Table, describe
from vllm_hetero.cpu_linear.policy import LinearPolicy

_MIB = 1024**2


def summary(policy: LinearPolicy) -> str:
    """Which kernel for which rows, at what rate, and what second copies cost."""
    by_table: dict[Table, list[str]] = {}
    for (shape, table), layers in policy.layers.items():
        n, k, dtype = shape
        rates = policy.rates.get(shape, {}).get(table, {})
        few = [f"{rates[rows] / 1e9:.1f}" for rows in (1, FEW_ROWS) if rows in rates]
        measured = f" at {'/'.join(few)} GB/s" if few else ""
        name = str(dtype).removeprefix("torch.")
        by_table.setdefault(table, []).append(f"{layers} of {n}x{k} {name}{measured}")
    parts = [f"{describe(table)}: {', '.join(found)}" for table, found in by_table.items()]
    text = f"Linear kernels ({policy.mode}): {'; '.join(parts) or 'no layer'}"
    if policy.rates:
        text += f". Rates are for 1/{FEW_ROWS} rows; measuring took {policy.measured_s:.2f} s"
    if policy.second_copy_bytes:
        text += f". Second copies of weights take {policy.second_copy_bytes / _MIB:.0f} MiB"
        if policy.mode == "auto":
            text += f" of {policy.copy_limit_bytes / _MIB:.0f} MiB allowed"
    return f"{text}."
