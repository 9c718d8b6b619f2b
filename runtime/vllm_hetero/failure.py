"""How a rank that fails tells the engine why, and takes the engine down with it.

vLLM reports an exception of a worker only when the engine waits for that worker's reply.
In a pipeline it waits for the last stage, which waits for the failed one: nobody moves.
So a rank that fails writes its last words to a file and ends its process, which the
executor's monitor notices at once.
"""

import functools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar

from vllm_hetero import activity, env
from vllm_hetero.log import get_logger
from vllm_hetero.remedy import of_error

logger = get_logger(__name__)

EXIT_CODE = 70
"""Of a rank that failed: ``EX_SOFTWARE`` of sysexits.h."""

_Result = TypeVar("_Result")


class FailureBoard:
    """A folder in which each failed rank leaves one file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def at(cls, folder: str) -> Self:
        return cls(Path(folder))

    @classmethod
    def from_env(cls) -> Self | None:
        """The board of the run that this rank belongs to."""
        folder = os.environ.get(env.RUN_DIR)
        return cls(Path(folder)) if folder else None

    def post(self, rank: int, device: str, doing: str, error: BaseException) -> None:
        """Leave the words of ``rank``; never raises, as something already failed."""
        words = {
            "rank": rank,
            "device": device,
            "doing": doing,
            "error": in_one_line(error),
            "time_ns": time.monotonic_ns(),
        }
        temporary = self._folder / f".rank-{rank}"
        try:
            temporary.write_text(json.dumps(words), encoding="utf-8")
            temporary.rename(self._folder / f"rank-{rank}.json")
        except OSError as problem:
            logger.error("Cannot report the failure of rank %d: %s", rank, problem)

    def first(self) -> str | None:
        """One sentence on the rank that failed first, or None when none has."""
        posted = []
        for file in self._folder.glob("rank-*.json"):
            try:
                posted.append(json.loads(file.read_text(encoding="utf-8")))
            except (OSError, ValueError):
                continue
        if not posted:
            return None
        words = min(posted, key=lambda entry: entry["time_ns"])
        rank = f"Rank {words['rank']} ({words['device']})"
        error = words["error"]
        return f"{rank} failed in {words['doing']}: {error.rstrip('.')}; {of_error(error)}"


def in_one_line(error: BaseException) -> str:
    """An error's class and the first line of its message; torch appends its C++ stack."""
    message = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def end_the_engine(rank: int, device: str, doing: str, error: BaseException) -> NoReturn:
    """Leave last words and end this rank's process."""
    logger.exception("Rank %d (%s) failed in %s", rank, device, doing)
    if (board := FailureBoard.from_env()) is not None:
        board.post(rank, device, doing, error)
    traceback.clear_frames(error.__traceback__)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: shutting groups down would wait for peers that wait for us.
    os._exit(EXIT_CODE)


def ends_the_engine(method: Callable[..., _Result]) -> Callable[..., _Result]:
    """Decorate a worker method after whose failure the ranks no longer agree on their state.

    While it runs, the rank's :mod:`~vllm_hetero.activity` says so; when it raises, the whole
    engine ends at once. The worker must have ``rank_entry``, its
    :class:`~vllm_hetero.rank_map.Rank`.
    """

    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> _Result:
        record = activity.own()
        before = record.enter(method.__name__) if record is not None else b""
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            entry = self.rank_entry
            end_the_engine(entry.rank, entry.device, method.__name__, error)
        finally:
            if record is not None:
                record.leave(before)

    return guarded
