"""The line between a measuring process and whoever started it.

Commands: ``{"measure": NAME, ...arguments}``. Answers to each: ``{"samples": {...}}`` or
``{"error": SENTENCE}``. In between, a measurement of two processes says what the other one
needs (``{"say": VALUE}``), and may wait for a word.
"""

import json
import os
import select
import sys
from typing import Any


class Channel:
    """This process's end: standard input, and what was standard output at the start.

    From then on whatever prints to standard output lands on standard error.
    """

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def command(self) -> dict[str, Any] | None:
        """The next command; None when there will be no more."""
        line = sys.stdin.buffer.raw.readline()  # type: ignore[attr-defined]
        return json.loads(line) if line else None

    def word_came(self) -> bool:
        """Whether there is something to read, or the other end is gone."""
        return bool(select.select([sys.stdin], [], [], 0)[0])

    def answer(self, **fields: Any) -> None:
        """Send one line."""
        self._answers.write(json.dumps(fields) + "\n")
        self._answers.flush()
