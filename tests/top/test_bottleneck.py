"""One sentence names the rank that the others wait for."""

from hetctl.top.bottleneck import where_time_goes
from hetctl.top.frame import RankFrame, TimeShares


def rank(number: int, device: str = "cpu", stage: str = "", **time: float) -> RankFrame:
    shares = TimeShares(**time) if time else None
    return RankFrame(rank=number, device=device, layers=stage or f"{number}-{number}", time=shares)


def test_the_rank_that_works_the_most_is_the_bottleneck() -> None:
    ranks = (
        rank(0, device="cuda:0", layers=0.08, receiving=0.8),
        rank(1, layers=0.7, head=0.1, other=0.05),
    )
    assert where_time_goes(ranks) == (
        "Rank 1 (cpu) works 85% of the time, 70% in its layers: the bottleneck. "
        "Rank 0 works 8% and waits 80%."
    )


def test_where_no_rank_works_for_most_of_the_time_none_is_the_bottleneck() -> None:
    ranks = (rank(0, layers=0.19), rank(1, layers=0.29))
    assert where_time_goes(ranks) == (
        "Rank 1 (cpu) works 29% of the time in its layers. Longer than that no rank works: the "
        "engine does, or nothing is asked."
    )
    # Ranks that take turns: each works less than half of the time, and one of them always does.
    taking_turns = (rank(0, layers=0.45), rank(1, layers=0.46))
    assert "the bottleneck" in where_time_goes(taking_turns)


def test_what_it_does_is_what_it_does_the_most() -> None:
    assert "50% in logits and sampling" in where_time_goes((rank(0, layers=0.2, head=0.5),))
    assert "40% on preparing steps" in where_time_goes((rank(0, layers=0.2, other=0.4),))
    assert where_time_goes((rank(0, unfinished=1.0),)) == (
        "Rank 0 (cpu) works 100% of the time in a step that still runs."
    )


def test_idle_ranks_have_no_bottleneck() -> None:
    assert where_time_goes((rank(0, layers=0.001), rank(1, receiving=0.0))) == "The ranks are idle."


def test_ranks_that_share_layers_are_not_judged_by_their_times() -> None:
    ranks = (rank(0, stage="0-31", layers=0.9), rank(1, stage="0-31", layers=0.8))
    said = where_time_goes(ranks)
    assert "wait for each other" in said
    assert "bottleneck" not in said


def test_where_nothing_was_measured_nothing_is_said() -> None:
    assert where_time_goes((rank(0), rank(1))) == ""
    assert where_time_goes(()) == ""
