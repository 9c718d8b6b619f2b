"""The terminal's table at 80 columns, in colour and piped."""

import io
import re

from rich.console import Console

from hetctl.bench.results import Results, Skipped
from hetctl.bench.table import comparison_report
from tests.bench import sample


def rendered(results: Results, width: int = 80, terminal: bool = False) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
        legacy_windows=False,
    )
    console.print(comparison_report(results, console))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row(text: str, title: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(title))


def test_piped_text_says_better_and_worse_without_colour() -> None:
    text = rendered(sample.results())
    assert "\x1b" not in text
    assert "1.25x ▲" in row(text, "Output tok/s")
    assert "0.25x ▼" in row(text, "Output tok/s")
    assert "0.21x ▼" in row(text, "TTFT p50")
    assert "gpu+prefetch, the fastest baseline" in text


def test_nothing_is_cut_at_80_columns() -> None:
    four = sample.PREFETCH.model_copy(update={"name": "gpu+uva"})
    configurations = (sample.HYBRID, sample.CPU, sample.PREFETCH, four)
    runs = tuple(sample.run(one.name) for one in configurations)
    for results in (sample.results(), sample.blank(*configurations, runs=runs)):
        text = rendered(results)
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= 80
        for configuration in results.configurations:
            assert configuration.name in text


def test_the_best_is_bold_and_colours_tell_the_outcome() -> None:
    text = rendered(sample.results(), terminal=True)
    line = row(text, "Output tok/s")
    assert re.search(r"\x1b\[1m\s*100\x1b\[0m", line)
    assert not re.search(r"\x1b\[1m\s*80\.0", line)
    assert "\x1b[32m  1.25x ▲" in line
    assert "\x1b[31m  0.25x ▼" in line


def test_one_configuration_has_no_ratio() -> None:
    text = rendered(sample.results(runs=(sample.run("hybrid"),)))
    assert "x ▲" not in text
    assert "Ratios" not in text


def test_what_was_skipped_is_told() -> None:
    skipped = Skipped(name="gpu", title="GPU alone", reason="Needs [20] GiB.")
    assert "skipped gpu: Needs [20] GiB." in rendered(sample.results(skipped=(skipped,)))


def test_what_a_token_costs_is_told_where_it_is_known() -> None:
    assert "J/token" not in rendered(sample.results())
    sampled = sample.run("hybrid").model_copy(update={"telemetry_digest": sample.telemetry()})
    text = rendered(sample.results(runs=(sampled, sample.run("cpu"))))
    assert row(text, "GPU J/token").split() == ["GPU", "J/token", "1.00"]
    assert row(text, "CPU J/token").split() == ["CPU", "J/token", "2.00"]
