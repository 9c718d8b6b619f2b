"""Figures whose colours are the page's: one chart serves the light, dark and printed page.

matplotlib writes fixed colours. The figures are therefore drawn in place-holder colours
which are then replaced by CSS variables.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES = 6
"""Colours that the page defines, ``--series-1`` ...; more configurations start over."""
WIDTH_IN = 4.5
_MARGINS_IN = (0.56, 0.42, 0.12, 0.24)
"""Left, bottom, right, top: numbers and a label, half a number, a unit."""

INK, MUTED, GRID = "#010101", "#020202", "#030303"
_PLACE_HOLDERS = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)"} | {
    f"#0a0a{i:02x}": f"var(--series-{i})" for i in range(1, SERIES + 1)
}
# Any: what rc_context takes differs between matplotlib versions' own type stubs.
_STYLE: Any = {
    # Text stays text: it can be selected, searched and scaled, and takes the page's font.
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.major.size": 0,
    "xtick.major.size": 0,
    "ytick.minor.size": 0,
    "xtick.minor.size": 0,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


@contextmanager
def chart_style() -> Iterator[None]:
    """Figures made inside are drawn in place-holder colours."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield


def new_figure(height_in: float, long_labels: bool = False) -> tuple["Figure", "Axes"]:
    """One chart of the usual width.

    Args:
        long_labels: labels of the vertical axis are names; finding out how much room they
            need takes as long as drawing. Numbers of up to seven digits have theirs.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained" if long_labels else None)
    if not long_labels:
        left, bottom, right, top = _MARGINS_IN
        figure.subplots_adjust(
            left / WIDTH_IN, bottom / height_in, 1 - right / WIDTH_IN, 1 - top / height_in
        )
    return figure, figure.add_subplot()


def place_holder(series: int) -> str:
    """The colour to draw the configuration at this place in."""
    return f"#0a0a{series % SERIES + 1:02x}"


def series_colour(series: int) -> str:
    """The CSS colour that it becomes."""
    return f"var(--series-{series % SERIES + 1})"


def to_svg(figure: "Figure", name: str, title: str) -> str:
    """The ``<svg>`` element alone; ids start with ``name``, for many figures share a page.

    Args:
        title: what screen readers call it.
    """
    import matplotlib as mpl
    from markupsafe import escape

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    # The page scales the chart; a fixed size would overflow a narrow one.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    label = f'role="img" aria-label="{escape(title)}"'
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', lambda m: f"{m[1]} {label}", svg, count=1)
    for holder, variable in _PLACE_HOLDERS.items():
        svg = svg.replace(holder, variable)
    return svg
