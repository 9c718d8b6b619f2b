"""The schemas of files take what hetctl writes and refuse what it refuses."""

import json
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from hetctl.bench.gate.history import Entry
from hetctl.document import Document, Frozen
from hetctl.profiles.machines import load_named_machine, machine_names
from tests.bench import sample
from tests.bench.gate import noisy
from tools.docs.attribute_docs import attribute_docs
from tools.docs.file_formats import pages
from tools.docs.schemas import file_schemas
from vllm_hetero.rank_map import RankMap, RankMapError

SCHEMAS = {one.kind: one for one in file_schemas()}
PAGES = pages()


def errors(kind: str, document: object) -> list[str]:
    checker = jsonschema.Draft202012Validator(SCHEMAS[kind].schema)
    return [error.message for error in checker.iter_errors(document)]


def written(document: BaseModel) -> Any:
    return json.loads(document.model_dump_json())


def test_each_kind_of_document_has_a_page_and_a_valid_schema() -> None:
    kinds = {cls.KIND for cls in Document.__subclasses__() if cls.__module__.startswith("hetctl.")}
    assert kinds | {"hetctl.history", "vllm_hetero.rank_map"} == set(SCHEMAS)
    for one in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(one.schema)
        assert f"# {one.kind}\n" in PAGES[f"reference/files/{one.name}.md"]
        assert json.loads(PAGES[f"reference/files/{one.name}.schema.json"]) == one.schema


@pytest.mark.parametrize(
    "document",
    [
        sample.results(),
        sample.hybrid_plan(),
        noisy.report(),
        *map(load_named_machine, machine_names()),
    ],
    ids=lambda document: document.KIND,
)
def test_what_hetctl_writes_is_valid(document: Document) -> None:
    assert errors(document.KIND, written(document)) == []


def test_a_line_of_the_history_is_valid() -> None:
    entry = Entry(
        git_commit="c0ffee",
        started=sample.STARTED,
        fingerprint="f00d",
        model="m",
        configuration="hybrid",
        load=sample.results().loads[0],
        versions=sample.results().environment.versions,
        figures={"p50_ttft": (0.5, 0.6)},
    )
    assert errors("hetctl.history", written(entry)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "hetctl.machine"},
        {"schema_version": 99},
        {"frobnicate": 1},
        {"ranks": "all"},
        {"block_size": 0},
        {"dtype": "int3"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_wrong_plan_is_refused(change: dict[str, object]) -> None:
    assert errors("hetctl.plan", written(sample.hybrid_plan()) | change)


RANK = {"rank": 0, "device": "cpu", "layers": [0, 8], "cpus": [1, 2], "numa_node": 0}


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"device": "cuda:3", "cpus": [], "numa_node": None}, True),
        ({"layers": None, "kv_cache_bytes": 1}, True),
        ({"device": "tpu:0"}, False),
        ({"cpus": [1, 1]}, False),
        ({"cpus": [-1]}, False),
        ({"numa_node": "0"}, False),
        ({"layers": [0]}, False),
        ({"colour": "red"}, False),
    ],
    ids=str,
)
def test_the_schema_of_rank_maps_and_their_parser_agree(
    change: dict[str, object], good: bool
) -> None:
    document = {"schema": "vllm_hetero.rank_map/1", "ranks": [RANK | change]}
    assert (errors("vllm_hetero.rank_map", document) == []) == good
    if good:
        RankMap.from_json(json.dumps(document))
    else:
        with pytest.raises(RankMapError):
            RankMap.from_json(json.dumps(document))


class Example(Frozen):
    """A class of this test."""

    told_s: float
    """How long it takes,
    in seconds."""
    untold: int


def test_a_field_without_a_description_is_shown_without_one() -> None:
    assert '| `vllm` | string<br>default `""` |  |' in PAGES["reference/files/results.md"]
    plan = PAGES["reference/files/plan.md"]
    assert "| Tokens that the smallest KV cache among the ranks holds. |" in plan
    # This class is not hetctl's, so that nothing of it gets into the reference.
    assert attribute_docs(Example) == {}


def test_most_fields_are_described() -> None:
    """The share may rise; a new field without a word lowers it."""
    fields = described = 0
    for one in SCHEMAS.values():
        for part in (one.schema, *one.schema.get("$defs", {}).values()):
            for field in part.get("properties", {}).values():
                fields += 1
                described += "description" in field
    assert described / fields > 0.6


def test_parts_are_linked_and_told_once() -> None:
    results = PAGES["reference/files/results.md"]
    assert "[Machine](machine.md)" in results
    assert "## Gpu {" not in results
    assert results.count("## Load {") == 1
