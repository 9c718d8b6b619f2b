"""The Markdown report."""

from pathlib import Path

from hetctl.bench.markdown import to_markdown
from hetctl.bench.results import FailedRun, Skipped
from tests.bench import sample
from tests.bench.sample_folder import sweep_folder


def test_figures_ratios_and_environment_are_there() -> None:
    text = to_markdown(sample.results())
    assert "| Output tok/s | **100** (1.25x) | 20.0 (0.25x) | 80.0 |" in text
    assert "hybrid is 1.25x as fast as gpu+prefetch" in text
    assert "vLLM 0.26.0" in text
    assert "c0ffee" in text
    assert "    vllm serve org/tiny-8b" in text


def test_repeats_show_their_interval() -> None:
    runs = tuple(
        sample.run(name, repeat, sample.measurement(rate * factor))
        for repeat, factor in enumerate((0.9, 1.0, 1.1), 1)
        for name, rate in (("hybrid", 100), ("cpu", 20))
    )
    assert "**100 ± 24.8** (5.00x)" in to_markdown(sample.results(runs=runs, repeats=3))


def test_markup_in_names_and_messages_stays_text() -> None:
    text = to_markdown(
        sample.results(
            model="a|b<script>*x*",
            skipped=(Skipped(name="gpu", title="GPU", reason="no\n\n# room | at all"),),
            failed=(
                FailedRun(
                    configuration="cpu", repeat=2, point=None, phase="load", reason="<b>|", log="l"
                ),
            ),
        )
    )
    prose = [line for line in text.splitlines() if not line.startswith("    ")]
    assert not any("<script>" in line or "<b>" in line for line in prose)
    assert r"a\|b\<script\>\*x\*" in text
    assert r"not run, gpu: no \# room \| at all" in text


def test_every_table_line_has_as_many_cells_as_its_header() -> None:
    for block in to_markdown(sample.results(model="a|b")).split("\n\n"):
        if block.startswith("|"):
            cells = {line.replace(r"\|", "").count("|") for line in block.splitlines()}
            assert len(cells) == 1


def test_a_sweep_says_who_wins_at_which_load(tmp_path: Path) -> None:
    text = to_markdown(sweep_folder(tmp_path, (1, 64), repeats=2))
    assert "hybrid is fastest with 1 at a time" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| 64 at a time |")]
    assert line.split(" | ")[1:2] == ["gpu+prefetch"]
    assert "x to " in line
    assert "With 64 at a time, the most throughput:" in text
    assert "| GPU J/token |" in text
    assert "| Load | 4 requests" in text
    assert "| Load | 256 requests" in text
