"""A report is safe to open, whatever names and messages it tells of."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hetctl.bench.html.page import to_html
from hetctl.bench.results import FailedRun, Results, Skipped
from hetctl.errors import UsageError
from tests.bench import sample
from tests.bench.sample_folder import sweep_folder
from tests.bench.test_html import Page

EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'--></style></title></script><svg onload=alert(1)>",
)
RUNS_CODE = {"script", "img", "iframe", "object", "embed", "link", "base", "form", "foreignobject"}


def told_everything(results: Results) -> dict[str, Any]:
    """A document in which every kind of text is there."""
    failed = FailedRun(
        configuration="cpu", repeat=1, point=None, phase="load", reason="why", log="logs/a.log"
    )
    skipped = Skipped(name="gpu", title="GPU", reason="why")
    full = results.model_copy(update={"failed": (failed,), "skipped": (skipped,)})
    document: dict[str, Any] = json.loads(full.to_json())
    return document


def text_places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a document holds a text."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from text_places(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from text_places(inner, (*at, index))
    elif isinstance(value, str):
        yield at


def put(document: Any, at: tuple[Any, ...], text: str) -> str:
    """What was there before."""
    for key in at[:-1]:
        document = document[key]
    before, document[at[-1]] = document[at[-1]], text
    return str(before)


@pytest.fixture(scope="module")
def free_texts() -> list[list[tuple[Any, ...]]]:
    """Of the results' texts, like ones together, those that may be any: the schema takes them, and
    the report still finds its way. The others are dates, one of a few words, or names by which
    parts refer to each other."""
    document = told_everything(sample.results())
    alike: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for place in text_places(document):
        kind = tuple(key for key in place if not isinstance(key, int))
        alike.setdefault(kind, []).append(place)
    free = []
    for places in alike.values():
        before = [put(document, place, EVIL[0]) for place in places]
        try:
            to_html(Results.parse(json.dumps(document), "results.json"))
            free.append(places)
        except (UsageError, LookupError, ValueError, StopIteration):
            for place, text in zip(places, before, strict=True):
                put(document, place, text)
    return free


def assert_runs_nothing(html: str) -> None:
    page = Page(html)
    assert not {tag.lower() for tag, _ in page.tags} & RUNS_CODE
    handlers = [name for _, attrs in page.tags for name in attrs if name.lower().startswith("on")]
    assert handlers == []
    addresses = (*page.attributes("href"), *page.attributes("xlink:href"), *page.attributes("src"))
    assert all(value.startswith("#") for value in addresses)


@pytest.mark.parametrize("evil", EVIL)
def test_no_text_of_the_results_becomes_markup(
    evil: str, free_texts: list[list[tuple[Any, ...]]]
) -> None:
    document = told_everything(sample.results())
    for places in free_texts:
        for place in places:
            put(document, place, evil)
    html = to_html(Results.parse(json.dumps(document), "results.json"))
    assert len(free_texts) > 20
    assert html.count("alert(1)") > 20
    assert evil not in html
    assert_runs_nothing(html)


@pytest.mark.parametrize("evil", EVIL)
def test_no_name_becomes_markup_in_a_chart(evil: str, tmp_path: Path) -> None:
    results = sweep_folder(tmp_path)
    renamed = [
        one.model_copy(update={"title": evil, "why": evil}) for one in results.configurations
    ]
    told = results.model_copy(update={"configurations": tuple(renamed), "model": evil})
    html = to_html(told, tmp_path)
    assert "<svg" in html
    assert evil not in html
    assert_runs_nothing(html)


@pytest.mark.parametrize("evil", EVIL)
def test_what_names_files_and_elements_is_a_plain_word(evil: str) -> None:
    text = sample.results().to_json().replace('"hybrid"', json.dumps(evil))
    with pytest.raises(UsageError, match=r"field configurations\.0\.name"):
        Results.parse(text, "results.json")


def test_what_would_run_code_is_found() -> None:
    for bad in EVIL[:2]:
        with pytest.raises(AssertionError):
            assert_runs_nothing(f"<p>{bad}</p>")
    with pytest.raises(AssertionError):
        assert_runs_nothing("<svg onload='alert(1)'></svg>")
