"""The reference of files: a page and a JSON Schema for each kind, from the types."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tools.docs.schemas import FileSchema, file_schemas

FOLDER = "reference/files"

_WRITERS = {
    "hetctl.doctor": "`hetctl doctor --json`",
    "hetctl.gate": "`hetctl gate --json FILE`",
    "hetctl.history": "`hetctl gate --history DIR`: each line of `history.jsonl`",
    "hetctl.machine": "`hetctl probe --save FILE`",
    "hetctl.machine_profile": "`hetctl probe --calibrate`",
    "hetctl.model": "part of `results.json`",
    "hetctl.plan": "`hetctl plan --save FILE`",
    "hetctl.results": "`hetctl bench`: `results.json`",
    "hetctl.run_record": "`hetctl bench`: each line of `~/.cache/hetctl/runs/FINGERPRINT.jsonl`",
    "hetctl.server": "`hetctl serve`, while it runs",
    "hetctl.server_frame": "`hetctl top --json`",
    "hetctl.sweep": "`hetctl plan --sweep ... --json`",
    "vllm_hetero.rank_map": "`hetctl serve --dry-run`: `VLLM_HETERO_RANK_MAP`",
}

_INTRODUCTION = """\
# Files

Every file that passes between the commands is JSON with a `kind` and a `schema_version`, made to
be read, kept, edited and given back. A field that is not known, a value that cannot be, another
kind or another version is refused with one sentence that names it. Sizes are in bytes, times in
seconds, rates in bytes or operations per second; the unit is in the field's name.

| kind | version | written by | what it is | JSON Schema |
| --- | ---: | --- | --- | --- |
{rows}

The schemas are made from the types that hetctl reads the files with. An editor that knows JSON
Schema completes and checks a file against one; what depends on several fields at once, such as
layers that must follow on one another, only hetctl checks.
"""


def pages() -> dict[str, str]:
    """Markdown and JSON Schemas by path."""
    found = file_schemas()
    own_pages = {one.class_name: one for one in found}
    made = {f"{FOLDER}/index.md": _INTRODUCTION.format(rows="\n".join(map(_row, found)))}
    for one in found:
        made[f"{FOLDER}/{one.name}.md"] = "\n".join(_page(one, own_pages))
        made[f"{FOLDER}/{one.name}.schema.json"] = json.dumps(one.schema, indent=2) + "\n"
    return made


def _row(one: FileSchema) -> str:
    writer = _WRITERS.get(one.kind, "")
    download = f"[schema]({one.name}.schema.json)"
    return (
        f"| [`{one.kind}`]({one.name}.md) | {one.version} | {writer} | {prose(one.about)} "
        f"| {download} |"
    )


def _page(one: FileSchema, own_pages: Mapping[str, FileSchema]) -> Iterator[str]:
    yield f"# {one.kind}\n"
    yield f"{prose(one.module)} {prose(one.about)}\n"
    if one.kind in _WRITERS:
        yield f"Written by {_WRITERS[one.kind]}.\n"
    yield (
        f"Schema version {one.version}: [{one.name}.schema.json]({one.name}.schema.json)"
        "{ download } is the same for programs.\n"
    )
    yield from _table(one.schema, own_pages)
    definitions = one.schema.get("$defs", {})
    for name in _reachable(one.schema, definitions, own_pages):
        definition = definitions[name]
        yield f"## {_short(name)} {{ #{name.lower()} }}\n"
        if "description" in definition:
            yield f"{prose(definition['description'])}\n"
        yield from _table(definition, own_pages)


def _reachable(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], own_pages: Mapping[str, FileSchema]
) -> list[str]:
    """Parts in the order they are first named, without what another page describes."""
    found: list[str] = []
    for name in _references(schema.get("properties", {})):
        if name not in own_pages and name not in found:
            found.append(name)
            inner = _reachable(definitions[name], definitions, own_pages)
            found += [one for one in inner if one not in found]
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].rpartition("/")[2]
        for child in node.values():
            yield from _references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)


def _table(schema: Mapping[str, Any], own_pages: Mapping[str, FileSchema]) -> Iterator[str]:
    if "properties" not in schema:
        yield f"{_type(schema, own_pages)}\n"
        return
    yield "| field | type | meaning |\n| --- | --- | --- |"
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        kind = _cell(_type(field, own_pages))
        if name not in required and "default" in field:
            kind += f"<br>default {_cell(_default(field['default']))}"
        yield f"| `{name}` | {kind} | {_cell(prose(field.get('description', '')))} |"
    yield ""


def _default(value: Any) -> str:
    text = json.dumps(value)
    return f"`{text}`" if len(text) < 40 else "as below"


def _type(field: Mapping[str, Any], own_pages: Mapping[str, FileSchema]) -> str:
    """In words: ``list of integer ≥ 0``, with links to the parts that the page describes."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        page = f"{own_pages[name].name}.md" if name in own_pages else f"#{name.lower()}"
        return f"[{_short(name)}]({page})"
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "enum" in field:
        return " or ".join(f"`{json.dumps(one)}`" for one in field["enum"])
    for union in ("anyOf", "oneOf"):
        if union in field:
            return " or ".join(_type(one, own_pages) for one in field[union])
    return _plain(field, own_pages)


def _plain(field: Mapping[str, Any], own_pages: Mapping[str, FileSchema]) -> str:
    kind = field.get("type", "anything")
    if kind == "array":
        if "prefixItems" in field:
            return f"[{', '.join(_type(one, own_pages) for one in field['prefixItems'])}]"
        item = _type(field.get("items", {}), own_pages)
        return f"list of {item}" if " or " not in item else f"list of ({item})"
    if kind == "object":
        inner = field.get("additionalProperties")
        return f"object of {_type(inner, own_pages)}" if isinstance(inner, dict) else "object"
    if field.get("format") == "date-time":
        return "time with zone (ISO 8601)"
    return " ".join([str(kind), *_limits(field)])


_LIMITS = {
    "exclusiveMinimum": "> {:g}",
    "minimum": "≥ {:g}",
    "exclusiveMaximum": "< {:g}",
    "maximum": "≤ {:g}",
    "pattern": "like `{}`",
}


def _limits(field: Mapping[str, Any]) -> list[str]:
    found = [text.format(field[key]) for key, text in _LIMITS.items() if key in field]
    return [*found, "not empty"] if field.get("minLength") == 1 else found


def _short(name: str) -> str:
    """Of a class whose name another class of the file has, too: without its module."""
    return name.rpartition("__")[2]


def prose(text: str) -> str:
    """A docstring as Markdown: its double backquotes are code, its roles are names."""
    text = re.sub(r":[a-z]+:`~?([^`]+)`", r"``\1``", text)
    parts = text.split("``")
    parts[::2] = [re.sub(r"([*\[\]_])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
