"""A vLLM that was not tested is refused, and vLLM must not go on without us."""

import subprocess
import sys

import pytest

from vllm_hetero import version
from vllm_hetero.version import VersionError, check_vllm_version


def test_the_tested_version_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "version", lambda name: version.TESTED_VLLM + "+cu130")
    check_vllm_version()


def test_another_version_is_refused_unless_the_user_insists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(version, "version", lambda name: "0.27.1")
    with pytest.raises(VersionError, match=r"vLLM 0\.27\.1 is installed, .* VLLM_HETERO_ANY_VLLM"):
        check_vllm_version()
    monkeypatch.setenv("VLLM_HETERO_ANY_VLLM", "1")
    check_vllm_version()


def test_the_plugin_ends_the_process_rather_than_let_vllm_choose_another_platform() -> None:
    code = (
        "import vllm_hetero.version as v; v.version = lambda name: '9.9.9'\n"
        "from vllm_hetero import platform\n"
        "try:\n    platform()\nexcept Exception:\n    print('swallowed')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"VLLM_HETEROGENEOUS_PLATFORM": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "vLLM 9.9.9 is installed" in done.stderr
    assert "swallowed" not in done.stdout


def test_the_plugin_does_nothing_unasked() -> None:
    code = "import vllm_hetero as p; print(p.platform(), p.register())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PATH": ""}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["None", "None"]
