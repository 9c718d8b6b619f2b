"""The report as a browser shows it: at both widths, in both themes, and on paper."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from hetctl.bench.html.page import to_html
from hetctl.bench.results import FailedRun, Skipped
from tests.bench.sample_folder import sweep_folder
from tests.browser import CONTRASTS, CUT_LABELS, OVERLAPS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Theme = Literal["light", "dark"]
LOOKS: list[tuple[int, Theme]] = [(400, "light"), (400, "dark"), (1200, "light"), (1200, "dark")]
PAPER = 688
"""Pixels between the margins of A4."""
LONG = "org/a-model-with-a-name-that-is-much-longer-than-any-sensible-name-of-a-model-would-be"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep, which has every section, with texts that are hard to place."""
    folder = tmp_path_factory.mktemp("report")
    results = sweep_folder(folder, (1, 8, 64), repeats=2)
    reason = "The GPU lacks 4.2 GiB of the 20.2 GiB that the model needs." * 3
    results = results.model_copy(
        update={
            "model": LONG,
            "skipped": (Skipped(name="gpu", title="GPU alone", reason=reason),),
            "failed": (
                FailedRun(
                    configuration="cpu",
                    repeat=1,
                    point="c8",
                    phase="load",
                    reason="x" * 200,
                    log="a.log",
                ),
            ),
        }
    )
    path = folder / "report.html"
    path.write_text(to_html(results, folder), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def page(browser: "Browser", report: Path) -> "Iterator[Page]":
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    yield page
    page.close()


def look(page: "Page", width: int, theme: Theme) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(media="screen", color_scheme=theme)


@pytest.mark.parametrize("width", [400, 1200])
def test_nothing_makes_the_page_scroll_sideways(page: "Page", width: int) -> None:
    look(page, width, "light")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # What is wider (tables) scrolls inside of its own box.
    outside = page.evaluate(
        """width => [...document.querySelectorAll('body *')].filter(one => {
            if (one.closest('.scroll') || one.closest('svg defs')) return false;
            const box = one.getBoundingClientRect();
            return box.width && box.right > width + 0.5;
        }).map(one => one.tagName + ' ' + one.className + ' ' + one.textContent.slice(0, 40))""",
        width,
    )
    assert outside == []


@pytest.mark.parametrize("width", [400, 1200])
def test_what_explains_a_table_does_not_scroll_away_with_it(page: "Page", width: int) -> None:
    look(page, width, "light")
    assert page.evaluate("document.querySelectorAll('caption, .scroll .caption').length") == 0
    assert page.evaluate("document.querySelectorAll('.card .caption').length") > 3


@pytest.mark.parametrize("width", [400, 1200])
def test_labels_of_a_chart_do_not_overlap(page: "Page", width: int) -> None:
    look(page, width, "light")
    assert page.evaluate(OVERLAPS, "figure svg") == []


def test_labels_stay_inside_of_their_chart(page: "Page") -> None:
    assert page.evaluate(CUT_LABELS, "figure svg") == []


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_all_text_can_be_read(page: "Page", width: int, theme: Theme) -> None:
    """4.5 is what WCAG asks for (AA)."""
    look(page, width, theme)
    contrasts: dict[str, float] = page.evaluate(CONTRASTS, "body *")
    assert len(contrasts) > 15
    assert {name: ratio for name, ratio in contrasts.items() if ratio < 4.5} == {}


def test_themes_differ_and_charts_follow(page: "Page") -> None:
    def colours() -> list[str]:
        return page.evaluate(  # type: ignore[no-any-return]
            "() => [getComputedStyle(document.body).backgroundColor,"
            " ...[...document.querySelectorAll('figure svg text')]"
            ".map(one => getComputedStyle(one).fill)]"
        )

    look(page, 1200, "light")
    light = colours()
    look(page, 1200, "dark")
    assert len(light) > 30
    assert all(a != b for a, b in zip(light, colours(), strict=True))


def test_nothing_is_empty(page: "Page") -> None:
    empty = page.evaluate(
        """() => [...document.querySelectorAll('section, article, figure, table, dd, h1, h2, h3')]
            .filter(one => !one.textContent.trim()
                || one.getBoundingClientRect().height < 8)
            .map(one => one.outerHTML.slice(0, 80))"""
    )
    assert empty == []
    undrawn = page.evaluate(
        """() => [...document.querySelectorAll('figure svg')].filter(svg =>
            ![...svg.querySelectorAll('path, use')].some(one =>
                getComputedStyle(one).stroke.startsWith('rgb') || one.tagName === 'use'))
            .map(svg => svg.getAttribute('aria-label'))"""
    )
    assert undrawn == []
    assert page.evaluate("document.querySelectorAll('figure svg').length") > 15


def test_a_printed_page_is_white_and_complete(page: "Page", report: Path) -> None:
    look(page, PAPER, "dark")
    page.emulate_media(media="print", color_scheme="dark")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(255, 255, 255)"
    contrasts: dict[str, float] = page.evaluate(CONTRASTS, "body *")
    assert {name: ratio for name, ratio in contrasts.items() if ratio < 4.5} == {}
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= PAPER
    pdf: Any = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")


def test_paper_shows_what_is_folded_on_the_screen(browser: "Browser", report: Path) -> None:
    page = browser.new_page(viewport={"width": PAPER, "height": 1000})
    page.goto(report.as_uri())
    hidden = """() => [...document.querySelectorAll('tbody tr, pre')]
        .filter(one => !one.checkVisibility()).length"""
    assert page.evaluate(hidden) > 10
    page.emulate_media(media="print")
    assert page.evaluate(hidden) == 0
    # No paper scrolls sideways.
    wide = page.evaluate(
        """width => [...document.querySelectorAll('table, pre, figure')]
            .filter(one => one.getBoundingClientRect().right > width + 0.5)
            .map(one => one.closest('section').id)""",
        PAPER,
    )
    assert wide == []
    page.close()


def test_the_browser_has_nothing_to_complain_about(browser: "Browser", report: Path) -> None:
    complaints: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: complaints.append(asked.url) if asked.url[:4] != "file" else 0)
    page.goto(report.as_uri())
    page.close()
    assert complaints == []
