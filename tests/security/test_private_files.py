"""What may hold prompts or keys is its owner's alone, and lies where nobody else can reach."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hetctl.launch.private_file import open_private
from hetctl.launch.run_folder import RunFolder
from hetctl.run_record import RunRecord
from hetctl.server_record import ServerRecord
from tests.security.sources import FILES, ROOT, calls, imported, parsed, texts

TEXTS_OF_RECORDS = {
    "base_url",
    "created_by",
    "family",
    "hetctl_version",
    "kind",
    "log",
    "machine_fingerprint",
    "model",
    "model_name",
    "rates_digest",
    "session",
    "strategy",
    "unlike_plan",
}
"""Fields of one text: none is of a prompt, an answer or a command line."""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


DRAWS_SAMPLES = {"chat.py"}
"""Files that draw what they send, the same each time."""


@pytest.fixture
def umask() -> Iterator[None]:
    """Of a careless user."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_a_private_file_is_its_owner_s_alone_in_folders_that_are(tmp_path: Path) -> None:
    path = tmp_path / "state" / "hetctl" / "serve.log"
    with open_private(path) as file:
        file.write(b"a prompt")
        assert mode(path) == 0o600
    assert [mode(folder) for folder in (path.parent, path.parent.parent)] == [0o700, 0o700]
    assert path.read_bytes() == b"a prompt"


@pytest.mark.usefixtures("umask")
def test_an_older_file_is_emptied_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "serve.log"
    path.write_text("older and longer")
    path.chmod(0o644)
    open_private(path).close()
    assert (mode(path), path.read_bytes()) == (0o600, b"")
    assert mode(tmp_path) == 0o700  # As pytest made it, and not touched.


def test_what_is_no_file_stays_as_it_is() -> None:
    before = mode(Path("/dev/null"))
    open_private(Path("/dev/null")).close()
    assert mode(Path("/dev/null")) == before


@pytest.mark.usefixtures("umask")
def test_a_run_folder_is_its_owner_s_alone(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert mode(folder.path) == 0o700
    assert mode(folder.path / "lock") == 0o600
    folder.remove()


def test_run_folders_have_names_of_their_own(tmp_path: Path) -> None:
    folders = [RunFolder(tmp_path) for _ in range(8)]
    assert len({folder.path.name for folder in folders}) == 8
    for folder in folders:
        assert re.fullmatch(r"hetctl-[a-z0-9_]{8,}", folder.path.name)
        folder.remove()


def test_a_lock_that_is_a_link_is_neither_opened_nor_a_reason_to_remove_anything(
    tmp_path: Path,
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("precious")
    planted = tmp_path / "hetctl-planted"
    planted.mkdir()
    (planted / "lock").symlink_to(mine)
    (planted / "other").touch()
    RunFolder(tmp_path).remove()
    assert (planted / "other").exists()
    assert mine.read_text() == "precious"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "hetctl-theirs"
    theirs.mkdir()
    (theirs / "lock").touch()
    os.chown(theirs, 4711, 4711)
    RunFolder(tmp_path).remove()
    assert (theirs / "lock").exists()


@pytest.mark.parametrize("kind", [RunRecord, ServerRecord], ids=lambda kind: kind.KIND)
def test_records_that_others_may_read_have_no_place_for_prompts_and_keys(
    kind: type[RunRecord] | type[ServerRecord],
) -> None:
    fields = kind.model_fields
    assert {n for n, f in fields.items() if f.annotation in (str, Path)} <= TEXTS_OF_RECORDS
    assert not {"argv", "command", "environment", "env", "prompt", "api_key"} & set(fields)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_temporary_name_can_be_guessed(file: Path) -> None:
    tree = parsed(file)
    # mktemp only names; random is for what nobody wants to know.
    assert not {"tempfile.mktemp", "mktemp", "os.tempnam"} & set(calls(tree))
    assert "random" not in imported(tree) or file.name in DRAWS_SAMPLES
    # A place in a folder of all users is asked for, never spelled out.
    assert not [text for text in texts(tree) if re.match(r"/(var/)?tmp/\\w", text)]
    short = re.findall(r"token_hex\((\d+)\)", file.read_text(encoding="utf-8"))
    assert all(8 * int(count) >= 64 for count in short)
