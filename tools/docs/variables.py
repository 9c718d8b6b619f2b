"""The reference of the runtime's environment variables, from the table in its code."""

import re

from tools.docs.attribute_docs import one_line
from tools.docs.file_formats import prose
from vllm_hetero import env

PATH = "reference/variables.md"

_INTRODUCTION = """\
# Variables of the runtime

What the plugin reads from the environment, with or without hetctl. `hetctl serve --dry-run` prints
those that a plan sets; the rest go to the server as they are in the shell. The options of hetctl
itself have [variables](../configuration.md) that begin with `HETCTL_`, and vLLM has its own.

| variable | meaning |
| --- | --- |
{rows}
"""


def pages() -> dict[str, str]:
    rows = (f"| `{name}` | {prose(meaning)} |" for name, meaning in table().items())
    return {PATH: _INTRODUCTION.format(rows="\n".join(rows))}


def table() -> dict[str, str]:
    """Every variable with its meaning."""
    _, _, body, *_ = re.split(r"^=+ =+$", env.__doc__ or "", flags=re.MULTILINE)
    entries = re.findall(r"^(VLLM_\w+)\s+((?:.|\n(?!VLLM_))+)", body, re.MULTILINE)
    return {name: one_line(meaning) for name, meaning in entries}
