"""Refuses a vLLM whose internals this plugin was not tested with."""

import os
from importlib.metadata import PackageNotFoundError, version

from vllm_hetero import env

TESTED_VLLM = "0.26.0"


class VersionError(RuntimeError):
    """vLLM is missing, or not the version that this plugin was tested with."""


def check_vllm_version() -> None:
    """Raise :class:`VersionError` unless vLLM is the tested version, or the user insists."""
    try:
        found = version("vllm")
    except PackageNotFoundError:
        raise VersionError(f"vLLM is not installed; install vllm=={TESTED_VLLM}.") from None
    if found.split("+")[0] != TESTED_VLLM and os.environ.get(env.ANY_VLLM) != "1":
        raise VersionError(
            f"vLLM {found} is installed, but this plugin was tested with {TESTED_VLLM} only; "
            f"install vllm=={TESTED_VLLM}, or set {env.ANY_VLLM}=1 to try it all the same."
        )
