"""Documents of older schema versions, brought up to today's.

A kind of document names one step for each version that it left behind: a pure function from the
fields of that version, as JSON has them, to those of the next. A document in a document (the plans
in results) has a version of its own, and is brought up to date when it is reached.
"""

from collections.abc import Callable, Mapping
from typing import Any

Fields = dict[str, Any]
Step = Callable[[Fields], Fields]
Steps = Mapping[int, Step]
"""By the version that a step begins with."""


def oldest_version(current: int, steps: Steps) -> int:
    """The first version from which steps lead to ``current`` without a gap."""
    oldest = current
    while oldest - 1 in steps:
        oldest -= 1
    return oldest


def is_readable(version: object, current: int, steps: Steps) -> bool:
    """Whether a document of this version is, or can be made, one of the ``current`` version."""
    # True counts as 1 in Python, and is no version.
    if not isinstance(version, int) or isinstance(version, bool):
        return False
    return oldest_version(current, steps) <= version <= current


def migrated(fields: Fields, current: int, steps: Steps) -> Fields:
    """The fields as the ``current`` version has them; the same object if they are of it.

    Raises:
        ValueError: no steps lead from their version, or they are not what that version has.
    """
    version = fields["schema_version"]
    if not is_readable(version, current, steps):
        raise ValueError(f"schema version {version!r} is none of {versions(current, steps)}")
    while fields["schema_version"] < current:
        version = fields["schema_version"]
        try:
            fields = {**steps[version](fields), "schema_version": version + 1}
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"it is not a document of schema version {version}") from error
    return fields


def versions(current: int, steps: Steps) -> str:
    """``versions 1 to 3``, or ``version 3``: what can be read."""
    oldest = oldest_version(current, steps)
    return f"versions {oldest} to {current}" if oldest < current else f"version {current}"
