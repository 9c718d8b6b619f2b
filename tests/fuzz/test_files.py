"""Random plan, machine, rank-map and settings files are taken, or refused with one sentence."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetctl.config.settings import read_settings
from hetctl.errors import HetctlError, UsageError
from hetctl.launch.command import launch_command
from hetctl.launch.rank_map import rank_map_of
from hetctl.machine import Machine
from hetctl.plan import Plan
from hetctl.planner import make_plan
from hetctl.profiles import with_rates
from hetctl.workload import Workload
from tests.bench import sample
from tests.config.test_settings import CATALOGUE
from tests.fuzz.examples import NAMES, files, many, values
from tests.planner.machines import model
from vllm_hetero.rank_map import RankMap, RankMapError

PLAN = json.loads(sample.hybrid_plan().to_json())
OLDER_PLAN = json.loads(
    (Path(__file__).parent.parent / "fixtures/documents/plan-1.json").read_text()
)
MACHINE = json.loads(sample.machine().to_json())
RANK_MAP = json.loads(rank_map_of(sample.hybrid_plan()).to_json())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def assert_one_sentence(error: Exception) -> None:
    """Something that a terminal can show, of a length that can be read.

    One line, or the gate's, which has a line for each difference.
    """
    text = str(error)
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count("\n") == 0 or "cannot be compared" in text
    assert 10 < len(text) < 1000


@many
@given(files(PLAN) | files(OLDER_PLAN))
def test_plans(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        plan = Plan.load(file)
        command = launch_command(plan, host="127.0.0.1", port=8000)
        # What the kernel takes as arguments and environment.
        assert "\0" not in command.as_shell().encode().decode()
    except HetctlError as error:
        assert_one_sentence(error)


@many
@given(files(MACHINE))
def test_machines(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        machine = with_rates(Machine.load(file))
        make_plan(machine, model(), Workload(concurrency=4, input_len=64, output_len=16))
    except HetctlError as error:
        assert_one_sentence(error)


@many
@given(files(RANK_MAP))
def test_rank_maps(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        RankMap.from_env(f"@{file}").to_json().encode()
    except RankMapError as error:
        assert_one_sentence(error)


keys = st.sampled_from(
    ["quiet", "serve", "port", "bench", "request-rate", "gate", "fail", "kernels"]
)
tables = st.recursive(
    st.dictionaries(keys | NAMES | st.text(max_size=5), values, max_size=3),
    lambda inner: st.dictionaries(keys, inner, max_size=3),
    max_leaves=4,
)


def as_toml(value: object) -> str:
    """Inline TOML, wrong wherever the value has no such form (a lone surrogate)."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {as_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if value is None:
        return '"none"'
    return json.dumps(value).replace("Infinity", "inf").replace("NaN", "nan")


@st.composite
def settings_files(draw: st.DrawFn) -> bytes:
    table = draw(tables)
    lines = [f"{json.dumps(key)} = {as_toml(value)}" for key, value in table.items()]
    return "\n".join(lines).encode()


@many
@given(settings_files() | files({}))
def test_settings(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        read_settings([file], CATALOGUE).default_map()
    except HetctlError as error:
        assert_one_sentence(error)


@pytest.mark.parametrize("name", ["--trust-remote-code", "", "a\0b", "\ud800", "a\nb"])
def test_no_plan_slips_an_option_or_what_is_no_argument_into_vllm_s_command(name: str) -> None:
    with pytest.raises(UsageError, match=r"field model: .*folder or a hub id"):
        Plan.parse(json.dumps(PLAN | {"model": name}), "plan.json")
    ranks = [PLAN["ranks"][0] | {"device": name}, *PLAN["ranks"][1:]]
    with pytest.raises(UsageError, match=r"field ranks\.0\.device: "):
        Plan.parse(json.dumps(PLAN | {"ranks": ranks}), "plan.json")
