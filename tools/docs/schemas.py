"""A JSON Schema for every file that hetctl writes and reads, from the types themselves."""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from pydantic import BaseModel, TypeAdapter

import hetctl
from hetctl.bench.gate.history import Entry
from hetctl.document import Document, Frozen
from tools.docs.attribute_docs import attribute_docs, one_line
from vllm_hetero import rank_map

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class FileSchema:
    """One kind of file."""

    kind: str
    """As the file itself says: ``hetctl.plan``."""
    version: int
    class_name: str
    about: str
    """The first paragraph of its class's docstring."""
    module: str
    """The first paragraph of its module's."""
    schema: dict[str, Any]

    @property
    def name(self) -> str:
        """``plan``."""
        return self.kind.rpartition(".")[2]


def file_schemas() -> list[FileSchema]:
    """Every document, in the order of their kinds, then the two files that are none."""
    documents = sorted(_subclasses(Document), key=lambda cls: cls.KIND)
    return [*(_document(cls) for cls in documents), _history(), _rank_map()]


def _subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    for module in pkgutil.walk_packages(hetctl.__path__, "hetctl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for found in cls.__subclasses__():
        yield found
        yield from _subclasses(found)


def _document(cls: type[Document]) -> FileSchema:
    schema = _model_schema(cls)
    _fix(schema, "kind", cls.KIND)
    _fix(schema, "schema_version", cls.VERSION)
    # Of the hetctl that makes the schema, which says nothing about the file.
    del schema["properties"]["hetctl_version"]["default"]
    return _file(cls, cls.KIND, cls.VERSION, schema)


def _history() -> FileSchema:
    """Lines of a file, each of which says its kind as a document does."""
    fields_of = Entry.model_fields
    kind, version = fields_of["kind"].default, fields_of["schema_version"].default
    return _file(Entry, kind, version, _model_schema(Entry))


def _fix(schema: dict[str, Any], field: str, value: Any) -> None:
    """A field that a reader wants to be there and to hold exactly this."""
    about = schema["properties"][field].get("description")
    schema["properties"][field] = {"const": value, **({"description": about} if about else {})}
    schema["required"] = [field, *schema.get("required", [])]


def _model_schema(cls: type[BaseModel]) -> dict[str, Any]:
    schema = cls.model_json_schema()
    used = {cls.__name__: cls, **{one.__name__: one for one in _subclasses(Frozen)}}
    _describe(schema, cls)
    for name, definition in schema.get("$defs", {}).items():
        # Two classes of one name have their modules in front: ..._profile__Measured.
        _describe(definition, used[name.rpartition("__")[2]])
    return schema


def _describe(schema: dict[str, Any], cls: type[Any]) -> None:
    """Put the code's own words in, and leave out the titles that pydantic makes of names."""
    schema.pop("title", None)
    if "description" in schema:
        schema["description"] = one_line(schema["description"])
    told = attribute_docs(cls)
    for name, field in schema.get("properties", {}).items():
        field.pop("title", None)
        if name in told:
            field["description"] = told[name]


def _rank_map() -> FileSchema:
    """The runtime's own: a dataclass, because the plugin wants no pydantic of its users."""
    schema = TypeAdapter(rank_map.RankMap).json_schema()
    kind, _, version = rank_map.SCHEMA.partition("/")
    schema["properties"] = {"schema": {"const": rank_map.SCHEMA}, **schema["properties"]}
    schema["required"] = ["schema", "ranks"]
    schema["additionalProperties"] = False
    _describe(schema, rank_map.RankMap)
    rank = schema["$defs"]["Rank"]
    _describe(rank, rank_map.Rank)
    rank["additionalProperties"] = False
    rank["description"] = one_line((rank_map.Rank.__doc__ or "").partition("Attributes:")[0])
    # What the types do not say, and the parser refuses.
    schema["properties"]["ranks"]["minItems"] = 1
    rank["properties"]["device"]["pattern"] = "^(cpu|cuda:[0-9]+)$"
    rank["properties"]["cpus"]["uniqueItems"] = True
    for integer in _integers(rank["properties"]):
        integer["minimum"] = 0
    assert set(rank["properties"]) == {field.name for field in fields(rank_map.Rank)}
    return _file(rank_map.RankMap, kind, int(version), schema)


def _integers(node: Any) -> Iterator[dict[str, Any]]:
    """Every part of a schema that asks for an integer."""
    if isinstance(node, dict):
        if node.get("type") == "integer":
            yield node
        for child in node.values():
            yield from _integers(child)
    elif isinstance(node, list):
        for child in node:
            yield from _integers(child)


def _file(cls: type[Any], kind: str, version: int, schema: dict[str, Any]) -> FileSchema:
    return FileSchema(
        kind=kind,
        version=version,
        class_name=cls.__name__,
        about=one_line((inspect.getdoc(cls) or "").partition("\n\n")[0]),
        module=one_line((sys.modules[cls.__module__].__doc__ or "").partition("\n\n")[0]),
        schema={"$schema": DIALECT, "title": f"{kind}, version {version}", **schema},
    )
