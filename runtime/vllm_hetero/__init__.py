"""A vLLM plugin that runs GPU ranks and CPU ranks in one engine.

vLLM finds the two functions below through entry points and calls them in every process.
Neither does anything unless the user asks for a heterogeneous run, or for a report of its
memory (see :mod:`vllm_hetero.env`), so having this package installed changes nothing else.
"""

from typing import NoReturn


def platform() -> str | None:
    """Entry point ``vllm.platform_plugins``: the platform class of this process.

    vLLM swallows any ``Exception`` raised here and would go on with another platform,
    so a refusal must be a ``SystemExit``.
    """
    from vllm_hetero import env

    if not env.requested():
        return None
    from vllm_hetero.version import VersionError, check_vllm_version

    try:
        check_vllm_version()
    except VersionError as error:
        _refuse(error)
    if env.role() == "gpu" or (env.role() == "engine" and env.visible_gpus()):
        return "vllm_hetero.platform_cuda.HeterogeneousCudaPlatform"
    from vllm_hetero.kernels import KernelsError
    from vllm_hetero.sideload import add_kernels_to_vllm

    try:
        add_kernels_to_vllm()
    except KernelsError as error:
        _refuse(error)
    return "vllm_hetero.platform_cpu.HeterogeneousCpuPlatform"


def register() -> None:
    """Entry point ``vllm.general_plugins``: apply the patches, once per process."""
    from vllm_hetero import env

    if (report := env.memory_report()) is not None and env.role() == "engine":
        from vllm_hetero.patches import memory_report

        memory_report.apply(report)
    if not env.requested():
        return
    from vllm_hetero.patches import apply_all

    apply_all()


def _refuse(error: Exception) -> NoReturn:
    raise SystemExit(f"vllm_hetero: {error}")
