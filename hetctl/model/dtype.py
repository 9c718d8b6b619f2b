"""The dtype that vLLM runs a model in.

Mirrors ``_get_and_verify_dtype`` and ``_resolve_auto_dtype`` of vLLM 0.26's
``vllm/config/model.py`` for platforms that list bfloat16 first (x86 CPUs and CUDA
devices of compute capability 8.0 and later). Whether a GPU can do bfloat16 is the
planner's question: here is no machine.
"""

from hetctl.errors import UsageError
from hetctl.model.spec import Dtype

# vllm/config/model.py: _STR_DTYPE_TO_TORCH_DTYPE
_NAMES: dict[str, Dtype] = {
    "float32": "float32",
    "float": "float32",
    "float16": "float16",
    "half": "float16",
    "bfloat16": "bfloat16",
}

# vllm/config/model.py: _FLOAT16_NOT_SUPPORTED_MODELS
_NO_FLOAT16 = frozenset({"gemma2", "gemma3", "gemma3_text", "plamo2", "glm4"})

_PREFERRED: Dtype = "bfloat16"

DTYPE_CHOICES = ("auto", *_NAMES)


def resolve_dtype(
    requested: str, in_config: str | None, model_type: str
) -> tuple[Dtype, tuple[str, ...]]:
    """The dtype to run in, and notes on how it differs from the checkpoint's.

    Args:
        requested: ``auto`` or one of vLLM's dtype names.
        in_config: ``dtype`` or ``torch_dtype`` of config.json, if it says.
        model_type: ``model_type`` of config.json.

    Raises:
        UsageError: an unknown dtype, or float16 for a model that overflows in it.
    """
    name = requested.lower()
    if name not in DTYPE_CHOICES:
        raise UsageError(
            f"--dtype {requested} is not a dtype that vLLM runs; "
            f"take one of {', '.join(DTYPE_CHOICES)}."
        )
    # vLLM takes a checkpoint that states no dtype for float32.
    stored = (in_config or "float32").removeprefix("torch.")
    if name != "auto":
        return _explicit(_NAMES[name], model_type), ()
    if stored == "float32":
        return _PREFERRED, (
            f"vLLM runs float32 checkpoints in {_PREFERRED} unless told otherwise.",
        )
    found = _NAMES.get(stored)
    if found is None or (found == "float16" and model_type in _NO_FLOAT16):
        return _PREFERRED, (f"vLLM cannot run {model_type} in {stored} and takes {_PREFERRED}.",)
    return found, ()


def _explicit(dtype: Dtype, model_type: str) -> Dtype:
    if dtype == "float16" and model_type in _NO_FLOAT16:
        raise UsageError(
            f"{model_type} models are numerically unstable in float16 and vLLM refuses it; "
            f"use --dtype bfloat16 or --dtype float32."
        )
    return dtype
