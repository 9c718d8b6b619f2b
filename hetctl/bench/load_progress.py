"""How far the load generator is, read from what it prints."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

# vllm/benchmarks/serve.py prints these before its two tqdm bars. Should a later version
# word them differently, the bars stay at zero and the measurement is the same.
_WARMUP = "Warming up with"
_MAIN = "Starting main benchmark run"
_BAR = re.compile(r"\|\s*(\d+)/(\d+) \[")


@dataclass(frozen=True)
class LoadProgress:
    """Requests answered, out of how many, in this phase."""

    phase: Literal["prepare", "warm-up", "load"]
    done: int = 0
    total: int = 0


class LoadProgressReader:
    """Follows the generator's merged output, given to it in pieces of any size."""

    def __init__(self, on_progress: Callable[[LoadProgress], None]) -> None:
        self._on_progress = on_progress
        self._line = ""
        self._seen = LoadProgress("prepare")

    def feed(self, text: str) -> None:
        """Take the next piece of output; tqdm ends its lines with a carriage return."""
        *lines, self._line = re.split(r"[\r\n]", self._line + text)
        # A bar has no line end until the next one comes, so look at the open line, too.
        for line in (*lines, self._line):
            self._read(line)

    def _read(self, line: str) -> None:
        now = self._seen
        if _WARMUP in line:
            now = LoadProgress("warm-up")
        elif _MAIN in line:
            now = LoadProgress("load")
        elif bars := _BAR.findall(line):
            done, total = map(int, bars[-1])
            now = replace(now, done=done, total=total)
        if now != self._seen:
            self._seen = now
            self._on_progress(now)
