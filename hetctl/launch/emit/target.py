"""What can be emitted."""

from enum import StrEnum


class Target(StrEnum):
    """What is to start the server."""

    SYSTEMD = "systemd"
    K8S = "k8s"
    DOCKER = "docker"
    ENV = "env"
