"""Where a machine's runs are kept; apart from what reads them, as most machines have none."""

from pathlib import Path

from hetctl.cache import cache_folder


def runs_path(fingerprint: str) -> Path:
    """The file of the machines with this fingerprint."""
    return cache_folder() / "runs" / f"{fingerprint}.jsonl"
