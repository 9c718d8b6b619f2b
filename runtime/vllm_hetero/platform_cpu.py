"""The platform of CPU ranks, and of the engine on a machine without a GPU."""

from typing import TYPE_CHECKING

from vllm.platforms.cpu import CpuPlatform

from vllm_hetero.engine_config import prepare_engine_config, prepare_environment

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.utils.argparse_utils import FlexibleArgumentParser


class HeterogeneousCpuPlatform(CpuPlatform):
    """CPU, with the executor and the process groups of a heterogeneous engine."""

    @classmethod
    def pre_register_and_update(cls, parser: "FlexibleArgumentParser | None" = None) -> None:
        prepare_environment()
        super().pre_register_and_update(parser)

    @classmethod
    def check_and_update_config(cls, vllm_config: "VllmConfig") -> None:
        prepare_engine_config(vllm_config)
        super().check_and_update_config(vllm_config)
