"""What can be emitted."""

from enum import StrEnum


class Target(StrEnum):
    """What is to start the server, or to show how it does."""

    SYSTEMD = "systemd"
    K8S = "k8s"
    DOCKER = "docker"
    ENV = "env"
    GRAFANA = "grafana"
