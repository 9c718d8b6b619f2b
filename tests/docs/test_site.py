"""The site: built without a warning, whole without a network, and good to look at.

How it looks is tested where there is a Chromium.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.browser import CONTRASTS, CUT_LABELS, OVERLAPS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
Theme = Literal["light", "dark"]
SEEN = (
    *("index", "quickstart", "when-it-helps", "concepts", "troubleshooting", "one-request"),
    *("ko/quickstart", "howto/two-sockets", "reference/commands/serve", "reference/files/plan"),
    *("results/runtime", "repository/Dockerfile"),
)
"""Pages that are looked at: one of each kind."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; the build must have nothing to say."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        # The theme's own notice, which is none of the build's warnings.
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert [line for line in said.splitlines() if line and not line.startswith("INFO")] == []
    return folder


def test_a_broken_link_or_a_forgotten_page_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# One\n[a](no.md) [b](index.md#no) [c](/no.md)\n")
    (tmp_path / "docs/forgotten.md").write_text("# Two\n")
    (tmp_path / "mkdocs.yml").write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nhooks: []\nnav: [index.md]\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=tmp_path,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    said = done.stdout + done.stderr
    for wrong in ("'no.md'", "'index.md#no'", "'/no.md'", "forgotten.md"):
        assert wrong in said


class Links(HTMLParser):
    """What a page links to and loads, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("link", "script", "img", "iframe", "source"):
            self.loaded += [given[name] for name in ("src", "href") if name in given]


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    return {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_link_and_every_anchor_is_there(pages: dict[Path, Links], site: Path) -> None:
    broken = []
    # 404.html is for a server that knows its address.
    for page, found in pages.items():
        for link in found.links if page.name != "404.html" else ():
            target, _, anchor = link.partition("#")
            if re.match(r"\w+:", target):
                continue
            path = (page.parent / target).resolve() if target else page
            where = f"{page.relative_to(site)}: {link}"
            if not path.is_file():
                broken.append(where)
            elif anchor and path.suffix == ".html" and anchor not in pages[path].anchors:
                broken.append(f"{where} (no such anchor)")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Links]) -> None:
    loaded = {link for found in pages.values() for link in found.loaded}
    assert len(loaded) > 5
    assert [link for link in loaded if re.match(r"(?:\w+:)?//", link)] == []


def test_each_command_and_each_file_has_its_page_in_the_navigation(site: Path) -> None:
    index = (site / "index.html").read_text(encoding="utf-8")
    for folder in ("commands", "files"):
        made = {path.name for path in (site / "reference" / folder).glob("*.html")}
        assert len(made) > 8
        listed = set(re.findall(rf'href="reference/{folder}/([^"]+\.html)"', index))
        assert listed == made


@pytest.fixture(scope="module")
def window(browser: "Browser") -> "Iterator[Page]":
    page = browser.new_page()
    yield page
    page.close()


def look(window: "Page", site: Path, name: str, width: int, theme: Theme) -> None:
    window.set_viewport_size({"width": width, "height": 900})
    window.emulate_media(color_scheme=theme, reduced_motion="reduce")
    window.goto((site / f"{name}.html").as_uri())


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("name", SEEN)
def test_nothing_makes_a_page_scroll_sideways(
    window: "Page", site: Path, name: str, width: int
) -> None:
    look(window, site, name, width, "light")
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    # What is wider (tables, code) scrolls inside of its own box.
    outside = window.evaluate(
        """width => [...document.querySelectorAll('article *')].filter(one => {
            if (one.closest('.md-typeset__scrollwrap, pre, svg defs')) return false;
            const box = one.getBoundingClientRect();
            return box.width && box.right > width + 0.5;
        }).map(one => one.tagName + ' ' + one.className + ' ' + one.textContent.slice(0, 40))""",
        width,
    )
    assert outside == []


@pytest.mark.parametrize("width", [400, 1280])
def test_the_labels_of_pictures_lie_inside_and_apart(
    window: "Page", site: Path, width: int
) -> None:
    shown = 0
    for name in ("index", "concepts", "when-it-helps", "one-request"):
        look(window, site, name, width, "light")
        shown += window.evaluate("document.querySelectorAll('svg.picture').length")
        assert window.evaluate(OVERLAPS, "svg.picture") == []
        assert window.evaluate(CUT_LABELS, "svg.picture") == []
    assert shown > 8


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", SEEN)
def test_the_text_of_a_page_can_be_read(
    window: "Page", site: Path, name: str, theme: Theme
) -> None:
    """4.5 is what WCAG asks for (AA). Of pages' own text: the frame around it, and the colours of
    code, are the theme's. What lies on a colour of a picture is tested below."""
    look(window, site, name, 1280, theme)
    own = "article *:not(.headerlink, .highlight *, svg .on, svg .on *)"
    contrasts: dict[str, float] = window.evaluate(CONTRASTS, own)
    assert contrasts
    assert {kind: contrast for kind, contrast in contrasts.items() if contrast < 4.5} == {}


def test_pictures_follow_the_page_s_own_switch(window: "Page", site: Path) -> None:
    look(window, site, "concepts", 1280, "light")

    def colours() -> list[str]:
        return window.evaluate(  # type: ignore[no-any-return]
            "() => [...document.querySelectorAll('svg.picture text, svg.picture .cpu')]"
            ".map(one => getComputedStyle(one).fill)"
        )

    light = colours()
    window.evaluate("document.body.setAttribute('data-md-color-scheme', 'slate')")
    assert len(light) > 50
    assert all(a != b for a, b in zip(light, colours(), strict=True))


def test_search_finds_words_where_pages_are_opened_as_files(window: "Page", site: Path) -> None:
    asked: list[str] = []
    window.on("request", lambda request: asked.append(request.url))
    look(window, site, "index", 1280, "light")
    for words, page in (("VLLM_HETERO_HOP", "variables"), ("레이어", "ko/")):
        window.fill(".md-search__input", words)
        # The search waits for a key to be released, which filling does not do.
        window.press(".md-search__input", "Shift")
        link = window.locator(f".md-search-result__link[href*='{page}']")
        link.first.wait_for(timeout=15_000)
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
