"""Runs a script that tries the real kernels in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def results(script: str, *arguments: str, **env: str) -> dict[str, dict[str, Any]]:
    """What a script of this folder found, by case: its lines after ``RESULT``."""
    result = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **env},
    )
    assert result.returncode == 0, result.stderr[-4000:]
    lines = [line[7:] for line in result.stdout.splitlines() if line.startswith("RESULT ")]
    return {found["case"]: found for found in map(json.loads, lines)}
