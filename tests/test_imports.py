"""Who may import whom: dependencies point one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "vllm", "transformers", "numpy", "pandas", "matplotlib"}


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
    allowed |= {"hetctl.model.spec", "hetctl.plan", "hetctl.units", "hetctl.workload"}
    ours = {name for name in imports(file) if name.startswith("hetctl")}
    assert {name for name in ours if not name.startswith(tuple(allowed))} == set()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["plan", "--help"], ["serve", "--help"]]
)
def test_the_command_line_starts_without_heavy_packages(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['hetctl', *{arguments!r}]\n"
        "from hetctl.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', sorted({HEAVY!r} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout
