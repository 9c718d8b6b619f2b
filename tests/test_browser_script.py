"""``make browser`` installs Chromium where it may, and stops nobody where it may not."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "tools/browser.sh"
TOOLS = ("sh", "ls", "timeout", "cat")

APT = """#!/bin/sh
# Nobody is there to answer.
[ -z "$(cat)" ] && [ "$DEBIAN_FRONTEND" = noninteractive ] || exit 9
echo "$*" >> "$CALLS"
case "$*" in
  *update*) exit "$UPDATE" ;;
  *) [ -f "$CALLS.2" ] || { : > "$CALLS.2"; exit "$FIRST"; }; exit "$SECOND" ;;
esac
"""


class Host:
    """A machine that has the tools of the script, and what else is put into ``programs``."""

    def __init__(self, folder: Path, root: bool = True) -> None:
        self.folder = folder
        self.programs = folder / "bin"
        self.programs.mkdir()
        for name in TOOLS:
            found = shutil.which(name)
            assert found is not None
            (self.programs / name).symlink_to(found)
        self.put("id", f"#!/bin/sh\necho {0 if root else 1000}\n")

    def put(self, name: str, script: str = "#!/bin/sh\n") -> None:
        (self.programs / name).write_text(script)
        (self.programs / name).chmod(0o755)

    def run(self, first: int = 0, second: int = 0, update: int = 0) -> tuple[str, list[str]]:
        """What the script says, and what it asks of apt-get, whose answers are given."""
        calls = self.folder / "calls"
        environment = {
            "PATH": str(self.programs),
            "HOME": str(self.folder),
            "CALLS": str(calls),
            "FIRST": str(first),
            "SECOND": str(second),
            "UPDATE": str(update),
        }
        done = subprocess.run(
            ["sh", str(SCRIPT)],
            env=environment,
            input="somebody's typing\n",
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        asked = calls.read_text().splitlines() if calls.exists() else []
        return done.stdout, [call.partition("DPkg::Lock::Timeout=60 ")[2] for call in asked]


INSTALL = "install -y --no-install-recommends chromium fonts-dejavu-core"


@pytest.mark.parametrize("browser", ["chromium", "google-chrome", "chrome", "playwright's own"])
def test_a_browser_that_is_there_will_do(browser: str, tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.put("apt-get", APT)
    if browser == "playwright's own":
        (tmp_path / ".cache/ms-playwright/chromium-1200").mkdir(parents=True)
    else:
        host.put(browser)
    assert host.run() == ("", [])


def test_root_gets_it_from_the_package_manager(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.put("apt-get", APT)
    said, asked = host.run()
    assert said == "Installing Chromium for the tests of rendered pages\n"
    assert asked == [INSTALL]


def test_lists_of_packages_are_fetched_where_there_are_none(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.put("apt-get", APT)
    said, asked = host.run(first=100)
    assert "skipped" not in said
    assert asked == [INSTALL, "update", INSTALL]


@pytest.mark.parametrize(("second", "update"), [(100, 0), (0, 100)])
def test_what_cannot_be_installed_is_told_and_stops_nothing(
    second: int, update: int, tmp_path: Path
) -> None:
    host = Host(tmp_path)
    host.put("apt-get", APT)
    said, _ = host.run(first=100, second=second, update=update)
    assert "could not be installed" in said
    assert "apt-get install chromium" in said


def test_others_than_root_are_told_what_to_install(tmp_path: Path) -> None:
    host = Host(tmp_path, root=False)
    host.put("apt-get", APT)
    said, asked = host.run()
    assert "only root may install it" in said
    assert "apt-get install chromium" in said
    assert asked == []


def test_so_are_those_without_apt(tmp_path: Path) -> None:
    said, _ = Host(tmp_path).run()
    assert "no apt-get to install it" in said


def test_it_works_from_any_folder_and_is_part_of_the_tests() -> None:
    makefile = (SCRIPT.parent.parent / "Makefile").read_text()
    assert "test: lint setup browser\n" in makefile
    assert os.access(SCRIPT, os.X_OK)
