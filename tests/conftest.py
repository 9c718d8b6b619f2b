"""For every test: hetctl as it is for somebody who has set nothing."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.browser import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The same examples in each run, so that a change is what a failure tells of, and however long they
# take: machines differ. `pytest --hypothesis-profile=search` looks at others.
_ANY_SPEED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _ANY_SPEED, derandomize=True)
settings.register_profile("search", _ANY_SPEED)
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_developer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The developer's own settings file and variables must not decide what is tested."""
    folder = tmp_path_factory.mktemp("config")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        for name in [name for name in os.environ if name.startswith("HETCTL_")]:
            patch.delenv(name)
        yield folder


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A Chromium; without one, the tests that ask for it are skipped."""
    yield from chromium()
