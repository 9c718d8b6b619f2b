"""The platform of the engine and of GPU ranks, on a machine with a GPU."""

from typing import TYPE_CHECKING

from vllm.platforms.cuda import CudaPlatform

from vllm_hetero import env
from vllm_hetero.engine_config import prepare_engine_config, prepare_environment

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.utils.argparse_utils import FlexibleArgumentParser


class HeterogeneousCudaPlatform(CudaPlatform):
    """CUDA, except for what concerns the whole engine: its ranks are not all on GPUs."""

    # The world group holds CPU ranks; NCCL groups among GPU ranks are made beside it.
    dist_backend = "gloo"

    @classmethod
    def pre_register_and_update(cls, parser: "FlexibleArgumentParser | None" = None) -> None:
        prepare_environment()
        super().pre_register_and_update(parser)

    @classmethod
    def device_count(cls) -> int:
        """In the engine, which compares it with the world size: GPUs and CPU ranks.

        A GPU rank sees its real number of CUDA devices.
        """
        gpus: int = super().device_count()
        if env.role() == "gpu":
            return gpus
        from vllm_hetero.engine_config import possible_cpu_ranks

        return gpus + possible_cpu_ranks()

    @classmethod
    def check_and_update_config(cls, vllm_config: "VllmConfig") -> None:
        prepare_engine_config(vllm_config)
        super().check_and_update_config(vllm_config)
