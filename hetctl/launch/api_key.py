"""The key that a server asks its clients for: read, checked, and kept out of sight."""

import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from hetctl.errors import UsageError
from hetctl.redact import MASK

VARIABLE = "VLLM_API_KEY"
"""How vLLM takes it without a command line that every user of the machine can read."""
OPTION = "--api-key"
_LONGEST_BYTES = 4096
# Of a container, filled by its runtime; who can read them is decided outside.
_MOUNTED_SECRETS = Path("/run/secrets")


def api_key_of(
    key: str | None, file: Path | None, environment: Mapping[str, str]
) -> tuple[str | None, str | None]:
    """The key, from the option, the file or vLLM's own variable, and a warning about it.

    Raises:
        UsageError: both are given, the file cannot be read, or what it holds is no key.
    """
    if key is not None and file is not None:
        raise UsageError("--api-key and --api-key-file are both given; leave one of them out.")
    if key is not None:
        return _checked(key, "--api-key"), None
    if file is not None:
        return _from_file(file)
    if inherited := environment.get(VARIABLE):
        return _checked(inherited, VARIABLE), None
    return None, None


def _from_file(file: Path) -> tuple[str, str | None]:
    try:
        with file.open("rb") as opened:
            status = file.stat()
            content = opened.read(_LONGEST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--api-key-file {file} cannot be read: {error.strerror}.") from error
    if len(content) > _LONGEST_BYTES:
        raise UsageError(
            f"--api-key-file {file} is longer than {_LONGEST_BYTES} bytes; it must hold one key "
            "and nothing else."
        )
    key = _checked(content.decode("utf-8", errors="replace").strip(), f"--api-key-file {file}")
    others = stat.S_IMODE(status.st_mode) & (stat.S_IRGRP | stat.S_IROTH)
    if others and not file.absolute().is_relative_to(_MOUNTED_SECRETS):
        return key, f"{file} can be read by other users; `chmod 600 {file}` keeps the key secret."
    return key, None


def _checked(key: str, what: str) -> str:
    """``key``, if a client can send it in a header.

    Raises:
        UsageError: it is empty, or holds spaces or letters beyond ASCII; the key is not shown.
    """
    if not key:
        raise UsageError(f"{what} is empty; `openssl rand -hex 32` makes a key.")
    if any(not "!" <= letter <= "~" for letter in key):
        raise UsageError(
            f"{what} holds spaces, control characters or letters beyond ASCII, which clients "
            "cannot send as a key; `openssl rand -hex 32` makes one that they can."
        )
    return key


def hide_key_in_title() -> None:
    """Take the value of ``--api-key`` out of this process's title, which every user can read."""
    words = without_keys(sys.orig_argv)
    if words != sys.orig_argv:
        from setproctitle import setproctitle

        setproctitle(" ".join(words))


def without_keys(words: list[str]) -> list[str]:
    """A command line whose keys are masked."""
    shown: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if before == OPTION:
            shown.append(MASK)
        elif word.startswith(f"{OPTION}="):
            shown.append(f"{OPTION}={MASK}")
        else:
            shown.append(word)
    return shown
