"""The folder in which the ranks of an engine count and the API server reads.

The process that configures the engine makes it, tells the processes that it starts where it is,
and removes it at its end. Should it be killed, the engine's processes remove it.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from vllm_hetero import env
from vllm_hetero.metrics import record
from vllm_hetero.rank_map import RankMap, RankMapError

_RANKS = "ranks.json"


def make() -> Path:
    """The folder of the engine that this process configures; made at the first call."""
    given = os.environ.get(env.METRICS_DIR)
    if given and Path(given).is_dir():
        return Path(given)
    from vllm import envs

    # mkdtemp: only this user may enter it, and nobody can guess its name.
    folder = tempfile.mkdtemp(prefix="vllm_hetero-metrics-", dir=envs.VLLM_RPC_BASE_PATH)
    os.environ[env.METRICS_DIR] = folder
    atexit.register(_remove_at_exit, folder, os.getpid())
    return Path(folder)


def _remove_at_exit(folder: str, owner: int) -> None:
    """Not in a child that was forked."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def of_engine() -> str:
    """Where the ranks of the engine count that this process is a part of.

    Where nobody reads, because the engine was configured elsewhere, that is the engine's own
    folder.
    """
    return os.environ.get(env.METRICS_DIR) or os.environ[env.RUN_DIR]


def prepare(folder: str, ranks: RankMap) -> None:
    """Make the files of the ranks of an engine that is about to start."""
    (Path(folder) / _RANKS).unlink(missing_ok=True)
    for rank in ranks.ranks:
        record.create(folder, rank.rank)


def describe(folder: str, ranks: RankMap) -> None:
    """Tell readers which ranks there are, once all are ready."""
    new = Path(folder) / f".{_RANKS}"
    new.write_text(ranks.to_json(), encoding="utf-8")
    new.replace(Path(folder) / _RANKS)


def described(folder: Path) -> RankMap | None:
    """The ranks that :func:`describe` told of; None while there are none."""
    try:
        return RankMap.from_json((folder / _RANKS).read_text(encoding="utf-8"))
    except (OSError, RankMapError):
        return None
