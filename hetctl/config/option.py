"""What may be set: the options of every command."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_KINDS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


@dataclass(frozen=True)
class Option:
    """One option of one command."""

    command: tuple[str, ...]
    """Such as ``("kernels", "install")``; empty for hetctl's own options."""
    name: str
    """As on the command line, without dashes: ``max-model-len``."""
    parameter: str
    """What the code calls it."""
    kind: type
    """bool, int, float, or str for anything that is written as text."""
    many: bool = False
    """Whether it may be given several times; in a file, an array."""

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return variable_name((*self.command, self.name))

    @property
    def allowed(self) -> str:
        """What a file may hold for it, in words."""
        return f"an array, each {_KINDS[self.kind]}" if self.many else _KINDS[self.kind]

    def accepts(self, value: Any) -> bool:
        """Whether a file's value has the right type; its range is the command's to check."""
        if self.many:
            return isinstance(value, list) and all(self._accepts_one(one) for one in value)
        return self._accepts_one(value)

    def _accepts_one(self, value: Any) -> bool:
        if isinstance(value, bool) or self.kind is bool:
            return self.kind is bool and isinstance(value, bool)
        if self.kind is float:
            return isinstance(value, int | float)
        if self.kind is str:
            # No path and no name holds a NUL, and the kernel refuses one by surprise.
            return isinstance(value, str) and "\0" not in value
        return isinstance(value, self.kind)


@dataclass(frozen=True)
class Catalogue:
    """Every command and every option."""

    commands: frozenset[tuple[str, ...]]
    options: tuple[Option, ...]

    def of(self, command: tuple[str, ...]) -> dict[str, Option]:
        """The options of one command, by name."""
        return {option.name: option for option in self.options if option.command == command}

    def below(self, command: tuple[str, ...]) -> list[str]:
        """The names of the commands that a group holds."""
        return sorted(name[-1] for name in self.commands if name and name[:-1] == command)


def variable_name(words: tuple[str, ...]) -> str:
    """``HETCTL_SERVE_MAX_MODEL_LEN``."""
    return "_".join(("HETCTL", *words)).upper().replace("-", "_")
