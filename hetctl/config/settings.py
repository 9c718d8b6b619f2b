"""Reads settings files and checks them against the options that exist."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hetctl.config.option import Catalogue, Option
from hetctl.errors import UsageError, printable


@dataclass(frozen=True)
class Setting:
    """A value and the file that it is from."""

    value: Any
    file: Path


@dataclass(frozen=True)
class Settings:
    """What the files say, a stronger file's value in place of a weaker one's."""

    files: tuple[Path, ...] = ()
    """Strongest first."""
    by_option: dict[Option, Setting] = field(default_factory=dict)

    def default_map(self) -> dict[str, Any]:
        """As click takes it: tables of commands, values by the names of parameters."""
        tables: dict[str, Any] = {}
        for option, setting in self.by_option.items():
            table = tables
            for word in option.command:
                table = table.setdefault(word, {})
            table[option.parameter] = setting.value
        return tables

    def of(self, command: tuple[str, ...], name: str) -> Setting | None:
        """What the files say about one option."""
        for option, setting in self.by_option.items():
            if (option.command, option.name) == (command, name):
                return setting
        return None


def read_settings(files: Sequence[Path], catalogue: Catalogue) -> Settings:
    """Read the files, strongest first.

    Raises:
        UsageError: a file cannot be read, is no TOML, or sets what does not exist or in a
            type that it does not take.
    """
    found: dict[Option, Setting] = {}
    for file in reversed(files):
        for option, value in _values(file, (), _table(file), catalogue):
            found[option] = Setting(value, file)
    return Settings(tuple(files), found)


def _table(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read {file}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        # Of tomllib, of text that is not UTF-8, or of a number with too many digits.
        raise UsageError(f"{file} is not valid TOML: {str(error) or 'too deep'}.") from error


def _values(
    file: Path, command: tuple[str, ...], table: dict[str, Any], catalogue: Catalogue
) -> Iterator[tuple[Option, Any]]:
    options = catalogue.of(command)
    for key, value in table.items():
        if (*command, key) in catalogue.commands:
            if not isinstance(value, dict):
                raise UsageError(
                    f"{file}: {key} is a command, whose options go into a table "
                    f"[{'.'.join((*command, key))}]; it cannot be {value!r:.60}."
                )
            yield from _values(file, (*command, key), value, catalogue)
        elif key not in options:
            raise UsageError(_unknown(file, command, key, value, catalogue))
        elif not options[key].accepts(value):
            raise UsageError(
                f"{file}: {place(command)}{key} must be {options[key].allowed}, not {value!r:.60}."
            )
        else:
            yield options[key], value


def _unknown(
    file: Path, command: tuple[str, ...], key: str, value: Any, catalogue: Catalogue
) -> str:
    from difflib import get_close_matches

    kind = "command" if isinstance(value, dict) else "option"
    allowed = catalogue.below(command) if kind == "command" else sorted(catalogue.of(command))
    nearest = get_close_matches(key.replace("_", "-"), allowed, n=1)
    hint = f" (did you mean {nearest[0]}?)" if nearest else ""
    return (
        f"{file}: {place(command)}{printable(key)} is no {kind} of hetctl{hint}; allowed here: "
        f"{', '.join(allowed) or 'none'}."
    )


def place(command: tuple[str, ...]) -> str:
    """``[kernels.install] ``, or nothing for what is outside of tables."""
    return f"[{'.'.join(command)}] " if command else ""
