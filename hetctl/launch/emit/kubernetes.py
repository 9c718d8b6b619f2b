"""``--emit k8s``: a Deployment, its Service, its volumes and, of a given plan, a ConfigMap."""

from typing import Any

import yaml

from hetctl.launch.emit import container
from hetctl.launch.emit.resources import (
    SHARED_MEMORY_BYTES,
    cpus,
    gpus,
    host_memory_bytes,
    in_gib,
    weight_bytes,
)
from hetctl.launch.emit.settings import ServiceSettings
from hetctl.launch.emit.systemd import START_MARGIN_S, STOP_MARGIN_S
from hetctl.launch.emit.text import comment, require_text
from hetctl.units import GIB

_PROBE_S = 10


def kubernetes_manifest(settings: ServiceSettings) -> str:
    """The documents, for ``kubectl apply -f``.

    Raises:
        UsageError: a value cannot be written as YAML.
    """
    documents = [_claim(settings)]
    if settings.plan_file is not None:
        documents.append(_config_map(settings))
    documents += [_deployment(settings), _service(settings)]
    texts = [as_yaml(document) for document in documents]
    return comment(_head(settings)) + "".join(f"---\n{text}" for text in texts)


def as_yaml(document: dict[str, Any]) -> str:
    """Readable YAML in the order given, with no anchors and no cut lines."""
    return yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6, indent=2
    )


class _Dumper(yaml.SafeDumper):
    """Writes what is the same twice, and texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    """Readers differ in what ends a line (U+0085, U+2028): such letters are escaped in quotes."""
    style = None if data.isprintable() else '"'
    if "\n" in data and all(line.isprintable() for line in data.split("\n")):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _text)


def _head(settings: ServiceSettings) -> list[str]:
    name = settings.name
    log = f"{container.STATE}/hetctl/serve-{settings.port}.log"
    lines = [
        f"{settings.plan.model}, by hetctl {settings.version}.",
        "",
        f"The image {container.image(settings)} is that of the repository's Dockerfile, in a "
        "registry of the cluster.",
        f"  openssl rand -hex 32 > api-key && kubectl create secret generic {name} "
        "--from-file=api-key",
        "  kubectl apply -f THIS_FILE",
        f"  kubectl logs --follow deployment/{name}",
        f"  kubectl exec deployment/{name} -- cat {log}",
        "",
        "For models that the hub gives to its users only, add --from-literal=hub-token=... to the "
        "secret.",
    ]
    if settings.model_folder:
        lines.append(
            f"Copy the model's folder, {settings.model_folder}, into the volume {name} first."
        )
    if settings.plan_file:
        lines.append(
            "The plan is the one that was given: it names CPUs and NUMA nodes, and is refused in a "
            "pod that may not use them."
        )
    return lines


def _metadata(settings: ServiceSettings) -> dict[str, Any]:
    return {"name": settings.name, "labels": _labels(settings)}


def _labels(settings: ServiceSettings) -> dict[str, str]:
    return {"app.kubernetes.io/name": "hetctl", "app.kubernetes.io/instance": settings.name}


def _claim(settings: ServiceSettings) -> dict[str, Any]:
    # Twice the weights: an update of the model is read while the old one is there.
    size = in_gib(2 * weight_bytes(settings.plan) + 2 * GIB)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(settings),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
        },
    }


def _config_map(settings: ServiceSettings) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(settings),
        "data": {"plan.json": container.plan_inside(settings).to_json()},
    }


def _service(settings: ServiceSettings) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(settings),
        "spec": {
            "selector": _labels(settings),
            "ports": [{"name": "http", "port": settings.port, "targetPort": "http"}],
        },
    }


def _deployment(settings: ServiceSettings) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(settings),
        "spec": {
            "replicas": 1,
            # A second one would wait for the GPUs of the first.
            "strategy": {"type": "Recreate"},
            "progressDeadlineSeconds": _start_s(settings) + 600,
            "selector": {"matchLabels": _labels(settings)},
            "template": {
                "metadata": {
                    "labels": _labels(settings),
                    "annotations": {"hetctl/model": settings.plan.model},
                },
                "spec": _pod(settings),
            },
        },
    }


def _pod(settings: ServiceSettings) -> dict[str, Any]:
    return {
        "terminationGracePeriodSeconds": int(settings.drain_timeout_s) + STOP_MARGIN_S,
        "automountServiceAccountToken": False,
        # A Service named hetctl-serve would set the variable of an option, HETCTL_SERVE_PORT.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": container.USER,
            "runAsGroup": container.USER,
            "fsGroup": container.USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(settings)],
        "volumes": _volumes(settings),
    }


def _container(settings: ServiceSettings) -> dict[str, Any]:
    amounts: dict[str, Any] = {
        # Whole CPUs, and as much asked for as allowed: with the kubelet's static CPU manager the
        # pod then has CPUs of its own.
        "cpu": str(cpus(settings.plan)),
        "memory": in_gib(host_memory_bytes(settings.plan)),
    }
    if count := len(gpus(settings.plan)):
        amounts["nvidia.com/gpu"] = str(count)
    return {
        "name": "hetctl",
        "image": container.image(settings),
        "args": [_argument(word) for word in container.arguments(settings)],
        "env": _environment(settings),
        "ports": [{"name": "http", "containerPort": settings.port}],
        "resources": {"requests": amounts, "limits": amounts},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            # The default seccomp profile lets only those with SYS_NICE bind memory to NUMA nodes.
            "capabilities": {"drop": ["ALL"], "add": ["SYS_NICE"]},
        },
        "startupProbe": _probe(failures=-(-_start_s(settings) // _PROBE_S)),
        "readinessProbe": _probe(failures=2),
        "livenessProbe": _probe(failures=6),
        "volumeMounts": _mounts(settings),
    }


def _environment(settings: ServiceSettings) -> list[dict[str, Any]]:
    given = [
        {"name": name, "value": _argument(value)}
        for name, value in container.variables(settings).items()
    ]
    reference = {"name": settings.name, "key": "hub-token", "optional": True}
    return [*given, {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}}]


def _probe(failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": "/health", "port": "http"},
        "periodSeconds": _PROBE_S,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _volumes(settings: ServiceSettings) -> list[dict[str, Any]]:
    key = {"secretName": settings.name, "items": [{"key": "api-key", "path": "api-key"}]}
    memory = {"medium": "Memory", "sizeLimit": in_gib(SHARED_MEMORY_BYTES)}
    volumes: list[dict[str, Any]] = [
        {"name": "models", "persistentVolumeClaim": {"claimName": settings.name}},
        {"name": "shared-memory", "emptyDir": memory},
        # Logs outlive a container that is started again.
        {"name": "state", "emptyDir": {}},
        {"name": "api-key", "secret": key},
    ]
    if settings.plan_file is not None:
        volumes.append({"name": "plan", "configMap": {"name": settings.name}})
    return volumes


def _mounts(settings: ServiceSettings) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "models", "mountPath": container.MODELS},
        {"name": "shared-memory", "mountPath": "/dev/shm"},
        {"name": "state", "mountPath": container.STATE},
        {"name": "api-key", "mountPath": "/run/secrets/hetctl", "readOnly": True},
    ]
    if settings.plan_file is not None:
        mounts.append({"name": "plan", "mountPath": "/etc/hetctl", "readOnly": True})
    return mounts


def _start_s(settings: ServiceSettings) -> int:
    return int(settings.start_timeout_s) + START_MARGIN_S


def _argument(text: str) -> str:
    """Kubernetes puts variables into arguments: ``$(NAME)``; ``$$`` is a dollar."""
    return require_text(text, "an argument").replace("$", "$$")
