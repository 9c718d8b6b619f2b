"""Who writes the file of each target."""

from collections.abc import Callable
from importlib import import_module

from hetctl.launch.emit.settings import ServiceSettings
from hetctl.launch.emit.target import Target

_WRITERS = {
    Target.SYSTEMD: ("hetctl.launch.emit.systemd", "systemd_unit"),
    Target.K8S: ("hetctl.launch.emit.kubernetes", "kubernetes_manifest"),
    Target.DOCKER: ("hetctl.launch.emit.docker", "compose_file"),
    Target.ENV: ("hetctl.launch.emit.env_file", "env_file"),
}
"""Imported when asked for: two of them need a YAML library, which takes a while."""


def emitted(target: Target, settings: ServiceSettings) -> str:
    """The file for ``target``.

    Raises:
        UsageError: a value cannot be written in the target's format.
    """
    module, name = _WRITERS[target]
    write: Callable[[ServiceSettings], str] = getattr(import_module(module), name)
    return write(settings)
