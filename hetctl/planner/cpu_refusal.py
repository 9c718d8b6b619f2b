"""Why no CPU rank may take part in an engine."""

from hetctl.machine import Cpu
from hetctl.model.spec import ModelSpec
from hetctl.planner.cpu_cache import cpu_cache_refusal

# runtime/vllm_hetero/kernels/host.py: required_module.
_ARCHITECTURE = "x86_64"
_ONE_OF = ("avx512f", "avx2")


def cpu_refusal(spec: ModelSpec, cpu: Cpu) -> str | None:
    """Why CPU ranks cannot run on such a CPU or cannot run the model, as a clause; or None."""
    if cpu.architecture != _ARCHITECTURE:
        return f"the CPU is {cpu.architecture}, and CPU ranks need {_ARCHITECTURE}"
    if not any(name in cpu.isa for name in _ONE_OF):
        return "the CPU has no AVX2, which vLLM's CPU kernels need"
    refusal = spec.cpu_refusal or cpu_cache_refusal(spec, cpu.isa)
    return refusal and f"{spec.name} {refusal}"
