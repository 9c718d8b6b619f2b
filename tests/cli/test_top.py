"""``hetctl top`` as a user sees it, against a server whose figures are known."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rich.cells import cell_len
from rich.console import Console

from hetctl.cli.top_view import FrameView, waiting_view
from hetctl.errors import EXIT_FAILURE, EXIT_USAGE
from hetctl.launch.port import free_port
from hetctl.launch.running import published
from hetctl.top.frame import Frame, RankFrame, TimeShares
from tests.cli.metrics_server import MetricsServer
from tests.cli.terminal import ALTERNATE, BACK, Terminal
from tests.top.pages import two_ranks
from tests.top.sample_frame import cpu_rank, frame, gpu_rank
from tests.top.test_framing import record

ROOT = Path(__file__).parents[2]
HETCTL = (sys.executable, "-m", "hetctl")


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with MetricsServer(two_ranks) as server:
        yield server


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where records of this test's servers are."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HETCTL, "top", *arguments], capture_output=True, text=True, timeout=60)


def top(server: MetricsServer, *options: str, **size: int) -> Terminal:
    return Terminal(*HETCTL, "top", server.url, "--interval", "0.2", *options, **size)


def test_once_prints_one_frame_and_so_does_a_pipe(server: MetricsServer) -> None:
    once = run(server.url, "--once", "--interval", "0.3")
    piped = run(server.url, "--interval", "0.3")
    for done in (once, piped):
        assert (done.returncode, done.stderr) == (0, "")
        said = " ".join(done.stdout.split())
        assert re.search(r"Rank 1 \(cpu\) works \d+% of the time in its layers", said)
        assert "\x1b" not in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 80


def test_json_is_a_document_with_rates_of_the_interval(server: MetricsServer) -> None:
    done = run(server.url, "--json", "--interval", "0.5")
    assert done.returncode == 0
    found = Frame.parse(done.stdout, "stdout")
    assert found.interval_s is not None
    assert 0.4 < found.interval_s < 5
    assert found.server.output_tokens_per_s == pytest.approx(100, rel=0.3)
    assert [rank.tokens_per_step for rank in found.ranks] == [pytest.approx(2)] * 2
    assert json.loads(done.stdout)["schema_version"] == 1


def test_a_server_that_hetctl_started_needs_no_address(server: MetricsServer, state: Path) -> None:
    mine = record().model_copy(update={"base_url": server.url, "pid": os.getpid()})
    created_s = psutil.Process().create_time()
    with published(mine.model_copy(update={"pid_created_s": created_s})):
        done = run("--once", "--interval", "0.2")
    assert "served  pipeline  up " in done.stdout
    # Ranks are called as in the plan.
    assert re.search(r"Rank 1 \(cuda:0\) works \d+%", done.stdout)


def test_without_a_server_it_says_so_in_one_sentence(state: Path) -> None:
    nobody = run()
    assert nobody.returncode == EXIT_FAILURE
    assert nobody.stderr.startswith("error: No server of yours runs here; start one with hetctl")
    url = f"http://127.0.0.1:{free_port()}"
    gone = run(url, "--once")
    assert gone.returncode == EXIT_FAILURE
    assert gone.stderr.startswith(f"error: No server answers at {url} (Connection refused)")
    assert run("no address").returncode == EXIT_USAGE


@pytest.mark.parametrize("key", ["q", "Q", "\x1b", "\x03"], ids=["q", "Q", "Esc", "Ctrl-C"])
def test_a_key_ends_it_and_gives_the_terminal_back(server: MetricsServer, key: str) -> None:
    with top(server) as terminal:
        terminal.wait_for("the bottleneck")
        assert terminal.settings() != terminal.before
        terminal.type(key)
        assert terminal.end() == 0
        assert terminal.settings() == terminal.before
        assert terminal.text.count(ALTERNATE) == terminal.text.count(BACK) == 1
        assert "\x1b[?25h" in terminal.text.rpartition("\x1b[?25l")[2]  # The cursor is seen.
        assert "Traceback" not in terminal.text


def test_other_keys_do_nothing(server: MetricsServer) -> None:
    with top(server) as terminal:
        terminal.wait_for("the bottleneck")
        for keys in ("\x1b[A", "x ", "\x1bOq"):
            terminal.type(keys)
            before = server.asked
            while server.asked < before + 2:
                assert terminal.process.poll() is None, keys
                time.sleep(0.05)
        assert "[A" not in terminal.text.replace(ALTERNATE, "")  # It is not echoed either.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_a_signal_gives_the_terminal_back_as_well(
    server: MetricsServer, number: signal.Signals
) -> None:
    with top(server) as terminal:
        terminal.wait_for("the bottleneck")
        terminal.signal(number)
        assert terminal.end() == 0
        assert terminal.settings() == terminal.before
        assert BACK in terminal.text


def test_an_error_gives_the_terminal_back_and_is_read_there() -> None:
    broken = MetricsServer(lambda asked: two_ranks(asked) if asked < 3 else "<html>")
    with broken, top(broken) as terminal:
        assert terminal.end() == EXIT_FAILURE
        assert terminal.settings() == terminal.before
        assert "is it a vLLM server?" in terminal.text.rpartition(BACK)[2]


def test_it_stops_for_the_shell_and_goes_on(server: MetricsServer) -> None:
    with top(server) as terminal:
        terminal.wait_for("the bottleneck")
        terminal.signal(signal.SIGTSTP)
        terminal.wait_for(BACK)
        assert terminal.settings() == terminal.before
        terminal.signal(signal.SIGCONT)
        terminal.wait_for(ALTERNATE, times=2)
        terminal.type("q")
        assert terminal.end() == 0


def test_it_follows_the_size_of_the_terminal_at_once(server: MetricsServer) -> None:
    with Terminal(*HETCTL, "top", server.url, "--interval", "30", columns=120) as terminal:
        terminal.wait_for("KV cache")
        shown = terminal.text.count("KV cache")
        terminal.resize(60, 20)
        terminal.wait_for("KV cache", times=shown + 1)
        assert server.asked == 1
        terminal.type("q")
        assert terminal.end() == 0


def test_a_server_that_goes_away_is_waited_for() -> None:
    with MetricsServer(two_ranks) as first:
        terminal = top(first)
        terminal.__enter__()
        terminal.wait_for("the bottleneck")
    try:
        terminal.wait_for(f"No server answers at {first.url}")
        terminal.wait_for("Waiting for it")
        shown = terminal.text.count("the bottleneck")
        with MetricsServer(two_ranks, first.port):
            terminal.wait_for("the bottleneck", times=shown + 1)
            terminal.type("q")
            assert terminal.end() == 0
    finally:
        terminal.__exit__()


def test_a_terminal_that_cannot_be_written_over_gets_one_frame(server: MetricsServer) -> None:
    with Terminal(*HETCTL, "top", server.url, "--interval", "0.2", TERM="dumb") as terminal:
        assert terminal.end() == 0
        assert ALTERNATE not in terminal.text
        assert "the bottleneck" in terminal.text


def rendered(shown: Frame, width: int, encoding: str = "utf-8") -> list[str]:
    console = Console(width=width, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(FrameView(shown))
    text = capture.get()
    text.encode(encoding)
    return [line.rstrip() for line in text.splitlines()]


EIGHT = tuple(cpu_rank(number) for number in range(8))


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("ranks", [(), EIGHT], ids=["two", "eight"])
def test_a_frame_fits_its_terminal(width: int, ranks: tuple[RankFrame, ...]) -> None:
    # Also where the character set is ASCII.
    lines = rendered(frame(*ranks), width, "ascii")
    assert max(map(cell_len, lines)) <= width
    text = " ".join(lines)
    for told in ("8 running, 2 waiting", "42% used", "1,234", "512.0 ms", "61.0 ms", "81%", "15%"):
        assert told in text, told
    assert "…" not in text


def test_what_is_wide_enough_shows_all() -> None:
    text = "\n".join(rendered(frame(), 120))
    for told in ("1-15", "24-31", "61 GB/s (66%)", "14.0/16.0 GiB", "97%", "cuda:0"):
        assert told in text, told


def test_bars_divide_the_time_as_the_shares_do() -> None:
    lines = rendered(frame(), 120)
    (bar,) = [line for line in lines if line.startswith("rank 1  ")]
    letters = bar.removeprefix("rank 1  ")
    assert {letter: letters.count(letter) for letter in "LHPRWS."} == {
        "L": 71,
        "H": 5,
        "P": 3,
        "R": 2,
        "W": 15,
        "S": 0,
        ".": 4,
    }
    assert any("H head" in line for line in lines)


def test_a_step_longer_than_the_interval_is_shown_while_it_runs() -> None:
    running = cpu_rank().model_copy(
        update={"layers_s": None, "head_s": None, "step_running_s": 12.34}
    )
    assert any(">12.34 s" in line for line in rendered(frame(gpu_rank(), running), 80))


def test_columns_that_say_nothing_are_left_out() -> None:
    silent = RankFrame(rank=0, device="cuda:0", layers="0-31", load=0.5)
    text = "\n".join(rendered(frame(silent, where_time_goes=""), 200))
    assert "50%" in text
    for title in ("step", "works", "weights read", "node", "CPUs", "idle"):
        assert title not in text.split(), title


def test_columns_stay_while_ranks_do_nothing() -> None:
    nothing = {"layers_s": None, "head_s": None, "tokens_per_step": None}
    nothing |= {"weight_read_bytes_per_s": None, "time": TimeShares()}
    idle = [rank.model_copy(update=nothing) for rank in (gpu_rank(), cpu_rank())]
    (busy,) = [line for line in rendered(frame(), 120) if "batch" in line]
    (quiet,) = [line for line in rendered(frame(*idle), 120) if "batch" in line]
    assert quiet.split() == busy.split()
    assert quiet.index("batch") == busy.index("batch")


def test_waiting_says_for_what_and_how_long() -> None:
    console = Console(width=60, color_system=None)
    with console.capture() as capture:
        console.print(waiting_view("No server answers at http://h:1 (refused).", 75.0))
    assert "1 min 15 s" in capture.get()


def test_the_page_for_users_shows_a_frame_as_it_is() -> None:
    shown = "\n".join(rendered(frame(), 80))
    assert shown in (ROOT / "docs/top.md").read_text(encoding="utf-8"), shown
