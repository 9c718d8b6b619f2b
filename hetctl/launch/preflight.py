"""What must hold before a server is started, checked so that nothing starts in vain."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hetctl.errors import HetctlError
from vllm_hetero.kernels import KernelsError, ensure_kernels
from vllm_hetero.shared_memory import SharedMemoryError, require_room
from vllm_hetero.version import VersionError, check_vllm_version

if TYPE_CHECKING:
    from hetctl.plan import Plan


def prepare_runtime(plan: "Plan", progress: Callable[[str], None] | None = None) -> None:
    """Check vLLM's version and the room for shared memory and, for CPU ranks, install the CPU
    kernels where missing.

    Raises:
        HetctlError: another vLLM, a full ``/dev/shm``, a CPU without the needed instructions,
            or kernels that cannot be installed.
    """
    try:
        check_vllm_version()
        if len(plan.ranks) > 1 or "cpu" in plan.devices:
            require_room(len(plan.ranks))
    except (VersionError, SharedMemoryError) as error:
        raise HetctlError(str(error)) from error
    if "cpu" in plan.devices:
        with kernel_errors():
            ensure_kernels(progress)


@contextmanager
def kernel_errors() -> Iterator[None]:
    """Turn the kernels' errors into hetctl's."""
    try:
        yield
    except KernelsError as error:
        raise HetctlError(str(error)) from error
