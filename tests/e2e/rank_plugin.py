"""A vLLM plugin that makes ranks fail on purpose, installed for one server only."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

_LINES = """
from pathlib import Path

def register():
    from vllm_hetero import env
    if env.role() == "engine":
        return
    armed = Path({trigger!r}).exists
"""


@dataclass(frozen=True)
class RankPlugin:
    """What the server's environment needs, and the file that sets the failure off."""

    env: dict[str, str]
    trigger: Path


def rank_plugin(folder: Path, body: str) -> RankPlugin:
    """Install ``body``, which runs in each rank before its worker is made.

    It can call ``armed()``: whether the trigger exists.
    """
    trigger = folder / "fail-now"
    package = folder / "plugin"
    info = package / "failing_rank-1.0.dist-info"
    info.mkdir(parents=True)
    lines = _LINES.format(trigger=str(trigger)) + textwrap.indent(textwrap.dedent(body), "    ")
    (package / "failing_rank.py").write_text(lines)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: failing-rank\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[vllm.general_plugins]\nfailing_rank = failing_rank:register\n"
    )
    return RankPlugin({"PYTHONPATH": str(package)}, trigger)
