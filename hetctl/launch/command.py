"""What a launch runs: the exact command and the environment that it adds."""

import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise

from hetctl.document import Frozen
from hetctl.errors import UsageError
from hetctl.launch.offload import offload_arguments
from hetctl.launch.p2p import P2P
from hetctl.launch.rank_map import rank_map_of
from hetctl.plan import Plan
from vllm_hetero import env

CPU = "cpu"
_NO_GPU = "-1"

_OWN_OPTIONS = {
    "--host": "hetctl's --host",
    "--port": "hetctl's --port",
    "--pipeline-parallel-size": "--split",
    "-pp": "--split",
    "--max-model-len": "hetctl's --max-model-len",
    "--dtype": "hetctl's --dtype",
    "--kv-cache-dtype": "hetctl's --kv-cache-dtype",
    "--tensor-parallel-size": "--strategy gpu-tp, or --split, which makes pipeline stages",
    "-tp": "--strategy gpu-tp, or --split, which makes pipeline stages",
    "--offload-backend": "--strategy uva, prefetch, pipeline-uva or pipeline-prefetch",
    "--cpu-offload-gb": "--strategy uva",
    "--offload-group-size": "--strategy prefetch",
    "--data-parallel-size": "one server for each copy of the model",
    "-dp": "one server for each copy of the model",
    "--uds": "hetctl's --host and --port",
    "--headless": "a server with an API",
    "--shutdown-timeout": "hetctl's --drain-timeout",
    "--api-key": "hetctl's --api-key-file, as every user of this machine can read command lines",
    "--ssl-keyfile": "a proxy in front that ends TLS",
    "--ssl-certfile": "a proxy in front that ends TLS",
}
"""Options of ``vllm serve`` that the plan decides, and what to use instead."""

_NOT_WITH_CPU_RANKS = {
    "--speculative-config": "speculative decoding",
    "-sc": "speculative decoding",
    "--spec-method": "speculative decoding",
    "--spec-model": "speculative decoding",
    "--enable-expert-parallel": "expert parallelism",
    "-ep": "expert parallelism",
    "--kv-transfer-config": "KV transfer",
    "--kv-offloading-size": "KV offloading",
    "--async-scheduling": "asynchronous scheduling",
    "--nnodes": "several nodes",
    "-n": "several nodes",
}
"""Options of ``vllm serve`` that the engine refuses with CPU ranks: better before it starts."""


class LaunchCommand(Frozen):
    """One ``vllm serve`` process, ready to start or to print."""

    argv: tuple[str, ...]
    env: dict[str, str]
    """Variables set on top of the caller's environment."""
    host: str
    port: int
    model_name: str
    """Name under which the server offers the model."""

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def gpus(self) -> tuple[str, ...]:
        """Numbers of the GPUs that the server sees, in NVML's order."""
        numbers = self.env.get("CUDA_VISIBLE_DEVICES", _NO_GPU)
        return () if numbers == _NO_GPU else tuple(numbers.split(","))

    def on_port(self, port: int) -> "LaunchCommand":
        """The same server on another port."""
        words = list(self.argv)
        words[words.index("--port") + 1] = str(port)
        return self.model_copy(update={"argv": tuple(words), "port": port})

    def as_shell(self) -> str:
        """The same as a shell script that a person can read, change and run."""
        exports = [f"export {name}={shlex.quote(value)}" for name, value in self.env.items()]
        return "\n".join([*exports, shlex.join(self.argv)]) + "\n"


def launch_command(
    plan: Plan,
    *,
    host: str,
    port: int,
    extra_args: Sequence[str] = (),
    p2p: P2P = P2P.SHM,
    drain_timeout_s: int = 0,
) -> LaunchCommand:
    """The server that runs ``plan``.

    Args:
        plan: What to run.
        host: Address to listen on.
        port: Port to listen on.
        extra_args: Options for ``vllm serve``; they come last and win.
        p2p: How pipeline stages pass activations where one of them is a CPU rank.
        drain_timeout_s: Longest time that running requests have once the server is told to end;
            0 ends them at once.

    Raises:
        UsageError: ``extra_args`` name an option that hetctl itself must know.
    """
    _refuse_own_options(extra_args)
    if CPU in plan.devices:
        _refuse_gpu_options(extra_args)
    arguments = _engine_arguments(plan)
    if drain_timeout_s:
        arguments["--shutdown-timeout"] = str(drain_timeout_s)
    return LaunchCommand(
        argv=_serve(plan.model, arguments, host, port, extra_args),
        env=_environment(plan, p2p),
        host=host,
        port=port,
        model_name=_served_name(plan.model, extra_args),
    )


def _serve(
    model: str, arguments: dict[str, str], host: str, port: int, extra_args: Sequence[str]
) -> tuple[str, ...]:
    program = (sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", model)
    options = {**arguments, "--host": host, "--port": str(port)}
    return (*program, *(word for pair in options.items() for word in pair), *extra_args)


def _refuse_own_options(extra_args: Sequence[str]) -> None:
    for name in _option_names(extra_args):
        if remedy := _OWN_OPTIONS.get(name):
            raise UsageError(f"{name} cannot be passed through to vLLM; use {remedy}.")


def _refuse_gpu_options(extra_args: Sequence[str]) -> None:
    for name in _option_names(extra_args):
        if feature := _NOT_WITH_CPU_RANKS.get(name):
            raise UsageError(
                f"{name}: {feature} does not work with CPU ranks; leave it out, or plan for "
                f"GPUs alone with --cpu-ranks 0."
            )


def _option_names(arguments: Sequence[str]) -> list[str]:
    """As vLLM reads them: ``--a_b=1`` and ``--a-b.key 1`` both name ``--a-b``."""
    return [
        word.partition("=")[0].partition(".")[0].replace("_", "-")
        for word in arguments
        if word.startswith("-")
    ]


def _engine_arguments(plan: Plan) -> dict[str, str]:
    arguments = {
        "--dtype": plan.dtype,
        "--max-model-len": str(plan.max_model_len),
        "--max-num-seqs": str(plan.max_num_seqs),
        "--max-num-batched-tokens": str(plan.max_num_batched_tokens),
        "--pipeline-parallel-size": str(len(plan.split)),
        "--block-size": str(plan.block_size),
    }
    if plan.gpu_memory_utilization is not None:
        arguments["--gpu-memory-utilization"] = f"{plan.gpu_memory_utilization:.4f}"
    if plan.tensor_parallel_size > 1:
        arguments["--tensor-parallel-size"] = str(plan.tensor_parallel_size)
    if plan.kv_cache_dtype != "auto":
        arguments["--kv-cache-dtype"] = plan.kv_cache_dtype
    if plan.offload is not None:
        arguments |= offload_arguments(plan.offload)
    return arguments


def _environment(plan: Plan, p2p: P2P) -> dict[str, str]:
    """Which devices the server sees, how it divides layers and, with CPU ranks, the rank map."""
    gpus = [device for device in plan.devices if device != CPU]
    environment = visible_devices(gpus)
    if len(gpus) < len(plan.ranks):
        environment[env.PLATFORM] = "1"
        environment[env.RANK_MAP] = rank_map_of(plan).to_json()
        if p2p != P2P.SHM:
            environment[env.HOP] = p2p
    elif len(plan.split) > 1:
        environment["VLLM_PP_LAYER_PARTITION"] = ",".join(map(str, plan.split))
    if plan.offload is not None:
        # The V2 model runner of vLLM 0.26 takes the options and does not act on them.
        environment["VLLM_USE_V2_MODEL_RUNNER"] = "0"
    return environment


def visible_devices(gpus: Sequence[str]) -> dict[str, str]:
    """GPUs are numbered as NVML does (PCI order), which CUDA does only when told."""
    if not gpus:
        return {"CUDA_VISIBLE_DEVICES": _NO_GPU}
    numbers = (device.removeprefix("cuda:") for device in gpus)
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(numbers)}


def _served_name(model: str, extra_args: Sequence[str]) -> str:
    """What the user named the model for clients, else the model as given."""
    for word, following in pairwise((*extra_args, "")):
        if word == "--served-model-name" and following:
            return following
        if word.startswith("--served-model-name="):
            return word.partition("=")[2]
    return model
