"""Pages of metrics are read, and what is none is refused in a sentence."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetctl.errors import HetctlError
from hetctl.top.samples import parse
from tests.top.pages import page

TWO_SERIES = """
# HELP a A counter.
# TYPE a counter
a_total{engine="0"} 3.0
a_total{engine="1"} 4.0
b{rank="0",device="cuda:0"} 1e+09
b{rank="1",device="cpu"} NaN
b{rank="x",device="cpu"} 7
b 8
c{name="\x1b[2J"} 1
d 1
d -1
d +Inf
"""


def test_series_are_added_up_and_missing_is_not_zero() -> None:
    samples = parse(TWO_SERIES, "here")
    assert samples.total("a_total") == 7
    assert samples.total("missing") is None
    assert samples.highest("missing") is None
    assert samples.highest("a_total") == 4
    assert samples.label("a_total", "engine") == "0"
    assert samples.label("missing", "engine") is None


def test_a_server_can_neither_command_the_terminal_nor_tell_less_than_nothing() -> None:
    samples = parse(TWO_SERIES, "here")
    assert samples.label("c", "name") == "\\x1b[2J"
    assert samples.total("d") == 1


def test_ranks_are_told_apart_and_what_is_no_rank_or_no_number_is_left_out() -> None:
    samples = parse(TWO_SERIES, "here")
    assert samples.of_ranks("b") == {0: 1e9}
    assert samples.labels_of_ranks("b") == {0: {"rank": "0", "device": "cuda:0"}}


@pytest.mark.parametrize("text", ["<html>", "a{b=}", 'a{b="c} 1', "{", "a"])
def test_what_is_no_page_of_metrics_is_refused_by_name(text: str) -> None:
    with pytest.raises(HetctlError, match="What answers at http://x:1 shows no metrics in"):
        parse(text, "http://x:1")


@given(st.text(alphabet=st.sampled_from('a_{}="\\,# \n1.+-eNT:\t\x00é'), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(HetctlError):
        parse(text, "here")


@given(cut=st.integers(min_value=0, max_value=len(page(ranks={0: {"steps_total": 1}}))))
def test_a_page_that_is_cut_off_is_read_or_refused(cut: int) -> None:
    with suppress(HetctlError):
        parse(page(ranks={0: {"steps_total": 1}})[:cut], "here")
