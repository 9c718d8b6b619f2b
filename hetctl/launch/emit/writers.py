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


def fixed_file(target: Target) -> str | None:
    """The file for ``target`` where it is the same for all servers, whatever their plan and
    options; None where it is not."""
    if target is not Target.GRAFANA:
        return None
    from hetctl.launch.dashboard import grafana_dashboard

    return grafana_dashboard()


def emitted(target: Target, settings: ServiceSettings) -> str:
    """The file for ``target``, which starts the server that ``settings`` describe.

    Raises:
        UsageError: a value cannot be written in the target's format.
    """
    module, name = _WRITERS[target]
    write: Callable[[ServiceSettings], str] = getattr(import_module(module), name)
    return write(settings)
