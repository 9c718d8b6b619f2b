"""Documents that an older hetctl saved are read as if they were made today.

The fixtures were written by the commits that had these versions: plans by ``hetctl plan`` for an
8B model on a machine with a GPU and a CPU; results hold such a plan, six runs and two failures.
"""

import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import hetctl
from hetctl.bench.gate.gate import choose_configuration, gate
from hetctl.bench.gate.thresholds import default_thresholds
from hetctl.bench.report import write_reports
from hetctl.bench.results import Results
from hetctl.document import Document
from hetctl.errors import UsageError
from hetctl.launch.command import launch_command
from hetctl.machine import Machine
from hetctl.migration import oldest_version
from hetctl.plan import Plan
from tests.bench import sample

SAVED = Path(__file__).parent / "fixtures/documents"


def kinds() -> Iterator[type[Document]]:
    for module in pkgutil.walk_packages(hetctl.__path__, "hetctl."):
        importlib.import_module(module.name)
    yield from Document.__subclasses__()


def test_every_version_that_was_left_behind_is_read_and_has_a_fixture() -> None:
    found = {kind.KIND: kind for kind in kinds()}
    assert {"hetctl.plan", "hetctl.results", "hetctl.machine"} <= found.keys()
    for kind in found.values():
        assert oldest_version(kind.VERSION, kind.STEPS) == 1, kind
        for version in range(1, kind.VERSION):
            path = SAVED / f"{kind.KIND.removeprefix('hetctl.')}-{version}.json"
            assert json.loads(path.read_text())["schema_version"] == version
            assert kind.load(path).schema_version == kind.VERSION


@pytest.mark.parametrize(
    ("version", "told"),
    [
        (1, [("One GPU", False), ("One CPU rank", True)]),
        (2, [("GPU and CPU", True), ("GPU and CPU in tensor parallel", True)]),
    ],
)
def test_an_older_plan_tells_of_all_strategies_and_can_be_launched(
    version: int, told: list[tuple[str, bool]]
) -> None:
    plan = Plan.load(SAVED / f"plan-{version}.json")
    assert [(one.name, one.feasible) for one in plan.ranking[:2]] == told
    assert all(one.verdict and one.name not in one.verdict for one in plan.ranking)
    argv = launch_command(plan, host="127.0.0.1", port=8000).argv
    assert argv[argv.index("--pipeline-parallel-size") + 1] == "2"
    assert Plan.parse(plan.to_json(), "saved again") == plan


@pytest.mark.parametrize("version", [1, 2])
def test_older_results_have_one_point_and_reports(version: int, tmp_path: Path) -> None:
    results = Results.load(SAVED / f"results-{version}.json")
    assert [load.point for load in results.loads] == ["c8"]
    assert {run.point for run in results.runs} == {"c8"}
    assert len(results.at("c8").runs_of("hybrid")) == 1
    failed = [(one.configuration, one.phase, one.point) for one in results.failed]
    assert failed == [("cpu", "load", "c8"), ("gpu+prefetch", "server", None)]
    assert results.hetctl_version == "0.1.0", "who wrote it stays"
    write_reports(results, tmp_path, parquet=False)
    assert "hybrid" in (tmp_path / "results.md").read_text()


def test_older_results_are_a_baseline_for_the_gate() -> None:
    stored = Results.load(SAVED / "results-1.json").model_copy(update={"failed": ()})
    base = choose_configuration(stored, "cpu", "stored")
    runs = (sample.run("cpu", measured=sample.measurement(20, 2.4)),)
    current = choose_configuration(sample.results(runs=runs), "cpu", "new")
    thresholds = default_thresholds(stored.offered_load)
    report = gate(base, current, thresholds, sources=("stored", "new"), allowed=("versions",))
    assert {one.ratio for one in report.metrics} == {1.0}


def test_plans_in_results_have_a_version_of_their_own() -> None:
    older = json.loads((SAVED / "plan-2.json").read_text())
    data = json.loads(sample.results().to_json())
    data["configurations"][0]["plan"] = older
    plan = Results.parse(json.dumps(data), "mixed").configurations[0].plan
    assert plan == Plan.load(SAVED / "plan-2.json")
    data["configurations"][0]["plan"] = older | {"schema_version": 9}
    with pytest.raises(UsageError, match=r"plan: .*schema version 9 is none of versions 1 to 3"):
        Results.parse(json.dumps(data), "mixed")


@pytest.mark.parametrize(
    ("version", "remedy"),
    [(99, "update hetctl"), (0, "make it again"), (True, "make it again"), ("2", "make it again")],
)
def test_other_versions_are_refused_by_name(version: object, remedy: str) -> None:
    data = json.loads(sample.hybrid_plan().to_json()) | {"schema_version": version}
    with pytest.raises(UsageError, match=rf"reads versions 1 to 3; {remedy}\.$"):
        Plan.parse(json.dumps(data), "it")


def test_a_kind_that_never_changed_names_its_only_version() -> None:
    data = json.loads(sample.machine().to_json()) | {"schema_version": 2}
    with pytest.raises(UsageError, match=r"reads version 1; update hetctl\.$"):
        Machine.parse(json.dumps(data), "it")


@pytest.mark.parametrize(
    "damage",
    [{"alternatives": 5}, {"alternatives": [{"reason": None}]}, {"alternatives": [{}]}],
    ids=str,
)
def test_a_damaged_older_document_is_refused_in_a_sentence(damage: dict[str, object]) -> None:
    data = json.loads((SAVED / "plan-1.json").read_text()) | damage
    with pytest.raises(UsageError, match="it is not a document of schema version 1"):
        Plan.parse(json.dumps(data), "it")
