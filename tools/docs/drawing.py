"""Shapes of the pictures in ``docs/images``: SVG that is readable as text, 480 wide.

480 is the width of a phone's page, where a picture is not to be smaller than it was drawn by
much. Colours are classes: the file has its own for the system's light and dark, the site's style
sheet (``docs/assets/site.css``) has them for the page's.
"""

import math
from collections.abc import Iterable

WIDTH = 480

_STYLE = """\
<style>
    text { font: 15px system-ui, sans-serif; fill: #24292f }
    .small { font-size: 13px } .soft { fill: #57606a } .on { fill: #fff }
    .box { fill: none; stroke: #8c959f } .grid { stroke: #8c959f; stroke-opacity: .35 }
    .line { fill: none; stroke: #57606a; stroke-width: 1.5 } .tip { fill: #57606a }
    .gpu { fill: #00796b } .cpu { fill: #b45309 } .host { fill: #5b4bb7 }
    .idle { fill: #8c959f; fill-opacity: .25 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .soft { fill: #9da7b3 } .on { fill: #10151b } .box { stroke: #6e7681 }
      .line { stroke: #9da7b3 } .tip { fill: #9da7b3 }
      .gpu { fill: #4db6ac } .cpu { fill: #f0a84b } .host { fill: #a99bf0 }
    }
  </style>"""


def picture(height: float, shapes: Iterable[str]) -> str:
    """An SVG file."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="picture" viewBox="0 0 {WIDTH} {height:g}">'
    )
    body = "\n".join(f"  {line}" for shape in shapes for line in shape.splitlines())
    return f"{head}\n  {_STYLE}\n{body}\n</svg>\n"


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "") -> str:
    """One line of words; ``kind`` is of small, soft (less important) and on (on a colour)."""
    kinds = f' class="{kind}"' if kind else ""
    anchored = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:g}" y="{y:g}"{kinds}{anchored}>{words}</text>'


def box(x: float, y: float, width: float, height: float, kind: str, corner: float = 4) -> str:
    """A rectangle; ``kind`` is gpu, cpu, host, idle or box (an outline)."""
    return (
        f'<rect class="{kind}" x="{x:.4g}" y="{y:.4g}" width="{width:.4g}" height="{height:.4g}" '
        f'rx="{corner:g}"/>'
    )


def line(path: str, kind: str = "line") -> str:
    return f'<path class="{kind}" d="{path}"/>'


def tip(x: float, y: float, dx: float, dy: float) -> str:
    """An arrow's head that points to (x, y), in the direction (dx, dy) of length 1."""
    left = (x - 8 * dx - 4 * dy, y - 8 * dy + 4 * dx)
    right = (x - 8 * dx + 4 * dy, y - 8 * dy - 4 * dx)
    points = " ".join(f"{a:.4g},{b:.4g}" for a, b in ((x, y), left, right))
    return f'<polygon class="tip" points="{points}"/>'


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    length = math.hypot(x2 - x1, y2 - y1)
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    shaft = line(f"M{x1:g} {y1:g} L{x2 - 8 * dx:.4g} {y2 - 8 * dy:.4g}")
    return f"{shaft}\n{tip(x2, y2, dx, dy)}"
