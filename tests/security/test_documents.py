"""What is read from files and variables is data: checked against its schema, never run."""

import ast
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hetctl.bench.compare import RESULTS_FILE
from hetctl.bench.results import Results
from hetctl.cli.app import app
from hetctl.document import Document
from hetctl.errors import HetctlError, UsageError
from hetctl.launch.rank_map import rank_map_of
from hetctl.machine import Machine
from hetctl.model.tiny import write_tiny
from hetctl.plan import Plan
from hetctl.profiles.measured import MachineProfile
from hetctl.run_record import RunRecord
from hetctl.server_record import ServerRecord
from tests.bench import sample
from tests.security.sources import FILES, ROOT, calls, imported, parsed
from vllm_hetero import env
from vllm_hetero.active_map import rank_map
from vllm_hetero.rank_map import RankMapError

UNPICKLE = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
RUN_TEXT = {"eval", "exec", "compile", "__import__", "runpy.run_path", "runpy.run_module"}
LOAD_OBJECTS = {"torch.load", "numpy.load", "np.load", "pandas.read_pickle", "yaml.load"}
LOAD_OBJECTS |= {"yaml.full_load", "yaml.unsafe_load", "torch.hub.load"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_source_can_unpickle_or_run_what_it_reads(file: Path) -> None:
    tree = parsed(file)
    assert not {name for name in imported(tree) if name.split(".")[0] in UNPICKLE}
    assert not set(calls(tree)) & (RUN_TEXT | LOAD_OBJECTS)


def test_a_source_that_could_is_found() -> None:
    tree = ast.parse("def f(x):\n    import pickle\n    return eval(x), torch.load(x)")
    assert imported(tree) & UNPICKLE
    assert set(calls(tree)) >= {"eval", "torch.load"}


class Bomb:
    """Makes a folder where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What is there once something was run."""
    return tmp_path / "it-was-run"


@pytest.fixture(params=[0, pickle.HIGHEST_PROTOCOL], ids=["text", "binary"])
def bomb(tmp_path: Path, mark: Path, request: pytest.FixtureRequest) -> Path:
    file = tmp_path / "bomb.json"
    file.write_bytes(pickle.dumps(Bomb(mark), protocol=request.param))
    return file


def test_the_bomb_is_one(bomb: Path, mark: Path) -> None:
    pickle.loads(bomb.read_bytes())
    assert mark.exists()


@pytest.mark.parametrize(
    "kind", [Plan, Machine, Results, MachineProfile, RunRecord, ServerRecord], ids=lambda k: k.KIND
)
def test_a_document_that_is_a_pickle_is_refused_and_not_run(
    kind: type[Document], bomb: Path, mark: Path
) -> None:
    with pytest.raises(UsageError, match=r"bomb\.json"):
        kind.load(bomb)
    assert not mark.exists()


@pytest.mark.parametrize(
    "command",
    [
        "serve --plan bomb.json --dry-run",
        "serve --plan bomb.json --emit systemd",
        "plan tiny --machine bomb.json",
        "plan bomb --machine rtx4090-ddr5",
        "report results",
        "gate bomb.json bomb.json",
        "config",
    ],
)
def test_no_command_runs_what_it_is_given(
    command: str, bomb: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bomb.parent
    monkeypatch.chdir(folder)
    write_tiny(folder / "tiny")
    for copy in (f"results/{RESULTS_FILE}", "bomb/config.json", "hetctl.toml"):
        (folder / copy).parent.mkdir(exist_ok=True)
        # Of the settings only where they are what is read; they would stop the other commands.
        if copy != "hetctl.toml" or command == "config":
            (folder / copy).write_bytes(bomb.read_bytes())
    result = CliRunner().invoke(app, command.split())
    assert isinstance(result.exception, HetctlError), result.output
    assert not mark.exists()


@pytest.mark.parametrize("by_file", [True, False])
def test_a_rank_map_that_is_a_pickle_is_refused_and_not_run(
    by_file: bool, bomb: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A variable holds no zero bytes.
    text = bomb.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    monkeypatch.setenv(env.RANK_MAP, f"@{bomb}" if by_file else text)
    rank_map.cache_clear()
    with pytest.raises(RankMapError, match="rank map"):
        rank_map(2)
    assert not mark.exists()


def test_a_rank_map_in_the_environment_is_checked_as_a_file_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = json.loads(rank_map_of(sample.hybrid_plan()).to_json())
    document["ranks"][0]["run"] = "__import__('os').abort()"
    monkeypatch.setenv(env.RANK_MAP, json.dumps(document))
    rank_map.cache_clear()
    with pytest.raises(RankMapError, match="unknown field 'run'"):
        rank_map(len(document["ranks"]))


def test_an_unknown_field_of_a_plan_is_refused() -> None:
    document = json.loads(sample.hybrid_plan().to_json()) | {"__reduce__": "os.abort"}
    with pytest.raises(UsageError, match="__reduce__"):
        Plan.parse(json.dumps(document), "plan.json")
