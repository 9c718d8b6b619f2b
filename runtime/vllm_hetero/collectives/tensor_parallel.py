"""What a worker does differently when its tensor-parallel group mixes GPU and CPU ranks."""

from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import TYPE_CHECKING, Any

from vllm.distributed.parallel_state import get_pp_group, get_tp_group

from vllm_hetero.collectives.communicator import MixedCommunicator

if TYPE_CHECKING:
    from vllm.v1.outputs import SamplerOutput
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner


def rehearsal() -> AbstractContextManager[None]:
    """While profiling and warming up; see :meth:`Bridge.rehearsal
    <vllm_hetero.collectives.bridge.Bridge.rehearsal>`."""
    communicator = get_tp_group().device_communicator
    if isinstance(communicator, MixedCommunicator):
        return communicator.bridge.rehearsal()
    return nullcontext()


def agree_on_tokens(model_runner: "GPUModelRunner") -> None:
    """Let all ranks of a mixed group go on with the tokens that its first rank sampled.

    In vLLM each tensor-parallel rank samples for itself, from the same logits and seed. But
    a CPU draws other random numbers than a GPU, and takes another one of two equal logits,
    after which the ranks would compute different texts.
    """
    communicator = get_tp_group().device_communicator
    if not isinstance(communicator, MixedCommunicator) or not get_pp_group().is_last_rank:
        return
    sample = model_runner._sample

    @wraps(sample)
    def agreed(*args: Any, **kwargs: Any) -> "SamplerOutput":
        output = sample(*args, **kwargs)
        communicator.broadcast(output.sampled_token_ids, src=0)
        return output

    model_runner._sample = agreed  # type: ignore[method-assign]
