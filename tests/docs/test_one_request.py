"""What pages name in the code is there: files, classes, functions."""

import ast
import re
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, inline_code, pages

FOLDERS = ("benchmarks", "ci", "hetctl", "profiles", "runtime", "tests", "tools", "vllm")
IN_A_FOLDER = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./-]*$")
IN_CODE = re.compile(r"[\w./-]+\.py(?:::[\w.]+)?$")
NAMED = [
    (page, line, code)
    for page in pages()
    for line, code in inline_code(page)
    if IN_A_FOLDER.match(code) or IN_CODE.match(code)
]


@cache
def tracked() -> set[str]:
    listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    folders = {str(parent) for path in listed for parent in Path(path).parents}
    return {*listed, *folders}


def files_of(path: str) -> list[Path]:
    """In the installed vLLM or in this repository: `hops/ring.py` may be any file that ends so."""
    if path.startswith("vllm/"):
        spec = find_spec("vllm")
        assert spec is not None
        assert spec.origin is not None
        installed = Path(spec.origin).parents[1] / path
        return [installed] if installed.exists() else []
    wanted = path.rstrip("/")
    if wanted in tracked():
        return [ROOT / wanted]
    return [ROOT / one for one in sorted(tracked()) if one.endswith(f"/{wanted}")]


@cache
def names_in(file: Path) -> set[str]:
    """Functions and classes, and a class's methods as ``Class.method``."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body if hasattr(one, "name")}
    return found


@pytest.mark.parametrize(("page", "line", "code"), NAMED, ids=lambda value: str(value)[:90])
def test_what_a_page_names_is_there(page: str, line: int, code: str) -> None:
    path, _, name = code.partition("::")
    files = files_of(path)
    assert files, f"{page}:{line}: there is no {path}"
    if name:
        assert any(name in names_in(file) for file in files), f"{page}:{line}: {path} has no {name}"


def test_the_walk_names_more_than_thirty_places() -> None:
    assert sum("::" in code for page, _, code in NAMED if page == "docs/one-request.md") > 30
