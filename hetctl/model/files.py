"""The files of a model: a local folder, or a repository of the Hugging Face hub.

Only ``config.json`` is always read. Where the config does not tell the sizes (an
architecture or a quantisation that hetctl does not count), the safetensors index and the
headers of local safetensors files are; never a tensor.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hetctl.errors import UsageError

# safetensors' own limit on the length of a header.
_HEADER_LIMIT = 100_000_000

# How long the hub may take to answer before it counts as unreachable.
_HUB_ANSWER_S = 5.0

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of a safetensors header. ``dtype`` is safetensors' name, such as BF16."""

    dtype: str
    elements: int
    size_bytes: int


@dataclass(frozen=True)
class ModelFiles:
    """A model's ``config.json``, and where to find the rest."""

    name: str
    config: Mapping[str, Any]
    folder: Path | None = field(default=None)
    """None for a model on the hub."""

    def tensors(self) -> dict[str, Tensor] | None:
        """Every tensor's size from the headers of local safetensors files.

        None where there are none, or the model is on the hub (headers are in the weight
        files, which are not fetched).
        """
        if self.folder is None:
            return None
        files = sorted(self.folder.glob("*.safetensors"))
        index = self.index()
        if index is not None:
            named = set(index.get("weight_map", {}).values())
            if not named or any(not (self.folder / name).is_file() for name in named):
                return None
            files = [self.folder / name for name in sorted(named)]
        elif (self.folder / _SINGLE).is_file():
            files = [self.folder / _SINGLE]
        tensors: dict[str, Tensor] = {}
        for file in files:
            tensors.update(read_safetensors_header(file))
        return tensors or None

    def index(self) -> dict[str, Any] | None:
        """The safetensors index, where the model has one."""
        if self.folder is not None:
            path = self.folder / _INDEX
            return _read_json(path) if path.is_file() else None
        from huggingface_hub.errors import EntryNotFoundError

        try:
            return _read_json(_download(self.name, _INDEX))
        except EntryNotFoundError:
            return None

    def tokenizer(self) -> Path | None:
        """``tokenizer.json``, where the model has one."""
        name = "tokenizer.json"
        if self.folder is not None:
            return self.folder / name if (self.folder / name).is_file() else None
        from huggingface_hub.errors import EntryNotFoundError

        try:
            return _download(self.name, name)
        except EntryNotFoundError:
            return None


def open_model(name: str) -> ModelFiles:
    """Find a model and read its config.

    Args:
        name: A folder that holds ``config.json``, or a hub id such as ``Qwen/Qwen3-8B``.

    Raises:
        UsageError: there is no such model, the hub cannot be reached, or config.json is
            not readable.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        path = folder / "config.json"
        if not path.is_file():
            raise UsageError(f"{name} is a folder without config.json, so it is not a model.")
        return ModelFiles(name, _read_json(path), folder)
    if folder.exists():
        raise UsageError(f"{name} is a file; give the folder that holds the model's config.json.")
    if not _is_hub_id(name):
        raise UsageError(f"There is no folder {name}, and it is not a hub id such as org/name.")
    return ModelFiles(name, _read_json(_config_from_hub(name)))


def read_safetensors_header(path: Path) -> dict[str, Tensor]:
    """Names and sizes of the tensors of one file (8-byte length, JSON header, data).

    Raises:
        UsageError: the file is not safetensors.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _HEADER_LIMIT:
                raise ValueError(f"its header claims {length} bytes")
            header = json.loads(file.read(length))
        return {name: _tensor(entry) for name, entry in header.items() if name != "__metadata__"}
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    except (struct.error, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not a safetensors file: {error}.") from error


def _tensor(entry: Mapping[str, Any]) -> Tensor:
    elements = 1
    for size in entry["shape"]:
        elements *= size
    first, end = entry["data_offsets"]
    return Tensor(entry["dtype"], elements, end - first)


def _is_hub_id(name: str) -> bool:
    parts = name.split("/")
    return len(parts) <= 2 and all(parts) and not name.startswith((".", "~", "/"))


def _config_from_hub(name: str) -> Path:
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return _download(name, "config.json")
    except GatedRepoError as error:
        raise UsageError(
            f"The model {name} is gated: accept its licence on huggingface.co and set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise UsageError(
            f"There is no folder {name}, and no model of that name on the Hugging Face hub "
            f"(for a private one, set HF_TOKEN)."
        ) from error
    except LocalEntryNotFoundError as error:
        raise UsageError(
            f"There is no folder {name}, and the Hugging Face hub cannot be reached "
            f"(or HF_HUB_OFFLINE is set and the model is not in the cache); "
            f"give a local folder."
        ) from error
    except EntryNotFoundError as error:
        raise UsageError(
            f"The hub model {name} has no config.json, so vLLM cannot serve it."
        ) from error
    except HFValidationError as error:
        raise UsageError(f"There is no folder {name}, and it is not a valid hub id.") from error
    except (HfHubHTTPError, OSError) as error:
        raise UsageError(
            f"Cannot fetch config.json of {name} from the Hugging Face hub: {_first_line(error)}"
        ) from error


def _download(name: str, filename: str) -> Path:
    """The cached file if there is one, else the hub's: sizes do not change between revisions."""
    import logging

    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    # Each of its retries is a warning; the outcome is one error of ours.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        return Path(hf_hub_download(name, filename, local_files_only=True))
    except LocalEntryNotFoundError:
        _require_hub(name, filename)
        return Path(hf_hub_download(name, filename))


def _require_hub(name: str, filename: str) -> None:
    """Ask the hub for the file once: its download function insists for 20 s and more.

    Raises:
        LocalEntryNotFoundError: no answer.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        get_hf_file_metadata(hf_hub_url(name, filename), timeout=_HUB_ANSWER_S)
    except HfHubHTTPError:
        pass  # An answer: the download deals with it.
    # requests', httpx' or httpx2's own, by the version of the hub's client.
    except Exception as error:
        raise LocalEntryNotFoundError(f"The hub does not answer: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path} does not hold a JSON object.")
    return data


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
