"""Pictures as a part of the page that shows them.

A picture in a file of its own knows the system's colours, not those that the reader chose with
the page's switch. Its ``<style>`` is for the former; the site's style sheet takes its place.
"""

import html as markup
import re
from pathlib import Path

_IMAGE = re.compile(r'<img alt="([^"]*)" src="(?:\.\./)*(images/[\w-]+\.svg)"(?: ?/)?>')


def in_the_page(html: str, docs_folder: str) -> str:
    """The page with each SVG in place of the ``<img>`` that names it."""

    def picture(match: re.Match[str]) -> str:
        svg = (Path(docs_folder) / match[2]).read_text(encoding="utf-8")
        svg = re.sub(r"<style>.*?</style>\s*", "", svg, flags=re.DOTALL)
        label = markup.escape(markup.unescape(match[1]))
        return svg.strip().replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)

    return _IMAGE.sub(picture, html)
