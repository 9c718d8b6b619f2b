"""Two spawned ranks that send each other a message over Gloo and through shared memory."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from hetctl.doctor.check import Surroundings
from hetctl.doctor.diagnosis import Finding, Outcome, failed, passed, skipped, warned
from hetctl.launch.parent_death import end_with_parent
from hetctl.launch.port import free_port
from hetctl.redact import redact
from hetctl.units import format_duration
from vllm_hetero import env
from vllm_hetero.rank_environment import cpu_rank_variables, gpu_rank_variables
from vllm_hetero.rank_map import Rank

GROUP = "two ranks"
PROGRAM = (sys.executable, "-m", "vllm_hetero.round_trip")
TIMEOUT_S = 120.0
"""Importing torch and vLLM takes 7 s with a warm disk; a cold or a shared one needs more."""
_POLL_S = 0.05
_GPU, _CPU = "HeterogeneousCudaPlatform", "HeterogeneousCpuPlatform"


class RankProcess:
    """One rank: its process, its last step, and what it found."""

    def __init__(self, argv: tuple[str, ...], environment: Mapping[str, str], errors: Path) -> None:
        self.doing = "starting Python"
        self.found: dict[str, Any] | None = None
        self._errors = errors
        with errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                preexec_fn=end_with_parent(),
            )
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, lines: IO[bytes]) -> None:
        for line in lines:
            try:
                said = json.loads(line)
            except ValueError:
                # vLLM logs to standard output.
                continue
            if isinstance(said, dict):
                self.doing = said.get("doing", self.doing)
                self.found = said.get("found", self.found)

    @property
    def ended_badly(self) -> bool:
        return self.process.poll() not in (None, 0)

    def reason(self) -> str:
        """The last line of its standard error."""
        text = self._errors.read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return redact(lines[-1]) if lines else f"exit code {self.process.returncode}"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(1)


def check_ranks(
    surroundings: Surroundings,
    progress: Callable[[str], None],
    timeout_s: float = TIMEOUT_S,
    program: tuple[str, ...] = PROGRAM,
) -> tuple[Finding, ...]:
    """Start the two, and judge what they found.

    Rank 0 is on a GPU if there is one, rank 1 on the CPU, each with the environment that a
    rank of an engine starts with.
    """
    started = time.monotonic()
    init_method = f"tcp://127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="hetctl-doctor-") as folder:
        ranks = [
            RankProcess(
                (*program, str(rank), init_method),
                _environment(surroundings, on_gpu=rank == 0 and bool(surroundings.machine.gpus)),
                Path(folder) / f"rank-{rank}",
            )
            for rank in range(2)
        ]
        try:
            problem = _wait(ranks, progress, timeout_s)
        finally:
            for rank in ranks:
                rank.end()
    return _judge(surroundings, ranks, problem, time.monotonic() - started)


def _environment(surroundings: Surroundings, on_gpu: bool) -> dict[str, str]:
    role = gpu_rank_variables() if on_gpu else cpu_rank_variables(Rank(rank=0, device="cpu"))
    merged = {
        **surroundings.environment,
        env.PLATFORM: "1",
        "VLLM_NO_USAGE_STATS": "1",
        **role,
    }
    kept = {name: value for name, value in merged.items() if value is not None}
    # A map of another launch would give these ranks other roles.
    kept.pop(env.RANK_MAP, None)
    return kept


def _wait(
    ranks: list[RankProcess], progress: Callable[[str], None], timeout_s: float
) -> str | None:
    """Wait for both; what went wrong, or None."""
    deadline = time.monotonic() + timeout_s
    while True:
        for number, rank in enumerate(ranks):
            if rank.ended_badly:
                rank.end()
                return f"rank {number} failed while {rank.doing}: {rank.reason()}"
        waiting = [(n, rank) for n, rank in enumerate(ranks) if rank.process.poll() is None]
        if not waiting:
            return None
        number, rank = waiting[0]
        if time.monotonic() > deadline:
            steps = "; ".join(f"rank {n} was {rank.doing}" for n, rank in waiting)
            return f"no end after {timeout_s:g} s: {steps}"
        progress(f"two ranks: {rank.doing}")
        time.sleep(_POLL_S)


_REMEDIES = {
    "loading the CPU kernels": "Run hetctl kernels install; see hetctl kernels status.",
    "opening a Gloo group with the other rank": (
        "Let processes connect on the loopback interface; GLOO_SOCKET_IFNAME=lo makes Gloo use it."
    ),
    "sending over Gloo": "Set GLOO_SOCKET_IFNAME=lo, or allow connections on loopback.",
    "sending through shared memory": "Enlarge /dev/shm, or serve with --p2p gloo.",
    "pinning host memory for the GPU": "Raise ulimit -l (docker run --ulimit memlock=-1).",
}
_REMEDY = "Start Python here and try: import vllm; report it with hetctl doctor --bundle FILE."


def _judge(
    surroundings: Surroundings, ranks: list[RankProcess], problem: str | None, seconds: float
) -> tuple[Finding, ...]:
    founds = [rank.found for rank in ranks if rank.found is not None]
    if problem is not None or len(founds) < len(ranks):
        step = next((rank.doing for rank in ranks if rank.ended_badly), ranks[0].doing)
        reason = problem or f"the ranks ended without an answer while {step}"
        return (_finding("round trip", failed(reason, _REMEDIES.get(step, _REMEDY)), seconds),)
    gpu, cpu = founds
    expected = (_GPU if surroundings.machine.gpus else _CPU, _CPU)
    platforms = (gpu["platform"], cpu["platform"])
    outcomes = {
        "platform": passed(" and ".join(dict.fromkeys(platforms)))
        if platforms == expected
        else failed(
            f"{platforms[0]} and {platforms[1]} instead of {expected[0]} and {expected[1]}",
            "See above whether the plugin is registered and the GPU visible.",
        ),
        "kernels load": passed(f"vllm.{cpu['kernels']}"),
        "pinned memory": _pinning(gpu),
        "Gloo": passed(f"{format_duration(gpu['gloo_s'])} there and back, {gpu['device']} and cpu"),
        "shared memory": passed(f"{format_duration(gpu['shm_s'])} there and back"),
    }
    return tuple(_finding(name, outcome, seconds) for name, outcome in outcomes.items())


def _pinning(found: dict[str, Any]) -> Outcome:
    if "pinned" not in found:
        return skipped("only GPU ranks pin memory")
    if found["pinned"]:
        return passed("shared memory was pinned for the GPU")
    return warned(
        "shared memory cannot be pinned: copies between GPU and CPU ranks are slower",
        "Raise ulimit -l (docker run --ulimit memlock=-1).",
    )


def _finding(name: str, outcome: Outcome, seconds: float) -> Finding:
    return Finding(group=GROUP, name=name, seconds=seconds, **dict(outcome))
