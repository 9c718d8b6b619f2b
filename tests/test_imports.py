"""Who may import whom: dependencies point one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from hetctl.model.tiny import write_tiny
from tests.bench import sample

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "vllm", "transformers", "numpy", "pandas", "matplotlib"}
SLOW = {"pydantic", "rich", "jinja2", "huggingface_hub", "vllm_hetero"}
"""Small, but each costs a help page a noticeable part of its time."""


def imports(file: Path, inside_functions: bool = True) -> set[str]:
    """Absolute modules that a file imports, or only those imported when it is."""
    found: set[str] = set()
    nodes = list(ast.parse(file.read_text(encoding="utf-8")).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        elif not isinstance(node, ast.FunctionDef) or inside_functions:
            nodes += list(ast.iter_child_nodes(node))  # type: ignore[arg-type]
    return found


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("file", files("runtime/vllm_hetero"), ids=lambda p: p.name)
def test_the_plugin_knows_nothing_of_hetctl(file: Path) -> None:
    assert not {name for name in imports(file) if name.split(".")[0] == "hetctl"}


@pytest.mark.parametrize("file", files("hetctl"), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_hetctl_never_imports_vllm(file: Path) -> None:
    assert not {name for name in imports(file) if name.split(".")[0] == "vllm"}


@pytest.mark.parametrize("file", files("hetctl/planner"), ids=lambda p: p.name)
def test_the_planner_imports_data_types_only(file: Path) -> None:
    allowed = {"hetctl.planner", "hetctl.document", "hetctl.errors", "hetctl.machine"}
    allowed |= {"hetctl.model.spec", "hetctl.plan", "hetctl.sweep"}
    allowed |= {"hetctl.run_record", "hetctl.units", "hetctl.workload"}
    ours = {name for name in imports(file) if name.startswith("hetctl")}
    assert {name for name in ours if not name.startswith(tuple(allowed))} == set()


COMMANDS = (
    "probe",
    "doctor",
    "plan",
    "serve",
    "top",
    "bench",
    "report",
    "gate",
    "config",
    "model tiny",
)
COMMANDS += ("kernels status",)
HELP = ("--help", "--version", *(f"{command} --help" for command in COMMANDS))


@pytest.mark.parametrize("arguments", HELP)
def test_help_needs_no_slow_package(arguments: str) -> None:
    assert loaded_by(arguments.split(), HEAVY | SLOW) == set()


def test_planning_needs_no_package_that_plans_do_not(tmp_path: Path) -> None:
    write_tiny(tmp_path / "model")
    machine = tmp_path / "machine.json"
    sample.machine().save(machine)
    command = ["plan", str(tmp_path / "model"), "--machine", str(machine)]
    assert loaded_by(command, HEAVY | SLOW) == {"pydantic", "rich"}


def loaded_by(arguments: list[str], packages: set[str]) -> set[str]:
    """Which of the packages a hetctl command has imported when it ends."""
    code = (
        "import sys\n"
        f"sys.argv = ['hetctl', *{arguments!r}]\n"
        "from hetctl.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(*{packages!r} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())
