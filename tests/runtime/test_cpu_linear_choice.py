"""Which linear kernel for how many rows, from made-up times."""

from vllm_hetero.cpu_linear.choice import ROWS, Step, choose, describe, fixed, step_for

EVEN = dict.fromkeys(ROWS, 1.0)


def times(**changes: float) -> dict[int, float]:
    """Seconds by rows: 1.0 except ``r4=0.5``."""
    return EVEN | {int(name[1:]): value for name, value in changes.items()}


def test_kernels_that_are_alike_give_onednn_throughout() -> None:
    choice = choose({"packed": times(r1=0.97), "onednn": EVEN})
    assert choice == fixed("onednn")


def test_the_faster_kernel_is_chosen_alone() -> None:
    choice = choose({"packed": dict.fromkeys(ROWS, 0.8), "onednn": EVEN})
    assert choice == fixed("packed")


def test_a_second_copy_is_proposed_when_a_few_rows_gain_a_tenth() -> None:
    choice = choose({"packed": times(r1=0.8, r2=0.8, r4=0.9, r8=1.5, r64=2.0), "onednn": EVEN})
    assert choice.single == (Step(None, "onednn"),)
    assert choice.pair == (Step(4, "packed"), Step(None, "onednn"))
    assert round(choice.gain, 2) == 1.25


def test_a_gain_at_many_rows_is_no_reason_for_a_second_copy() -> None:
    choice = choose({"packed": times(r64=0.5), "onednn": EVEN})
    assert choice.pair is None


def test_a_gain_below_a_tenth_is_no_reason_unless_the_user_asks() -> None:
    measured = {"packed": times(r1=0.92, r2=0.92, r8=1.2), "onednn": EVEN}
    assert choose(measured).pair is None
    asked = choose(measured, worth_it=0.0).pair
    assert asked == (Step(2, "packed"), Step(None, "onednn"))


def test_few_rows_run_as_more_where_that_is_faster() -> None:
    choice = choose({"onednn": times(r1=1.4, r2=1.3)})
    assert choice.single == (Step(2, "onednn", run_as=4), Step(None, "onednn"))


def test_padding_spares_a_second_copy() -> None:
    measured = {"onednn": times(r1=1.4), "packed": times(r4=1.6, r8=1.6, r64=1.9)}
    choice = choose(measured)
    assert choice.pair is None
    assert step_for(choice.single, 1).run_as > 1


def test_a_prompt_is_never_padded() -> None:
    choice = choose({"onednn": times(r64=3.0, r256=0.5)})
    assert step_for(choice.single, 64).run_as == 0


def test_rows_between_two_measured_ones_go_with_the_larger() -> None:
    choice = choose({"packed": times(r1=0.5, r2=0.5, r4=0.5, r8=3, r16=3, r64=3), "onednn": EVEN})
    assert choice.pair is not None
    assert [step_for(choice.pair, rows).kernel for rows in (3, 4, 5)] == [
        "packed",
        "packed",
        "onednn",
    ]


def test_rows_that_were_not_measured_run_like_the_largest() -> None:
    choice = choose({"packed": {1: 0.5, 2: 2.5}, "onednn": {1: 1.0, 2: 1.0}})
    assert choice.pair is not None
    assert step_for(choice.pair, 1000) == Step(None, "onednn")


def test_a_table_in_words() -> None:
    table = (Step(1, "onednn", run_as=8), Step(4, "packed"), Step(None, "onednn"))
    assert describe(table) == "onednn (1 rows as 8), packed (2-4 rows), onednn"
