"""When a rank fails, the server ends soon, says which rank and why, and leaves nothing."""

import textwrap
import time
import urllib.error
from pathlib import Path

import pytest

from tests.e2e.engine import ServeProcess, left_behind, shared_memory

pytestmark = pytest.mark.engine

OPTIONS = ("--split 2,6 --max-model-len 512 --concurrency 4 --input-len 64 --output-len 32",)

# A vLLM plugin of the test's own: the last stage raises once a file exists.
PLUGIN = """
from pathlib import Path

def register():
    from vllm_hetero import env
    if env.role() != "cpu":
        return
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner
    original = CPUModelRunner.execute_model
    def execute_model(self, *args, **kwargs):
        from vllm.distributed import get_pp_group
        if get_pp_group().is_last_rank and Path({trigger!r}).exists():
            raise ArithmeticError("injected by the test")
        return original(self, *args, **kwargs)
    CPUModelRunner.execute_model = execute_model
"""


@pytest.fixture
def failing_plugin(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """Environment that loads the plugin, and the file that sets it off."""
    trigger = tmp_path / "fail-now"
    folder = tmp_path / "plugin"
    info = folder / "failing_rank-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "failing_rank.py").write_text(textwrap.dedent(PLUGIN).format(trigger=str(trigger)))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: failing-rank\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[vllm.general_plugins]\nfailing_rank = failing_rank:register\n"
    )
    return {"PYTHONPATH": str(folder)}, trigger


def wait_for_end(server: ServeProcess, seconds: float) -> tuple[int, str, float]:
    """Exit code, stderr and seconds until the end."""
    started = time.monotonic()
    _, said = server.process.communicate(timeout=seconds)
    return server.process.returncode, said, time.monotonic() - started


def test_a_rank_that_raises_ends_the_server_with_its_own_error(
    demo_model: Path, tmp_path: Path, failing_plugin: tuple[dict[str, str], Path]
) -> None:
    env, trigger = failing_plugin
    before = shared_memory()
    with ServeProcess(demo_model, OPTIONS, tmp_path / "log", env) as server:
        assert len(server.complete([1, 2, 3], 4)) == 4
        trigger.touch()
        with pytest.raises((urllib.error.URLError, OSError)):
            server.complete([1, 2, 3], 4)
        code, said, seconds = wait_for_end(server, 60)
    assert code == 1
    assert seconds < 30
    assert "Rank 1 (cpu) failed in execute_model: ArithmeticError: injected by the test" in said
    assert left_behind(server, before) == []


def test_a_rank_that_is_killed_ends_the_server(demo_model: Path, tmp_path: Path) -> None:
    before = shared_memory()
    with ServeProcess(demo_model, OPTIONS, tmp_path / "log") as server:
        server.ranks()[0].kill()
        code, said, seconds = wait_for_end(server, 60)
    assert code == 1
    assert seconds < 30
    assert "The server died: Rank 0 (cpu) was killed by SIGKILL" in said
    assert left_behind(server, before) == []


def test_hetctl_itself_killed_leaves_no_server(demo_model: Path, tmp_path: Path) -> None:
    with ServeProcess(demo_model, OPTIONS, tmp_path / "log") as server:
        server.process.kill()
        server.process.wait(10)
        deadline = time.monotonic() + 40
        while any(process.is_running() for process in server.descendants):
            assert time.monotonic() < deadline, server.descendants
            time.sleep(0.5)
