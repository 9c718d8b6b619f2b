"""What runs say about predictions: nothing where they are exact, all of it in the end, and never
much for the sake of one of them."""

import math
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetctl.document import FigureByBytes, FigureByRows
from hetctl.plan import Correction, Plan, Prediction
from hetctl.planner import PlanRequest, make_plan
from hetctl.planner.evidence import (
    LEAST_RUNS,
    Evidence,
    Subject,
    correction,
    counts,
    rates_digest,
    weighted_median,
)
from hetctl.planner.predictor import PREDICTOR_VERSION
from hetctl.workload import Workload
from tests.evidence.records import record
from tests.planner.machines import figure, gpu, machine, model, node


def by_rows(*values: float) -> FigureByRows:
    return FigureByRows(rows=(1, 64), values=values, source="measured")


def by_bytes(*values: float) -> FigureByBytes:
    return FigureByBytes(sizes_bytes=(8192, 1 << 20), values=values, source="measured")


SESSIONS = st.sampled_from("abcd")
NEAR_1 = st.floats(0.97, 1.03)
Seen = list[tuple[str, float]]


def factor(seen: Seen) -> float:
    return correction("tpot", seen).factor


@given(st.lists(SESSIONS, min_size=1, max_size=30))
def test_exact_predictions_are_not_corrected(sessions: list[str]) -> None:
    found = correction("tpot", [(session, 1.0) for session in sessions])
    assert (found.factor, found.error, found.spread) == (1, 0, 0)


@given(st.lists(st.tuples(SESSIONS, st.floats(0.2, 5)), min_size=1, max_size=30))
def test_a_correction_goes_towards_what_was_seen_and_never_beyond(seen: Seen) -> None:
    found = correction("tpot", seen)
    whole = -math.log1p(found.error)
    assert 0 <= math.log(found.factor) * math.copysign(1, whole) <= abs(whole) + 1e-12
    mirrored = correction("tpot", [(session, 1 / ratio) for session, ratio in seen])
    assert mirrored.factor == pytest.approx(1 / found.factor)


@given(st.floats(0.3, 3), st.integers(0, 1000))
@settings(max_examples=40)
def test_corrections_converge_to_the_error_over_sessions(ratio: float, seed: int) -> None:
    random = Random(seed)

    def believed(sessions: int) -> float:
        seen = [
            (str(session), ratio * math.exp(random.gauss(0, 0.03)))
            for session in range(sessions)
            for _ in range(3)
        ]
        return abs(math.log(factor(seen) / ratio))

    assert believed(400) < 0.01 + 0.02 * abs(math.log(ratio))


def test_one_session_is_never_believed_entirely_and_more_sessions_are_more() -> None:
    def share(sessions: int, runs: int) -> float:
        seen = [(str(i), 1.05) for i in range(sessions) for _ in range(runs)]
        return math.log(factor(seen)) / math.log(1.05)

    shares = [share(1, 3), share(1, 1000), share(3, 1), share(3, 3), share(10, 3), share(100, 3)]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(0.71, abs=0.02)
    assert shares[1] < 0.73
    assert shares[-1] > 0.99


def test_many_runs_of_one_session_do_not_outvote_four_sessions() -> None:
    one_day = [("a", 1.3)] * 9
    assert correction("tpot", [*one_day, *((day, 1.0) for day in "bcde")]).error == 0
    assert correction("tpot", [*one_day, *((day, 1.0) for day in "bc")]).error < -0.2


def test_a_large_error_that_runs_agree_on_is_not_held_to_be_chance() -> None:
    # As measured: first tokens of requests that came at once, predicted as if spread over time.
    scattered = [("a", 23.4), ("a", 14.5), ("a", 10.4)]
    assert factor(scattered) > 10
    # The same scatter around no error corrects next to nothing.
    assert factor([(session, ratio / 14.5) for session, ratio in scattered]) == 1
    assert abs(math.log(factor([("a", 1.5), ("a", 1.05), ("a", 0.7)]))) < 0.02


@given(
    st.lists(st.tuples(SESSIONS, NEAR_1), min_size=LEAST_RUNS, max_size=12),
    st.floats(0.8, 1.25),
    SESSIONS | st.just("its own"),
    st.floats(1e-3, 1e3),
)
@settings(max_examples=500)
def test_one_wild_run_moves_no_correction_far(
    good: Seen, ratio: float, session: str, wild: float
) -> None:
    seen = [(name, ratio * near) for name, near in good]
    moved = math.log(factor([*seen, (session, wild)]) / factor(seen))
    assert abs(moved) < 0.1


@given(st.lists(SESSIONS, min_size=LEAST_RUNS, max_size=12), st.data())
def test_no_run_has_half_of_the_weight(sessions: list[str], data: st.DataObject) -> None:
    weights = [1 / math.sqrt(sessions.count(session)) for session in sessions]
    assert max(weights) < sum(weights) / 2
    wild = data.draw(st.sampled_from(range(len(sessions))))
    values = [0.0 if i != wild else 1e9 for i in range(len(sessions))]
    assert weighted_median(values, weights) == 0


@pytest.mark.parametrize("runs", [1, 2])
def test_too_few_runs_tell_the_error_and_correct_nothing(runs: int) -> None:
    found = correction("tpot", [(str(i), 1.25) for i in range(runs)])
    assert found.error == pytest.approx(-0.2)
    assert found.factor == 1


SUBJECT = Subject(
    family="LlamaForCausalLM bfloat16 16 bits",
    parameters=8_030_261_248,
    strategy="pipeline",
    devices=("cpu", "cuda:0"),
    away_share=0.25,
    rates_digest="rates",
    workload=Workload(max_model_len=512),
)


def counted(subject: Subject = SUBJECT, **changes: Any) -> bool:
    return counts(record(**changes), subject)


def test_a_run_of_the_same_thing_counts() -> None:
    assert counted()


@pytest.mark.parametrize("field", ["concurrency", "input_len", "output_len"])
@pytest.mark.parametrize(("times", "answer"), [(0.5, True), (2, True), (0.25, False), (3, False)])
def test_a_load_counts_up_to_a_factor_of_two(field: str, times: float, answer: bool) -> None:
    there = SUBJECT.workload
    load = there.model_copy(update={field: int(getattr(there, field) * times)})
    assert counted(replace(SUBJECT, workload=load)) is answer


@pytest.mark.parametrize(
    "other",
    [
        {"strategy": "prefetch"},
        {"devices": ("cuda:0", "cpu")},
        {"family": "LlamaForCausalLM bfloat16 8 bits"},
        {"rates_digest": "measured anew"},
        {"parameters": 30_000_000_000},
        {"away_share": 0.75},
        {"away_share": 0.0},
    ],
    ids=str,
)
def test_nothing_is_said_about_what_did_not_run(other: dict[str, Any]) -> None:
    assert not counted(replace(SUBJECT, **other))


def test_runs_that_another_cost_model_predicted_and_runs_unlike_the_plan_do_not_count() -> None:
    assert not counted(predictor_version=PREDICTOR_VERSION - 1)
    # Every commit of hetctl has a version of its own.
    assert counted(hetctl_version="0.0.1")
    assert not counted(unlike_plan="3 requests failed")


def test_the_digest_follows_the_rates_and_nothing_else() -> None:
    here = machine()
    assert rates_digest(here) == rates_digest(here.model_copy(update={"kernel": "6.9"}))


@pytest.mark.parametrize(
    ("part", "field", "value", "other"),
    [
        (gpu, "host_to_device_bytes_per_s", figure(50e9), figure(51e9)),
        (gpu, "weight_read_bytes_per_s_by_rows", by_rows(1e12, 2e12), by_rows(1e12, 2.1e12)),
        (node, "all_reduce_s_by_bytes", by_bytes(1e-4, 1e-3), by_bytes(1e-4, 1.0)),
        (node, "layer_overhead_s", None, figure(1e-4)),
    ],
)
def test_the_digest_follows_every_rate(part: Any, field: str, value: Any, other: Any) -> None:
    def digest(figure: Any) -> str:
        rated = part(**{field: figure})
        return rates_digest(
            machine(gpus=[rated] if part is gpu else 1, nodes=[rated] if part is node else 1)
        )

    assert digest(value) == digest(value)
    assert digest(value) != digest(other)


# Plans. A GPU of 12 GiB cannot hold the 8B model: a pipeline and prefetching compete.

MACHINE = machine(nodes=[node(cores=32)])
LOAD = Workload(concurrency=8, max_model_len=1024)
ASKED = PlanRequest(gpu_memory_bytes=12 << 30)


def planned(*records: Any, applied: bool = True, load: Workload = LOAD, **asked: Any) -> Plan:
    evidence = Evidence(records, applied=applied)
    return make_plan(MACHINE, model(), load, replace(ASKED, evidence=evidence, **asked))


def runs_of(plan: Plan, slowdowns: list[float], strategy: str | None = None) -> list[Any]:
    """Runs of a plan's strategy that took so many times as long as predicted, each on its day."""
    entry = next(e for e in plan.ranking if e.strategy == (strategy or plan.strategy))
    streamed = sum(rank.host_weight_bytes for rank in entry.ranks)
    on_cpu = sum(rank.weight_bytes for rank in entry.ranks if rank.device == "cpu")
    held = sum(rank.weight_bytes for rank in entry.ranks) + streamed
    return [
        record(
            slowdown,
            session=str(i),
            strategy=entry.strategy,
            devices=entry.devices,
            away_share=(streamed + on_cpu) / held,
            rates_digest=rates_digest(MACHINE),
            workload=LOAD,
        )
        for i, slowdown in enumerate(slowdowns)
    ]


def rival_of(plan: Plan) -> tuple[str, float]:
    """The next best strategy that can be launched, and how much slower it is."""
    chosen, second = [e for e in plan.ranking if e.feasible][:2]
    assert chosen.prediction is not None
    assert second.prediction is not None
    lead = chosen.prediction.output_tokens_per_s / second.prediction.output_tokens_per_s
    return second.strategy, lead


def test_exact_runs_change_no_figure_and_are_told() -> None:
    before = planned()
    after = planned(*runs_of(before, [1.0] * 4))
    assert after.prediction.uncorrected == before.prediction
    assert after.prediction.tpot_s == before.prediction.tpot_s
    assert after.ranks == before.ranks
    assert any("4 runs here" in sentence for sentence in after.explanation)


def test_a_plan_shows_what_it_corrected_and_by_how_much() -> None:
    before = planned()
    after = planned(*runs_of(before, [1.2] * 5), strategy="pipeline")
    by_metric = {one.metric: one for one in after.prediction.corrections}
    tpot = by_metric["tpot"]
    assert (tpot.runs, tpot.sessions) == (5, 5)
    assert tpot.error == pytest.approx(1 / 1.2 - 1)
    assert 1.15 < tpot.factor < 1.2
    assert after.prediction.tpot_s == pytest.approx(before.prediction.tpot_s * tpot.factor)
    assert by_metric["throughput"].factor == pytest.approx(1 / tpot.factor)
    assert_equal_speed(after.prediction.uncorrected, before.prediction)
    assert any("TPOT was predicted 17% too low" in text for text in after.explanation)


def assert_equal_speed(a: Prediction, b: Prediction) -> None:
    assert a.ttft_s == pytest.approx(b.ttft_s)
    assert a.tpot_s == pytest.approx(b.tpot_s)
    assert a.output_tokens_per_s == pytest.approx(b.output_tokens_per_s)


def test_enough_evidence_changes_the_choice_and_one_wild_run_does_not() -> None:
    before = planned()
    rival, lead = rival_of(before)
    slower = planned(*runs_of(before, [lead * 1.5] * 10))
    assert slower.strategy == rival
    wild = planned(*runs_of(before, [1.0, 0.99, 1.01, 1.0, lead * 50]))
    assert wild.strategy == before.strategy
    assert wild.prediction.tpot_s == pytest.approx(before.prediction.tpot_s, rel=0.02)
    lucky = planned(*runs_of(before, [1.0, 0.99, 1.01, 1 / (lead * 50)], rival))
    assert lucky.strategy == before.strategy


def test_it_is_said_which_strategies_have_run() -> None:
    before = planned()
    rival, _ = rival_of(before)
    names = {entry.strategy: entry.name for entry in before.ranking}

    def of_rivals(*records: Any) -> str:
        sentences = planned(*records, strategy="pipeline").explanation
        return " ".join(text for text in sentences if "Not run here" in text or "too: " in text)

    alone = of_rivals(*runs_of(before, [1.1] * 4))
    assert "Not run here under such a load: " in alone
    assert names[rival] in alone
    both = of_rivals(*runs_of(before, [1.1] * 4), *runs_of(before, [1.1] * 4, rival))
    assert f"corrected, too: {names[rival]} x 0.9" in both
    assert names[rival] not in both.partition("corrected")[0]
    assert of_rivals() == ""


def test_corrections_that_are_switched_off_are_told_and_not_made() -> None:
    before = planned()
    after = planned(*runs_of(before, [1.5] * 5), applied=False)
    assert_equal_speed(after.prediction, before.prediction)
    assert after.strategy == before.strategy
    assert any("not corrected, as asked for" in text for text in after.explanation)


def test_a_load_that_is_far_away_is_not_corrected() -> None:
    runs = runs_of(planned(), [1.5] * 5)
    far = LOAD.model_copy(update={"concurrency": 32})
    assert planned(*runs, load=far).prediction.corrections == ()


def test_what_other_machines_would_give_is_compared_without_corrections() -> None:
    before = make_plan(MACHINE, model(), LOAD, ASKED, explore=True)
    larger = next(one for one in before.what_if if "more memory" in one.change)
    assert larger.strategy == "gpu"
    alone = {"strategy": "gpu", "devices": ("cuda:0",), "away_share": 0.0}
    alone |= {"workload": LOAD, "rates_digest": rates_digest(MACHINE)}
    runs = [record(2.0, session=str(i), **alone) for i in range(5)]
    evidence = Evidence((*runs, *runs_of(before, [0.8] * 5)))
    after = make_plan(MACHINE, model(), LOAD, replace(ASKED, evidence=evidence), explore=True)
    assert after.prediction.corrections
    assert [one.name for one in after.what_if] == [one.name for one in before.what_if]
    for one, other in zip(after.what_if, before.what_if, strict=True):
        assert one.speedup == pytest.approx(other.speedup)


def test_a_split_that_was_asked_for_is_corrected_as_well() -> None:
    before = planned(split=(14, 18), devices=("cpu", "cuda:0"))
    runs = runs_of(before, [1.3] * 5)
    after = planned(*runs, split=(14, 18), devices=("cpu", "cuda:0"))
    assert after.prediction.tpot_s > 1.2 * before.prediction.tpot_s


def test_an_objective_of_one_request_needs_runs_of_one_request() -> None:
    goal = replace(ASKED.goal, objective="latency")
    before = planned(goal=goal)
    runs = runs_of(before, [3.0] * 10)
    after = planned(*runs, goal=goal)
    # Under 8 requests the figures are corrected; what is chosen by is the time of one alone.
    assert after.prediction.corrections
    assert after.strategy == before.strategy


def test_a_correction_is_undone_exactly() -> None:
    raw = Prediction(ttft_s=0.3, tpot_s=0.02, output_tokens_per_s=50)
    made = [Correction(metric="tpot", runs=3, sessions=1, error=0, spread=0, factor=1.25)]
    corrected = raw.model_copy(update={"tpot_s": 0.025, "corrections": tuple(made)})
    assert corrected.uncorrected == raw
