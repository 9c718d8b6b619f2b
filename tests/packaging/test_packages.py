"""The wheel and the sdist: built, installed into an empty environment, and run there."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRACKED = ("hetctl", "runtime", "profiles", "pyproject.toml", "README.md", "LICENSE", ".gitignore")
LIGHT = ("typer", "rich", "pydantic", "psutil", "py-cpuinfo", "nvidia-ml-py")
"""What hetctl itself imports; torch and vLLM, which it starts, are gigabytes."""


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        command,
        cwd=cwd,
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


def succeed(*command: str | Path, cwd: Path) -> str:
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def uv() -> str:
    found = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip("uv is not installed")
    return found


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is built, outside of any git repository."""
    folder = tmp_path_factory.mktemp("source")
    unwanted = shutil.ignore_patterns("__pycache__", "_version.py")
    for name in TRACKED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def tagged(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a repository with a tag."""
    folder = tmp_path_factory.mktemp("tagged") / "repository"
    shutil.copytree(source, folder)
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (
        ("init", "--quiet"),
        ("add", "--all"),
        ("commit", "--quiet", "-m", "All"),
        ("tag", "v9.8.7"),
    ):
        succeed(*git, *command, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def built(uv: str, tagged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    succeed(uv, "build", "--quiet", "--out-dir", folder, cwd=tagged)
    return folder


def test_the_version_is_that_of_the_tag(built: Path) -> None:
    names = {file.name for file in built.iterdir() if file.name != ".gitignore"}
    assert names == {"hetctl-9.8.7-py3-none-any.whl", "hetctl-9.8.7.tar.gz"}


def test_it_builds_where_there_is_no_git(uv: str, source: Path, tmp_path: Path) -> None:
    succeed(uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path, cwd=source)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == "hetctl-0.0-py3-none-any.whl"


def test_the_wheel_holds_both_packages_with_their_types_and_no_test(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {"hetctl/py.typed", "vllm_hetero/py.typed"} <= names
    assert {"hetctl/_profiles/gpus.toml", "hetctl/launch/grafana_dashboard.json"} <= names
    folders = {name.partition("/")[0] for name in names}
    assert folders == {"hetctl", "vllm_hetero", "hetctl-9.8.7.dist-info"}
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        assert "hetctl-9.8.7/runtime/vllm_hetero/py.typed" in sdist.getnames()


@pytest.fixture(scope="module")
def installed(uv: str, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel and what hetctl imports."""
    folder = tmp_path_factory.mktemp("clean")
    wheel = next(built.glob("*.whl"))
    succeed(uv, "venv", "--quiet", "--python", sys.executable, "environment", cwd=folder)
    python = folder / "environment" / "bin" / "python"
    install = (uv, "pip", "install", "--quiet", "--python", python)
    succeed(*install, "--no-deps", wheel, cwd=folder)
    succeed(*install, *(f"{name}=={version(name)}" for name in LIGHT), cwd=folder)
    return python.parent


def test_commands_run_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    hetctl = installed / "hetctl"
    assert succeed(hetctl, "--version", cwd=tmp_path).strip() == "hetctl 9.8.7"
    assert json.loads(succeed(hetctl, "probe", "--json", cwd=tmp_path))["hetctl_version"] == "9.8.7"
    succeed(hetctl, "model", "tiny", "model", cwd=tmp_path)
    plan = succeed(hetctl, "plan", "model", "--machine", "rtx4090-ddr5", "--json", cwd=tmp_path)
    assert json.loads(plan)["kind"] == "hetctl.plan"


def test_without_vllm_doctor_and_serve_say_so(installed: Path, tmp_path: Path) -> None:
    hetctl = installed / "hetctl"
    succeed(hetctl, "model", "tiny", "model", cwd=tmp_path)
    # Nothing that an earlier hetctl of this user measured.
    new_user = {"HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    doctor = run(hetctl, "doctor", "--json", cwd=tmp_path, **new_user)
    assert doctor.returncode == 1
    findings = {f["name"]: f for f in json.loads(doctor.stdout)["findings"]}
    assert findings["vLLM version"]["status"] == "fail"
    assert findings["registered"]["status"] == "pass"
    assert "the check itself failed" not in doctor.stdout
    split = ("--split", "4,4", "--cpu-ranks", "2")
    serve = run(hetctl, "serve", "model", *split, cwd=tmp_path, **new_user)
    assert serve.returncode == 1
    assert "vLLM is not installed" in serve.stderr
    assert "Traceback" not in serve.stderr


def test_vllm_would_find_the_plugin(installed: Path, tmp_path: Path) -> None:
    code = (
        "from importlib.metadata import entry_points\n"
        "for group in ('vllm.platform_plugins', 'vllm.general_plugins'):\n"
        "    print(*(e.load().__name__ for e in entry_points(group=group) if e.name == 'hetero'))"
    )
    loaded = succeed(installed / "python", "-c", code, cwd=tmp_path)
    assert loaded.split() == ["platform", "register"]


def test_the_types_are_seen_by_a_user_s_mypy(installed: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from hetctl.units import parse_size\n"
        "from vllm_hetero.rank_map import RankMap\n"
        "reveal_type(parse_size('1G'))\n"
        "reveal_type(RankMap(()).cpu_ranks)\n"
    )
    mypy = (sys.executable, "-m", "mypy", "--cache-dir", os.devnull)
    done = run(*mypy, "--python-executable", installed / "python", program, cwd=tmp_path)
    assert '"int"' in done.stdout, done.stdout
    assert '"tuple[int, ...]"' in done.stdout
