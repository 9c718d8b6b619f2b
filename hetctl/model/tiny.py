"""The demo model: a complete Hugging Face model folder that travels with hetctl.

It lets every command be tried, and the engine be tested, without a download. How it was
made is in ``docs/demo-model.md``.
"""

import secrets
import shutil
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from hetctl.errors import HetctlError, UsageError

_DATA = "tiny_model"
# Read first by everyone who loads a model, so written last: an interrupted copy is no model.
_LAST = "config.json"


def write_tiny(folder: Path, force: bool = False) -> bool:
    """Write the demo model into ``folder``; False when it is already there.

    Args:
        folder: Absent, empty, or holding this model. An absent one appears whole.
        force: Write over files of the same names in a folder of anything else; its other
            files stay.

    Raises:
        UsageError: the folder is a file, or holds something else and ``force`` is not set.
        HetctlError: it cannot be written.
    """
    files = _files()
    try:
        if not folder.exists():
            _write_new(folder, files)
            return True
        if not folder.is_dir():
            raise UsageError(f"{folder} is a file: name a folder for the demo model.")
        if _holds(folder, files):
            return False
        if any(folder.iterdir()) and not force:
            raise UsageError(
                f"{folder} is not empty and is not the demo model: name another folder, or "
                "write into this one with --force."
            )
        _write(folder, files)
    except OSError as error:
        raise HetctlError(
            f"Cannot write the demo model to {folder} ({error.strerror}: {error.filename}); name "
            "another folder."
        ) from error
    return True


def _files() -> list[Traversable]:
    data = resources.files("hetctl.model") / _DATA
    return sorted(data.iterdir(), key=lambda file: (file.name == _LAST, file.name))


def _holds(folder: Path, files: list[Traversable]) -> bool:
    copies = ((folder / file.name, file) for file in files)
    return all(copy.is_file() and copy.read_bytes() == file.read_bytes() for copy, file in copies)


def _write_new(folder: Path, files: list[Traversable]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = folder.parent / f".{folder.name}.{secrets.token_hex(8)}"
    made.mkdir()
    try:
        _write(made, files)
        made.rename(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _write(folder: Path, files: list[Traversable]) -> None:
    for file in files:
        part = folder / f".{file.name}.{secrets.token_hex(8)}"
        try:
            with part.open("xb") as copy:
                copy.write(file.read_bytes())
            part.replace(folder / file.name)
        finally:
            part.unlink(missing_ok=True)
