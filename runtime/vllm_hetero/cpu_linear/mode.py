"""Which linear kernels the user lets a CPU rank choose from."""

import os
from typing import Literal, get_args

from vllm_hetero import env

Mode = Literal["auto", "onednn", "packed", "both", "torch"]


def mode_from_env() -> Mode:
    """The user's ``VLLM_HETERO_CPU_LINEAR``, else what vLLM's own variable says, else auto.

    Raises:
        ValueError: it is none of the modes.
    """
    given = os.environ.get(env.CPU_LINEAR)
    if given is None:
        return "packed" if os.environ.get("VLLM_CPU_SGL_KERNEL", "0") == "1" else "auto"
    modes = get_args(Mode)
    for mode in modes:
        if given == mode:
            return mode
    raise ValueError(f"{env.CPU_LINEAR}={given!r} is unknown; use one of {', '.join(modes)}.")
