"""The data files: where they are, and what is in them.

An installed wheel has them in ``hetctl/_profiles``, a source checkout in ``profiles``
beside the package.
"""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, ValidationError

from hetctl.document import Frozen, first_problem
from hetctl.errors import HetctlError


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern, re.IGNORECASE)  # as it is matched, so that re keeps it
    except re.error as error:
        raise ValueError(f"it is not a regular expression ({error})") from error
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]
Share = Annotated[float, Field(gt=0, le=1)]


class GpuEntry(Frozen):
    """One ``[[gpu]]`` of ``gpus.toml``."""

    name: Pattern
    memory_read_bytes_per_s: PositiveFloat
    matmul_bf16_flops: PositiveFloat
    host_to_device_bytes_per_s: PositiveFloat | None = None
    memory_bytes: PositiveFloat | None = None
    origin: str = Field(alias="from", min_length=1)

    def matches(self, device: str) -> bool:
        return re.fullmatch(self.name, device.removeprefix("NVIDIA "), re.IGNORECASE) is not None


class PcieData(Frozen):
    bytes_per_s_per_lane: dict[int, PositiveFloat]
    efficiency: Share
    assumed_generation: PositiveInt
    assumed_lanes: PositiveInt


class GpuEstimate(Frozen):
    tensor_flops_per_fp32_flop: dict[str, PositiveFloat]
    default_tensor_flops_per_fp32_flop: PositiveFloat
    memory_read_bytes_per_s: PositiveFloat
    matmul_bf16_flops: PositiveFloat


class GpuData(Frozen):
    """``gpus.toml``."""

    gpu: tuple[GpuEntry, ...]
    pcie: PcieData
    estimate: GpuEstimate


class CpuEntry(Frozen):
    """One ``[[cpu]]`` of ``cpus.toml``; memory is of one socket."""

    name: Pattern
    memory_peak_bytes_per_s: PositiveFloat
    core_read_bytes_per_s: PositiveFloat
    origin: str = Field(alias="from", min_length=1)

    def matches(self, model: str) -> bool:
        return re.search(self.name, model, re.IGNORECASE) is not None


class MemoryData(Frozen):
    reachable: Share
    unknown: tuple[CpuEntry, ...]


class MatmulEntry(Frozen):
    """One ``[[matmul]]`` of ``cpus.toml``; an empty ``isa`` fits every CPU."""

    isa: str
    flops_per_core: PositiveFloat
    origin: str = Field(alias="from", min_length=1)


class CpuData(Frozen):
    """``cpus.toml``."""

    cpu: tuple[CpuEntry, ...]
    memory: MemoryData
    matmul: tuple[MatmulEntry, ...]


@cache
def load_gpu_data() -> GpuData:
    """The GPU data.

    Raises:
        HetctlError: the file is missing or malformed.
    """
    return _load("gpus.toml", GpuData)


@cache
def load_cpu_data() -> CpuData:
    """The CPU data.

    Raises:
        HetctlError: the file is missing or malformed.
    """
    return _load("cpus.toml", CpuData)


def data_folders() -> tuple[Path, Path]:
    """Where the files are in an installed wheel, and in a source checkout."""
    package = Path(__file__).resolve().parent.parent
    return package / "_profiles", package.parent / "profiles"


_Data = TypeVar("_Data", bound=Frozen)


def _load(name: str, kind: type[_Data]) -> _Data:
    folders = data_folders()
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        looked = " and ".join(str(folder) for folder in folders)
        raise HetctlError(f"hetctl's data file {name} is missing from {looked}; reinstall hetctl.")
    try:
        return kind.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise HetctlError(f"{path} is not valid TOML: {error}.") from error
    except ValidationError as error:
        raise HetctlError(f"{path}: {first_problem(error)}") from error
