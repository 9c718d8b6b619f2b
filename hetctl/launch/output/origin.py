"""Which process said a line, as its beginning tells.

vLLM's ``decorate_logs`` puts ``(NAME pid=N) `` before each line that one of its processes writes
through Python, and names a worker ``Worker_PP0_TP1``, with the dimensions that have more than one
rank. What C++ or a dying interpreter writes has no such prefix; some of torch's lines begin with
``[rank1]:``.
"""

import re
from typing import NamedTuple

_COLOUR = r"(?:\x1b\[[\d;]*m)*"
_PREFIX = re.compile(rf"{_COLOUR}\(([\w.:\-]{{1,64}}) pid=(\d{{1,10}})\){_COLOUR} ?", re.ASCII)
# Ranks of decode context (DCP) and expert parallelism (EP) are those of PP and TP, counted
# otherwise. With data or prefill context parallelism (DP, PCP) PP and TP do not tell the rank.
_WORKER = re.compile(
    r"Worker(?:_PP(?P<pp>\d+))?(?:_TP(?P<tp>\d+))?(?:_DCP\d+)?(?:_EP\d+)?", re.ASCII
)
_TORCH = re.compile(rf"{_COLOUR}\[rank(\d{{1,4}})\]:", re.ASCII)
_REMEMBERED = 1024
"""So many prefixes at most; a server has some twenty."""


class Origin(NamedTuple):
    """Who said a line; each None where the line does not tell."""

    process: str | None
    pid: int | None
    rank: int | None

    @property
    def is_unnamed_worker(self) -> bool:
        """A rank before it knows which one it is."""
        return self.process == "Worker" and self.rank is None


NOBODY = Origin(None, None, None)


class Origins:
    """Of an engine with stages of ``tensor_parallel_size`` ranks: rank = PP * size + TP."""

    def __init__(self, pipeline_parallel_size: int, tensor_parallel_size: int) -> None:
        self._pp_size = pipeline_parallel_size
        self._tp_size = tensor_parallel_size
        self._known: dict[str, Origin] = {}

    def of(self, text: str) -> tuple[Origin, int]:
        """Who said ``text``, and how many characters of it tell that."""
        if match := _PREFIX.match(text):
            prefix, at = match.group(), match.end()
            origin = self._known.get(prefix)
            if origin is None:
                name = match[1]
                origin = self._remember(prefix, Origin(name, int(match[2]), self._rank(name)))
        else:
            origin, at = NOBODY, 0
        if origin.rank is None and (match := _TORCH.match(text, at)):
            rank = int(match[1])
            if rank < self._pp_size * self._tp_size:
                return origin._replace(rank=rank), at
        return origin, at

    def _rank(self, process: str) -> int | None:
        match = _WORKER.fullmatch(process)
        if match is None:
            return None
        # vLLM names a dimension if it has more than one rank.
        if (match["pp"] is None) != (self._pp_size == 1):
            return None
        if (match["tp"] is None) != (self._tp_size == 1):
            return None
        pp, tp = int(match["pp"] or 0), int(match["tp"] or 0)
        return pp * self._tp_size + tp if pp < self._pp_size and tp < self._tp_size else None

    def _remember(self, prefix: str, origin: Origin) -> Origin:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[prefix] = origin
        return origin
