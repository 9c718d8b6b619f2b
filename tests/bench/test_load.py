"""Running the generator process: a stand-in for how it ends, the real one for what it does."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hetctl.bench import load as load_module
from hetctl.bench.load import LoadTarget, run_load
from hetctl.bench.load_progress import LoadProgress
from hetctl.bench.requests import requests_file
from hetctl.bench.results import Load, Slo
from hetctl.bench.workloads import asked_output_tokens
from hetctl.errors import HetctlError
from hetctl.model.tiny import write_tiny
from tests.bench.mock_server import MockServer
from tests.bench.tiny_tokenizer import save_tiny_tokenizer


def target(
    tmp_path: Path,
    base_url: str = "http://127.0.0.1:1",
    tokenizer: str = "x",
    requests_file: Path | None = None,
) -> LoadTarget:
    raw, log = tmp_path / "raw" / "r.json", tmp_path / "logs" / "l.log"
    return LoadTarget(base_url, "mock", tokenizer, raw, log, requests_file)


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces the generator's command by a Python script."""

    def use(script: str) -> None:
        argv = (sys.executable, "-c", script)
        monkeypatch.setattr(load_module, "load_argv", lambda *_args, **_kwargs: argv)

    return use


def test_a_generator_that_fails_is_quoted(tmp_path: Path, generator: Callable[[str], None]) -> None:
    generator("import sys; print('ValueError: no tokenizer', file=sys.stderr); sys.exit(3)")
    with pytest.raises(HetctlError, match=r"exit code 3: ValueError: no tokenizer"):
        run_load(Load(), target(tmp_path), lambda _: None, 30)


def test_the_generator_runs_on_the_cpus_that_ranks_leave(
    tmp_path: Path, generator: Callable[[str], None]
) -> None:
    generator("import os, sys; sys.exit(' '.join(map(str, sorted(os.sched_getaffinity(0)))))")
    allowed = os.sched_getaffinity(0)
    last = max(allowed)
    for cpus, told in ((frozenset([last]), {last}), (frozenset[int](), allowed)):
        with pytest.raises(HetctlError, match=r"exit code 1: [0-9 ]+") as raised:
            run_load(Load(), replace(target(tmp_path), cpus=cpus), lambda _: None, 30)
        found = str(raised.value).partition("exit code 1: ")[2].partition(" (see")[0]
        assert {int(cpu) for cpu in found.split()} == told
        assert os.sched_getaffinity(0) == allowed, "hetctl itself stays where it was"


def test_a_load_past_its_time_is_ended_with_all_its_processes(
    tmp_path: Path, generator: Callable[[str], None]
) -> None:
    generator(
        "import os, subprocess, time\n"
        f"child = subprocess.Popen(['sleep', '60']); open({str(tmp_path / 'pid')!r}, 'w')"
        ".write(str(child.pid)); time.sleep(60)"
    )
    with pytest.raises(HetctlError, match="not answered within 2 s"):
        run_load(Load(), target(tmp_path), lambda _: None, 2)
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_an_interrupt_ends_the_generator(tmp_path: Path, generator: Callable[[str], None]) -> None:
    generator(
        f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()));"
        "print('Starting main benchmark run', flush=True); time.sleep(60)"
    )

    def interrupt(_: LoadProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_load(Load(), target(tmp_path), interrupt, 30)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_an_old_result_does_not_pass_for_a_new_one(
    tmp_path: Path, generator: Callable[[str], None]
) -> None:
    where = target(tmp_path)
    where.result_file.parent.mkdir()
    where.result_file.write_text((Path(__file__).parent / "fixtures/vllm_result.json").read_text())
    generator("pass")
    with pytest.raises(HetctlError, match="wrote no result file"):
        run_load(Load(), where, lambda _: None, 30)


@pytest.mark.engine
def test_the_real_generator_measures_a_server_and_repeats_itself(tmp_path: Path) -> None:
    tokenizer = str(save_tiny_tokenizer(tmp_path / "tokenizer"))
    load = Load(input_len=16, output_len=8, num_prompts=6, max_concurrency=2, num_warmups=1)
    prompts = []
    for _ in range(2):
        with MockServer(fail_every=7) as server:
            seen: list[LoadProgress] = []
            measured = run_load(
                load, target(tmp_path, server.base_url, tokenizer), seen.append, 300
            )
        prompts.append(sorted(body["prompt"] for body in server.requests))
        assert len(server.requests) == load.num_warmups + load.num_prompts
        assert {body["temperature"] for body in server.requests} == {0}
        assert all(body["ignore_eos"] for body in server.requests)
        assert (measured.completed, measured.failed) == (5, 1)
        assert (measured.input_tokens, measured.output_tokens) == (5 * 16, 5 * 8)
        assert measured.errors == ("Mock Failure",)
        assert seen[-1] == LoadProgress("load", 6, 6)
    assert prompts[0] == prompts[1], "the same seed must give the same requests"


@pytest.mark.engine
def test_the_real_generator_sends_a_file_of_requests_at_a_rate(tmp_path: Path) -> None:
    """Every request as it is in the file, none twice, in an open loop, and with goodput."""
    write_tiny(tmp_path / "model")
    model = str(tmp_path / "model")
    load = Load(
        workload="chat",
        dataset="custom",
        num_prompts=6,
        max_concurrency=None,
        request_rate=20,
        burstiness=0.5,
        num_warmups=1,
        # One token takes 2 ms at least, so short answers keep this and long ones do not.
        slo=Slo(e2el_s=0.3),
    )
    requests = requests_file(load, model, tmp_path)
    with MockServer() as server:
        where = target(tmp_path, server.base_url, model, requests)
        measured = run_load(load, where, lambda _: None, 300)
    assert requests is not None
    wanted = [json.loads(line) for line in requests.read_text().splitlines()]
    sent = [(body["prompt"], body["max_tokens"]) for body in server.requests[load.num_warmups :]]
    assert sorted(sent) == sorted((one["prompt"], one["output_tokens"]) for one in wanted)
    assert (measured.completed, measured.output_tokens) == (6, asked_output_tokens(load))
    assert measured.request_goodput is not None
    assert 0 < measured.request_goodput < measured.request_throughput
