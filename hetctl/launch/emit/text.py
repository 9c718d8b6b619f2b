"""What every emitted file needs of the texts that it quotes."""

import shlex
from collections.abc import Iterable

from hetctl.errors import UsageError, printable


def comment(lines: Iterable[str]) -> str:
    """Lines of a comment; names in them cannot end it."""
    return "".join(f"# {printable(line)}".rstrip() + "\n" for line in lines)


def shell(words: Iterable[str]) -> str:
    """A command for a person to copy."""
    return shlex.join(words)


def require_text(value: str, what: str, control: str = "\n\t") -> str:
    """``value``, if it can be written in a file at all.

    Args:
        what: Where it is from, for the error.
        control: Control characters that the format has a form for.

    Raises:
        UsageError: it holds other control characters, or bytes that are no UTF-8.
    """
    for letter in value:
        if "\ud800" <= letter <= "\udfff" or (
            (letter < " " or letter == "\x7f") and letter not in control
        ):
            raise UsageError(
                f"{what}: {value!r:.80} holds {letter!r}, which the emitted file has no form for; "
                "give it another name."
            )
    return value
