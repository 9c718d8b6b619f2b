"""A real engine of two ranks with the demo model, and one answer from it."""

import json
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from hetctl.doctor.check import Surroundings
from hetctl.doctor.diagnosis import Finding, Outcome, failed, passed
from hetctl.errors import HetctlError
from hetctl.launch.command import launch_command
from hetctl.launch.port import free_port
from hetctl.launch.preflight import prepare_runtime
from hetctl.launch.server import Server
from hetctl.model.config import read_model_spec
from hetctl.model.tiny import write_tiny
from hetctl.plan import Plan
from hetctl.planner import PlanRequest, make_plan
from hetctl.profiles import with_rates
from hetctl.units import format_duration
from hetctl.workload import Workload

GROUP = "engine"
_START_TIMEOUT_S = 300.0
_ANSWER_TIMEOUT_S = 60.0
_TOKENS = 8
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def check_engine(
    surroundings: Surroundings, progress: Callable[[str], None], log: Path
) -> tuple[Finding, ...]:
    """Serve the demo model over a GPU and the CPU, or two CPU ranks, and ask it once.

    Args:
        log: Where the server's output goes.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hetctl-doctor-") as folder:
        try:
            outcome = _serve_and_ask(surroundings, Path(folder) / "model", progress, log)
        except HetctlError as error:
            outcome = failed(str(error), f"See {log}; the checks above may say why.")
    seconds = time.monotonic() - started
    return (Finding(group=GROUP, name="demo model", seconds=seconds, **dict(outcome)),)


def two_rank_plan(surroundings: Surroundings, model: Path) -> Plan:
    """Half of the layers on the first GPU if there is one, all others on CPU ranks."""
    spec = read_model_spec(str(model), "auto")
    half = len(spec.layers) // 2
    gpus = surroundings.machine.gpus
    request = PlanRequest(
        split=(half, len(spec.layers) - half),
        devices=(f"cuda:{gpus[0].index}", "cpu") if gpus else ("cpu",),
        cpu_ranks=1 if gpus else 2,
    )
    workload = Workload(concurrency=2, input_len=32, output_len=_TOKENS, max_model_len=1024)
    return make_plan(with_rates(surroundings.machine), spec, workload, request)


def _serve_and_ask(
    surroundings: Surroundings, model: Path, progress: Callable[[str], None], log: Path
) -> Outcome:
    write_tiny(model)
    plan = two_rank_plan(surroundings, model)
    prepare_runtime(plan, progress)
    command = launch_command(plan, host="127.0.0.1", port=free_port())
    # A small one, and it must not fail because the machine is at work.
    with Server(command, log, share_gpus=True) as server:
        began = time.monotonic()
        server.wait_ready(_START_TIMEOUT_S, lambda phase: progress(f"starting vLLM: {phase}"))
        ready_s = time.monotonic() - began
        progress("waiting for an answer of the engine")
        tokens = _ask(server.base_url, command.model_name)
        server.require_alive()
    devices = " and ".join(rank.device for rank in plan.ranks)
    if tokens != _TOKENS:
        return failed(
            f"the engine on {devices} answered with {tokens} tokens instead of {_TOKENS}",
            f"See {log}, and report it with hetctl doctor --bundle FILE.",
        )
    return passed(f"{devices}: ready in {format_duration(ready_s)}, {tokens} tokens answered")


def _ask(base_url: str, model: str) -> int:
    """How many tokens one completion has.

    Raises:
        HetctlError: the server does not answer, or with an error.
    """
    body = {"model": model, "prompt": [1, 2, 3], "max_tokens": _TOKENS, "ignore_eos": True}
    request = urllib.request.Request(
        f"{base_url}/v1/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with _DIRECT.open(request, timeout=_ANSWER_TIMEOUT_S) as answer:
            return int(json.load(answer)["usage"]["completion_tokens"])
    except (OSError, ValueError, KeyError) as error:
        raise HetctlError(f"The engine did not answer: {error}.") from error
