"""vLLM's options for weights in host memory (``vllm/config/offload.py``)."""

from hetctl.plan import Offload, UvaOffload


def offload_arguments(offload: Offload) -> dict[str, str]:
    """Options of ``vllm serve``, by name."""
    if isinstance(offload, UvaOffload):
        return {"--offload-backend": "uva", "--cpu-offload-gb": f"{offload.gib_per_gpu:g}"}
    return {
        "--offload-backend": "prefetch",
        "--offload-group-size": str(offload.group_size),
        "--offload-num-in-group": str(offload.num_in_group),
        "--offload-prefetch-step": str(offload.prefetch_step),
    }
