"""The versions of what measured figures depend on."""

from importlib.metadata import PackageNotFoundError, version

from hetctl.machine import Machine

_PACKAGES = ("torch", "vllm")


def tool_versions(machine: Machine) -> dict[str, str]:
    """Of torch and vLLM as installed here, and of the machine's kernel and driver."""
    found = {package: _installed(package) for package in _PACKAGES}
    found |= {"kernel": machine.kernel, "driver": machine.driver_version}
    return {name: known for name, known in found.items() if known}


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
