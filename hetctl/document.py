"""The JSON documents that pass between the commands.

probe -> :class:`~hetctl.machine.Machine` -> plan -> :class:`~hetctl.plan.Plan` ->
serve/bench -> :class:`~hetctl.bench.results.Results`. Each can be saved, read, edited
and given back, so each carries its kind, its schema version and who wrote it.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from hetctl import __version__
from hetctl.errors import HetctlError, UsageError, printable
from hetctl.migration import Steps, is_readable, migrated, versions

Source = Literal["measured", "datasheet", "estimate"]


class Frozen(BaseModel):
    """A value object: immutable, and strict about unknown fields."""

    # Deferred: a command uses a few of these classes, and building all of them takes 5 ms.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Reading(NamedTuple):
    """One number of a quantity, and where in a table it is: `` at 8 rows``, or nothing."""

    where: str
    value: float
    low: float
    """The least that was measured; the number itself where there is no more than that."""
    high: float


class Quantity(Frozen):
    """One number or a table of them, in the unit that its field's name tells."""

    def each(self) -> Iterator[Reading]:
        """Every number."""
        raise NotImplementedError


class Figure(Quantity):
    """A number that plans depend on, and where it comes from.

    The unit is in the name of the field that holds the figure (``_bytes_per_s``,
    ``_flops``, ``_s``).
    """

    value: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    source: Source
    """``measured`` here, of the maker's ``datasheet``, or an ``estimate``."""
    note: str = ""
    """Where it comes from, in words."""

    def each(self) -> Iterator[Reading]:
        yield Reading("", self.value, self.value, self.value)


def require_table(rows: Sequence[int], values: Sequence[object], what: str = "rows") -> None:
    """Raise unless there is one value for each number of rows, and the rows rise.

    Args:
        what: What the numbers are, if not rows.

    Raises:
        ValueError: saying which.
    """
    if len(rows) != len(values):
        raise ValueError(f"{len(rows)} {what} have {len(values)} values")
    if any(a >= b for a, b in pairwise(rows)):
        raise ValueError(f"{what} must rise")


class FigureByRows(Quantity):
    """A rate that depends on how many rows (tokens of the batch) share the work."""

    rows: tuple[PositiveInt, ...] = Field(min_length=1)
    """Rising."""
    values: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...]
    """One per entry of ``rows``."""
    source: Source
    """As of a :class:`Figure`."""
    note: str = ""

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        require_table(self.rows, self.values)
        return self

    def each(self) -> Iterator[Reading]:
        for rows, value in zip(self.rows, self.values, strict=True):
            yield Reading(at_rows(rows), value, value, value)


class FigureByBytes(Quantity):
    """A time that depends on how many bytes are moved."""

    sizes_bytes: tuple[PositiveInt, ...] = Field(min_length=1)
    """Rising."""
    values: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...]
    """One per entry of ``sizes_bytes``."""
    source: Source
    """As of a :class:`Figure`."""
    note: str = ""

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        require_table(self.sizes_bytes, self.values, "sizes")
        return self

    def each(self) -> Iterator[Reading]:
        for size, value in zip(self.sizes_bytes, self.values, strict=True):
            yield Reading(for_bytes(size), value, value, value)


def at_rows(rows: int) -> str:
    """Where in a table by rows a number is."""
    return f" at {rows:,} row{'s' if rows > 1 else ''}"


def for_bytes(size: int) -> str:
    """Where in a table by bytes a number is."""
    return f" for {size:,} bytes"


class Document(Frozen):
    """Base of every saved document.

    Subclasses set ``KIND`` and ``VERSION``. ``VERSION`` grows when a reader of the old
    version would misread the new one; ``STEPS`` then gets one that brings what was saved
    up to date (:mod:`hetctl.migration`).
    """

    KIND: ClassVar[str]
    VERSION: ClassVar[int] = 1
    STEPS: ClassVar[Steps] = {}

    kind: str = ""
    """Which document it is: ``hetctl.plan``."""
    schema_version: int = 0
    """Of this kind of document."""
    hetctl_version: str = __version__
    """Of the hetctl that wrote it."""

    @model_validator(mode="before")
    @classmethod
    def _stamp(cls, data: Any) -> Any:
        """Of this kind and version where it does not say, and up to date where it is older."""
        if not isinstance(data, dict):
            return data
        data.setdefault("kind", cls.KIND)
        data.setdefault("schema_version", cls.VERSION)
        return migrated(data, cls.VERSION, cls.STEPS)

    def to_json(self) -> str:
        """Indented JSON with a final newline."""
        return self.model_dump_json(indent=2) + "\n"

    def save(self, path: Path) -> None:
        """Write the document so that a reader sees the old file or the new one whole."""
        write_atomically(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a document that :meth:`save` of this or an older hetctl wrote, or a person edited.

        Raises:
            UsageError: the file is missing, is not JSON, is another kind of document, of a
                schema version that cannot be read, or a field is wrong (the first one is named).
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise UsageError(f"Cannot read the {cls.KIND} file {path}: {reason}.") from error
        return cls.parse(text, origin=str(path))

    @classmethod
    def parse(cls, text: str, origin: str) -> Self:
        """Like :meth:`load`, from text; ``origin`` names it in errors."""
        import json

        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"{origin} is not valid JSON ({_json_problem(error)}); expected a {cls.KIND} file."
            ) from error
        found = data.get("kind") if isinstance(data, dict) else None
        if found != cls.KIND:
            raise UsageError(f"{origin} is not a {cls.KIND} file (its kind is {found!r}).")
        version = data.get("schema_version")
        if not is_readable(version, cls.VERSION, cls.STEPS):
            newer = type(version) is int and version > cls.VERSION
            raise UsageError(
                f"{origin} has {cls.KIND} schema version {version!r:.20}, but hetctl "
                f"{__version__} reads {versions(cls.VERSION, cls.STEPS)}; "
                f"{'update hetctl' if newer else 'make it again'}."
            )
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise UsageError(f"{origin}: {first_problem(error)}") from error


def _json_problem(error: Exception) -> str:
    """What is wrong with a text that Python's parser refused."""
    from json import JSONDecodeError

    if isinstance(error, JSONDecodeError):
        return f"line {error.lineno}: {error.msg}"
    return "nested too deep" if isinstance(error, RecursionError) else "a number is too long"


def first_problem(error: ValidationError) -> str:
    """The first of pydantic's complaints, as one sentence."""
    problem = error.errors(include_url=False)[0]
    where = printable(".".join(str(part) for part in problem["loc"])) or "the document"
    more = error.error_count() - 1
    rest = f" ({more} more like it)" if more else ""
    what = problem["msg"].removeprefix("Value error, ")
    return f"field {where}: {what}, got {problem['input']!r:.80}{rest}."


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace what ``path`` holds in one step, creating its folder. Text is UTF-8.

    Raises:
        HetctlError: the folder or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            file.write(content.encode() if isinstance(content, str) else content)
        temporary = Path(file.name)
        try:
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise HetctlError(f"Cannot write {path}: {error.strerror}.") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
