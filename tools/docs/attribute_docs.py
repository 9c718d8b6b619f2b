"""What the fields of a class mean: the text literals that stand below them in the code.

pydantic could read them itself (``use_attribute_docstrings``), at the price of parsing the
source whenever a command imports the class.
"""

import ast
import inspect
import textwrap
from typing import Any


def attribute_docs(cls: type[Any]) -> dict[str, str]:
    """The description of each field that has one, those of base classes included."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.split(".")[0] in ("hetctl", "vllm_hetero"):
            found |= _own(base)
    return found


def _own(cls: type[Any]) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    found = _listed(inspect.getdoc(cls) or "")
    for statement, following in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        ):
            found[statement.target.id] = one_line(following.value.value)
    return found


def _listed(docstring: str) -> dict[str, str]:
    """The entries below ``Attributes:``, for dataclasses that describe their fields there."""
    _, _, listed = docstring.partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in textwrap.dedent(listed).splitlines():
        if line[:1] not in ("", " ") and ": " in line:
            name, _, text = line.partition(": ")
            found[name] = text
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return {name: one_line(text) for name, text in found.items()}


def one_line(text: str) -> str:
    return " ".join(text.split())
