import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetctl.probe.cpu_list import format_cpu_list, parse_cpu_list


@given(st.sets(st.integers(0, 300)))
def test_formatting_and_parsing_are_inverse(ids: set[int]) -> None:
    assert parse_cpu_list(format_cpu_list(ids)) == tuple(sorted(ids))


def test_runs_become_ranges() -> None:
    assert format_cpu_list([64, 0, 1, 2, 65, 7]) == "0-2,7,64-65"


@pytest.mark.parametrize(("text", "ids"), [("", ()), ("3", (3,)), ("0-1, 4\n", (0, 1, 4))])
def test_parsing(text: str, ids: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == ids
