"""Which settings files hold: the project's, and below it the user's."""

import os
from collections.abc import Mapping
from pathlib import Path

NAME = "hetctl.toml"
_ROOT_MARK = ".git"


def settings_files(folder: Path, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The files that exist, strongest first."""
    found = (project_file(folder), user_file(environment))
    return tuple(file for file in found if file is not None and _is_file(file))


def project_file(folder: Path) -> Path | None:
    """The nearest file from ``folder`` up to the root of its project.

    The root is the nearest folder that holds ``.git``. Outside a project it is ``folder``
    itself: a file in ``/tmp``, which anybody may write, must not change what runs below it.
    """
    above = (folder, *folder.parents)
    root = next((place for place in above if _exists(place / _ROOT_MARK)), folder)
    for place in above[: above.index(root) + 1]:
        if _is_file(place / NAME):
            return place / NAME
    return None


def user_file(environment: Mapping[str, str]) -> Path:
    """``hetctl/hetctl.toml`` in the user's configuration folder, whether it exists or not."""
    # The XDG specification tells programs to ignore a relative path.
    xdg = environment.get("XDG_CONFIG_HOME", "")
    base = Path(xdg) if xdg.startswith("/") else Path("~/.config").expanduser()
    return base / "hetctl" / NAME


def current_folder() -> Path:
    """The working directory, or the root of the file system where it is gone."""
    try:
        return Path.cwd()
    except OSError:
        return Path(os.sep)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
