"""One file with everything that a maintainer needs, and no secret."""

import io
import json
import re
import tarfile
import time
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from hetctl.doctor.diagnosis import Diagnosis
from hetctl.errors import HetctlError, UsageError
from hetctl.launch.startup import tail
from hetctl.machine import Machine
from hetctl.redact import is_secret_name, masked, redact, secrets_of

_ENDINGS = (".tar.gz", ".tgz")
_MAX_LOG_BYTES = 4 * 1024**2
_SAME_RUN_S = 3600.0
"""Logs written within this time of the newest one belong to the same run."""
# Variables whose values help; of all others only the names are told.
_TOLD = re.compile(
    r"^(?:VLLM|HETCTL|CUDA|NVIDIA|NCCL|GLOO|TORCH|PYTORCH|TRITON|OMP|KMP|MKL|GOMP|MALLOC|HF|"
    r"TRANSFORMERS|LD|PYTHON|VIRTUAL|CONDA|UV|SLURM|XDG|LC)_\w+$"
    r"|^(?:PATH|LANG|TERM|NO_COLOR|TMPDIR|PWD|CC|CXX|CI|container|KUBERNETES_SERVICE_HOST"
    r"|PYTHONPATH|PYTHONHOME|(?:https?|no|all)_proxy|(?:HTTPS?|NO|ALL)_PROXY)$"
)


def check_bundle_name(path: Path) -> None:
    """Raise UsageError unless the bundle can be written there: told before the long checks."""
    if not path.name.endswith(_ENDINGS):
        raise UsageError(f"A bundle is a .tar.gz file; {path} is none.")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.absolute().parent}.")


def write_bundle(
    path: Path,
    diagnosis: Diagnosis,
    machine: Machine,
    settings: str,
    log_folders: tuple[Path, ...],
    environment: Mapping[str, str],
) -> tuple[str, ...]:
    """Write the archive and return the names of what is in it.

    Every text goes through :func:`~hetctl.redact.redact` as it is written: no file of a
    bundle has another way in.

    Args:
        settings: What ``hetctl config --json`` prints.
        log_folders: Where logs are; of each, the latest run's are taken.

    Raises:
        HetctlError: the file cannot be written.
    """
    texts = {
        "doctor.json": diagnosis.to_json(),
        "machine.json": machine.to_json(),
        "config.json": settings,
        "versions.json": _json(_versions()),
        "environment.json": _json(told_variables(environment)),
    }
    for folder in log_folders:
        for log in latest_logs(folder):
            texts[f"logs/{folder.name}/{log.name}"] = tail(log, _MAX_LOG_BYTES)
    secrets = secrets_of(environment)
    try:
        # Only for the user: there may be more in it than anybody thought of.
        path.touch(mode=0o600)
        path.chmod(0o600)
        with tarfile.open(path, mode="w:gz") as archive:
            for name, text in texts.items():
                _add(archive, path, redact(name, secrets), redact(text, secrets))
    except OSError as error:
        raise HetctlError(f"Cannot write {path}: {error.strerror}.") from error
    return tuple(texts)


def told_variables(environment: Mapping[str, str]) -> dict[str, Any]:
    """The values of variables that matter here, masked where secret, and the others' names."""
    told = {name: value for name, value in sorted(environment.items()) if _TOLD.match(name)}
    return {
        "variables": {
            name: masked(value) if is_secret_name(name) else value for name, value in told.items()
        },
        "set_but_not_told": sorted(set(environment) - set(told)),
    }


def latest_logs(folder: Path) -> tuple[Path, ...]:
    """The newest log of a folder and those written about the same time."""
    try:
        written = {log: log.stat().st_mtime for log in folder.glob("*.log*") if log.is_file()}
    except OSError:
        return ()
    newest = max(written.values(), default=0.0)
    return tuple(sorted(log for log, at in written.items() if newest - at <= _SAME_RUN_S))


def _versions() -> dict[str, str]:
    """Every installed distribution."""
    return {
        name: distribution.version
        for distribution in distributions()
        if (name := distribution.metadata["Name"])
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def _add(archive: tarfile.TarFile, path: Path, name: str, text: str) -> None:
    """In a folder of the bundle's name, so that unpacking it makes one."""
    content = text.encode()
    entry = tarfile.TarInfo(f"{path.name.partition('.')[0]}/{name}")
    entry.size = len(content)
    entry.mtime = int(time.time())
    archive.addfile(entry, io.BytesIO(content))
