"""Pages for files of the repository that the documentation links to.

A link such as ``[Dockerfile](../Dockerfile)`` is good where the documentation is read as files.
On the site it leads to a page that shows the file.
"""

import posixpath
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = "docs"
FOLDER = "repository"

_LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)\s#]+)(#[^)\s]*)?(?=\))")
_LANGUAGES = {".yml": "yaml", ".yaml": "yaml", ".py": "python", ".sh": "sh", ".toml": "toml"}
_PAGE = """\
---
search:
  exclude: true
---

# {name}

```{language} linenums="1"
{text}
```
"""


def pages(texts: Mapping[str, str]) -> dict[str, str]:
    """A page for each file that ``texts`` link to and for each that those pages link to.

    Args:
        texts: Markdown by path in the documentation.
    """
    found: dict[str, str] = {}
    waiting = [path for source, text in texts.items() for path in _outside(text, source)]
    while waiting:
        path = waiting.pop()
        if page_of(path) not in found:
            found[page_of(path)] = text = _page(path)
            waiting += _outside(text, page_of(path)) if path.endswith(".md") else []
    return found


def page_of(path: str) -> str:
    """Where the site has a file of the repository."""
    if path.startswith(f"{DOCS}/"):
        return path.removeprefix(f"{DOCS}/")
    return f"{FOLDER}/{path}" if path.endswith(".md") else f"{FOLDER}/{path}.md"


def with_pages(markdown: str, source: str, known: Mapping[str, str]) -> str:
    """The text with its links to files of the repository led to their pages.

    Args:
        source: The text's own path in the documentation.
        known: The pages that there are; other links stay, for MkDocs to complain about.
    """

    def page(match: re.Match[str]) -> str:
        path = _in_repository(match[1], source)
        there = path.startswith(f"{DOCS}/") or page_of(path) in known
        if not there or (path.startswith(f"{DOCS}/") and not source.startswith(f"{FOLDER}/")):
            return match[0]
        return posixpath.relpath(page_of(path), posixpath.dirname(source) or ".") + (match[2] or "")

    return _LINK.sub(page, markdown)


def _outside(text: str, source: str) -> list[str]:
    """Files of the repository, outside of the documentation, that a text links to."""
    paths = (_in_repository(match[1], source) for match in _LINK.finditer(text))
    return [path for path in paths if not path.startswith(f"{DOCS}/") and path in _tracked()]


def _in_repository(link: str, source: str) -> str:
    """The path of a link's target, from the repository's root."""
    if source.startswith(f"{FOLDER}/"):
        folder = posixpath.dirname(source.removeprefix(f"{FOLDER}/"))
    else:
        folder = posixpath.join(DOCS, posixpath.dirname(source))
    return posixpath.normpath(posixpath.join(folder, link))


@cache
def _tracked() -> frozenset[str]:
    """Only what git knows: nothing of a working copy gets onto the site by accident."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return frozenset(listed.stdout.splitlines())


def _page(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    language = _LANGUAGES.get(Path(path).suffix, "text")
    return _PAGE.format(name=f"`{path}`", language=language, text=text.rstrip())
