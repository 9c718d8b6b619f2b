"""What a launch runs: the exact command and the environment that it adds."""

import shlex
import sys
from collections.abc import Sequence

from hetctl.document import Frozen
from hetctl.launch.rank_map import rank_map_of
from hetctl.plan import Plan

NO_GPU = "-1"


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

    def as_shell(self) -> str:
        """The same as a shell script that a person can read, change and run."""
        exports = [f"export {name}={shlex.quote(value)}" for name, value in self.env.items()]
        return "\n".join([*exports, shlex.join(self.argv)]) + "\n"


def launch_command(
    plan: Plan, *, host: str, port: int, extra_args: Sequence[str] = ()
) -> LaunchCommand:
    """The server that runs ``plan``; ``extra_args`` go to ``vllm serve`` last and win."""
    return LaunchCommand(
        argv=(
            sys.executable,
            "-m",
            "vllm.entrypoints.cli.main",
            "serve",
            plan.model,
            *_engine_arguments(plan),
            "--host",
            host,
            "--port",
            str(port),
            *extra_args,
        ),
        env=_environment(plan),
        host=host,
        port=port,
        model_name=_served_name(plan.model, extra_args),
    )


def _engine_arguments(plan: Plan) -> list[str]:
    arguments = {
        "--dtype": plan.dtype,
        "--max-model-len": str(plan.max_model_len),
        "--max-num-seqs": str(plan.max_num_seqs),
        "--max-num-batched-tokens": str(plan.max_num_batched_tokens),
        "--pipeline-parallel-size": str(len(plan.ranks)),
        "--block-size": str(plan.block_size),
    }
    if plan.gpu_memory_utilization is not None:
        arguments["--gpu-memory-utilization"] = f"{plan.gpu_memory_utilization:.4f}"
    return [word for pair in arguments.items() for word in pair]


def _environment(plan: Plan) -> dict[str, str]:
    """Which devices the server sees and, with CPU ranks, the rank map.

    GPUs are numbered as NVML does (PCI order), which CUDA does only when told.
    """
    gpus = [device.removeprefix("cuda:") for device in plan.devices if device != "cpu"]
    environment = {"CUDA_VISIBLE_DEVICES": ",".join(gpus) or NO_GPU}
    if gpus:
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if len(gpus) < len(plan.ranks):
        environment["VLLM_HETEROGENEOUS_PLATFORM"] = "1"
        environment["VLLM_HETERO_RANK_MAP"] = rank_map_of(plan).to_json()
    elif len(gpus) > 1:
        environment["VLLM_PP_LAYER_PARTITION"] = ",".join(map(str, plan.split))
    return environment


def _served_name(model: str, extra_args: Sequence[str]) -> str:
    """What the user named the model for clients, else the model as given."""
    for word, following in zip(extra_args, [*extra_args[1:], ""], strict=True):
        if word == "--served-model-name" and following:
            return following
        if word.startswith("--served-model-name="):
            return word.partition("=")[2]
    return model
