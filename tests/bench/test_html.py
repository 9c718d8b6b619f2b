"""The HTML report: complete, self-contained, and safe to open."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hetctl.bench.html.page import to_html
from hetctl.bench.html.ranks import segments
from hetctl.bench.results import FailedRun, Outside, Results, Skipped
from hetctl.units import GIB
from tests.bench import sample
from tests.bench.sample_folder import sweep_folder

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Collects elements, attributes and text, and checks that elements nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data

    def attributes(self, name: str) -> list[str]:
        return [value for _, attrs in self.tags if (value := attrs.get(name)) is not None]


@pytest.fixture(scope="module")
def html() -> str:
    return to_html(sample.results())


def test_sections_come_in_reading_order(html: str) -> None:
    sections = [attrs["id"] for tag, attrs in Page(html).tags if tag == "section"]
    assert sections == ["summary", "comparison", "charts", "plans", "environment", "runs"]


def test_the_page_asks_for_nothing_from_anywhere(html: str) -> None:
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "image"}
    for name in ("src", "href", "xlink:href", "srcset"):
        assert all(value.startswith("#") for value in page.attributes(name))
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    # Names of XML namespaces are the only addresses, and no browser fetches those.
    rest = re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)
    assert not re.search(r"https?://", rest)


def test_names_and_messages_cannot_bring_markup() -> None:
    evil = "<script>alert('x')</script>"
    configuration = sample.HYBRID.model_copy(
        update={
            "title": evil,
            "why": evil,
            "command": sample.command().model_copy(update={"argv": ("vllm", evil)}),
        }
    )
    results = sample.blank(
        configuration,
        sample.CPU,
        model=evil,
        runs=(sample.run("hybrid", 1, sample.measurement(errors=(evil,), failed=1)),),
        skipped=(Skipped(name="gpu", title=evil, reason=evil),),
        failed=(
            FailedRun(
                configuration="cpu", repeat=1, point=None, phase="load", reason=evil, log=evil
            ),
        ),
    )
    html = to_html(results)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 7
    assert not [tag for tag, _ in Page(html).tags if tag == "script"]


def test_six_charts_share_the_page_without_sharing_ids(html: str) -> None:
    page = Page(html)
    assert sum(tag == "svg" for tag, _ in page.tags) == 6
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    used = re.findall(r"url\(#([^)]+)\)", html) + [
        value[1:] for value in page.attributes("xlink:href")
    ]
    assert used
    assert set(used) <= set(ids)


def test_charts_take_their_colours_from_the_page(html: str) -> None:
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        assert "var(--series-1)" in svg
        assert "var(--ink)" in svg
        assert not re.search(r"#0[0-9a-f]0[0-9a-f]{3}", svg), "a place-holder was left"
    for name in set(re.findall(r"var\((--[\w-]+)\)", html)):
        assert re.search(rf"{name}:", html), f"{name} is not defined"


def test_dark_print_and_narrow_pages_are_provided_for(html: str) -> None:
    assert "@media (prefers-color-scheme: dark)" in html
    assert "@media print" in html
    assert 'name="viewport"' in html
    assert not re.search(r"<svg[^>]* width=", html)


def test_summary_names_winner_factor_and_load(html: str) -> None:
    summary = Page(html).text.partition("Side by side")[0]
    assert "hybrid is 1.25x as fast as gpu+prefetch" in summary
    assert "32 requests of 512 + 128 tokens, 8 at a time" in summary
    assert "no confidence interval" in summary


def test_the_plan_is_shown_with_memory_and_its_prediction_checked(html: str) -> None:
    plans = Page(html).text.partition("What ran")[2].partition("Environment")[0]
    assert "Rank 1 on cuda:0: layers 8 to 31" in plans
    assert "weights 12.0 GiB" in plans
    assert "15.0 GiB of 22.0 GiB" in plans
    assert "+14%" in plans, "TTFT was planned as 0.5 s and measured as 0.572 s on average"


def test_a_prediction_for_another_load_says_so() -> None:
    def page(results: Results) -> str:
        return to_html(results)

    other = sample.results().offered_load.model_copy(update={"input_len": 2048})
    assert "made for another load" not in page(sample.results())
    assert "made for another load" in page(sample.results(loads=(other,)))


def test_results_without_a_run_can_still_be_shown() -> None:
    page = Page(to_html(sample.blank(interrupted=True)))
    assert "Nothing was measured" in page.text


def test_memory_segments_are_shares_of_one_scale() -> None:
    parts = segments(sample.rank(0, "cuda:0", (0, 16), 16), 32 * GIB)
    assert sum(part.percent for part in parts) == pytest.approx(50)
    assert parts[0].percent == pytest.approx(25)
    assert [part.name for part in parts][-1] == "free"


def test_an_overfull_rank_has_nothing_free() -> None:
    parts = segments(sample.rank(0, "cuda:0", (0, 16), 4), 32 * GIB)
    assert "free" not in [part.name for part in parts]


def test_a_sweep_shows_who_wins_where_and_all_that_was_sampled(tmp_path: Path) -> None:
    results = sweep_folder(tmp_path, (1, 8, 64), repeats=2)
    page = Page(to_html(results, tmp_path))
    sections = [attrs["id"] for tag, attrs in page.tags if tag == "section"]
    assert sections == [
        "summary",
        "curves",
        "comparison",
        "charts",
        "distributions",
        "plans",
        "machine",
        "environment",
        "runs",
    ]
    summary = page.text.partition("Over load")[0]
    assert "hybrid is fastest from 1 to 8 at a time" in summary
    assert "gpu+prefetch is fastest with 64 at a time" in summary
    charts = page.attributes("aria-label")
    for title in (
        "Output tokens per second against Time per output token, p50",
        "GPU energy per output token over load",
        "Share of what memory bandwidth allows over load",
        "Time to first token: share of requests",
        "Foreign CPU load over time",
    ):
        assert title in charts
    assert "No RAPL here." in page.text
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))


def test_a_configuration_keeps_its_colour_where_another_was_not_measured(tmp_path: Path) -> None:
    html = to_html(sweep_folder(tmp_path, (1, 64), repeats=1), tmp_path)
    bars = re.search(r'<svg[^>]*aria-label="Output tokens per second".*?</svg>', html, re.DOTALL)
    assert bars is not None
    assert set(re.findall(r"--series-\d", bars[0])) == {"--series-1", "--series-3"}


def test_without_its_files_a_report_lacks_only_what_is_drawn_from_them(tmp_path: Path) -> None:
    results = sweep_folder(tmp_path, (8,), repeats=1)
    for file in (*tmp_path.glob("raw/*"), *tmp_path.glob("telemetry/*")):
        file.write_text("damaged")
    for page in (Page(to_html(results, tmp_path)), Page(to_html(results))):
        sections = [attrs["id"] for tag, attrs in page.tags if tag == "section"]
        assert "distributions" not in sections
        assert "machine" in sections
        assert not [one for one in page.attributes("aria-label") if "over time" in one]


def test_an_engine_from_outside_says_so(tmp_path: Path) -> None:
    outside = Outside(engine="<llama.cpp>", model_name="m", url="http://other:8080")
    engine = sample.CPU.model_copy(update={"plan": None, "command": None, "outside": outside})
    runs = sample.run("hybrid"), sample.run("cpu").model_copy(update={"server_log": None})
    page = Page(to_html(sample.blank(sample.HYBRID, engine, runs=runs), tmp_path))
    assert "Not started by hetctl: <llama.cpp>, measured at http://other:8080, as m." in page.text
