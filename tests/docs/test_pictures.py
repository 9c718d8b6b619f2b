"""The pictures are those that the script draws, and their figures those of the measurements."""

import re
import xml.etree.ElementTree as ET

import pytest

from tests.docs.blocks import ROOT
from tools.docs.draw_pictures import FOLDER, HYBRID_PARTS_MS, PICTURES, STEP_MS
from tools.docs.pictures import in_the_page


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_as_it_is_drawn(name: str) -> None:
    file = FOLDER / f"{name}.svg"
    assert file.read_text(encoding="utf-8") == PICTURES[name](), (
        "run: python tools/docs/draw_pictures.py"
    )
    ET.fromstring(file.read_text(encoding="utf-8"))


def test_no_picture_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.svg")} == set(PICTURES)
    shown = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    assert {name for name in PICTURES if f"images/{name}.svg" not in shown} == set()


def test_the_times_of_steps_are_those_of_the_measurement() -> None:
    page = (ROOT / "docs/results/runtime.md").read_text(encoding="utf-8")
    first = page[: page.index("An hour before")]
    measured = {
        (engine, int(sequences)): float(milliseconds)
        for engine, sequences, milliseconds in re.findall(
            r"^(hybrid|prefetch|gpu) +(\d+) +([\d.]+)ms", first, re.MULTILINE
        )
    }
    drawn = {(engine, n): ms for engine, by_n in STEP_MS.items() for n, ms in by_n.items()}
    assert drawn == measured
    parts = [f"{milliseconds}ms" for milliseconds in HYBRID_PARTS_MS.values()]
    assert re.search(r"hybrid +1 +35.4ms +" + " +".join(map(re.escape, parts)), first)


def test_a_picture_in_a_page_has_the_page_s_colours_and_its_description() -> None:
    page = '<p><img alt="Two &amp; three" src="../images/numa.svg"></p>'
    shown = in_the_page(page, str(ROOT / "docs"))
    assert '<svg role="img" aria-label="Two &amp; three"' in shown
    assert "<style>" not in shown
    assert "<img" not in shown
