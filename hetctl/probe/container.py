"""Whether this process runs in a container."""

import re
from collections.abc import Mapping

from hetctl.probe.files import Files

_MARKERS = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")
_GROUP = re.compile(r"/(docker|kubepods|lxc|libpod|crio|containerd)\b")


def in_container(files: Files, environment: Mapping[str, str]) -> bool:
    """True if a container runtime left one of its usual traces."""
    return (
        any(files.exists(marker) for marker in _MARKERS)
        or "KUBERNETES_SERVICE_HOST" in environment
        # systemd-nspawn, podman and LXC tell their name in this variable.
        or bool(environment.get("container"))
        or _GROUP.search(files.text("/proc/self/cgroup") or "") is not None
    )
