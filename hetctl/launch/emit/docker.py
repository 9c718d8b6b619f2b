"""``--emit docker``: a Compose file."""

from typing import Any

from hetctl.launch.emit import container
from hetctl.launch.emit.kubernetes import as_yaml
from hetctl.launch.emit.resources import SHARED_MEMORY_BYTES, gpus
from hetctl.launch.emit.settings import ServiceSettings
from hetctl.launch.emit.systemd import START_MARGIN_S, STOP_MARGIN_S
from hetctl.launch.emit.text import comment, require_text, shell
from hetctl.launch.port import LOOPBACK

_KEY = "/run/secrets/api-key"
_HERE = "WORKING_DIRECTORY"
_HEALTH = (
    "import sys, urllib.request as u; "
    "sys.exit(u.urlopen('http://127.0.0.1:{port}/health', timeout=5).status != 200)"
)


def compose_file(settings: ServiceSettings) -> str:
    """The file, for ``docker compose up``.

    Raises:
        UsageError: a value cannot be written as YAML.
    """
    document: dict[str, Any] = {
        "name": settings.name,
        "services": {"hetctl": _service(settings)},
        "secrets": {"api-key": {"file": _escaped(str(settings.api_key_file or "./api-key"))}},
        "volumes": {"models": {}, "state": {}},
    }
    if settings.plan_file is not None:
        plan = container.plan_inside(settings).to_json()
        document["configs"] = {"plan": {"content": _escaped(plan)}}
    return comment(_head(settings)) + as_yaml(document)


def _service(settings: ServiceSettings) -> dict[str, Any]:
    service: dict[str, Any] = {
        "image": container.image(settings),
        "command": [_escaped(word) for word in container.arguments(settings, _KEY)],
        "environment": {
            **{name: _escaped(value) for name, value in container.variables(settings).items()},
            # Of the shell that starts it, if it is set there.
            "HF_TOKEN": None,
        },
        "ports": [f"{_address(settings)}:{settings.port}:{settings.port}"],
        "volumes": _volumes(settings),
        "secrets": ["api-key"],
        # Of ranks that are killed, no process is to stay as a zombie.
        "init": True,
        "restart": "unless-stopped",
        "shm_size": f"{SHARED_MEMORY_BYTES >> 20}m",
        # The default seccomp profile lets only those with SYS_NICE bind memory to NUMA nodes.
        "cap_drop": ["ALL"],
        "cap_add": ["SYS_NICE"],
        "security_opt": ["no-new-privileges:true"],
        "ulimits": {"memlock": {"soft": -1, "hard": -1}, "nofile": {"soft": 65536, "hard": 65536}},
        "stop_grace_period": f"{int(settings.drain_timeout_s) + STOP_MARGIN_S}s",
        "healthcheck": {
            "test": ["CMD", "python3", "-c", _HEALTH.format(port=settings.port)],
            "interval": "10s",
            "timeout": "10s",
            "retries": 6,
            "start_period": f"{int(settings.start_timeout_s) + START_MARGIN_S}s",
        },
    }
    if settings.plan_file is not None:
        service["configs"] = [{"source": "plan", "target": container.PLAN}]
    if found := gpus(settings.plan):
        device = {
            "driver": "nvidia",
            "device_ids": [str(gpu) for gpu in found],
            "capabilities": ["gpu"],
        }
        service["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    return service


def _head(settings: ServiceSettings) -> list[str]:
    key = str(settings.api_key_file or "./api-key")
    lines = [f"{settings.plan.model}, by hetctl {settings.version}.", ""]
    if settings.api_key_file is None:
        lines.append("  openssl rand -hex 32 > api-key")
    return [
        *lines,
        f"  chown {container.USER} {shell([key])} && chmod 400 {shell([key])}",
        "  docker compose --file THIS_FILE up --detach --wait",
        "  docker compose --file THIS_FILE logs --follow",
        *([] if settings.plan_file else ["", "The same without Compose:", f"  {_run(settings)}"]),
    ]


def _run(settings: ServiceSettings) -> str:
    """As one command. A given plan has no place in one: its GPUs have other numbers inside."""
    words = ["docker", "run", "--detach", "--init", "--name", settings.name]
    if found := gpus(settings.plan):
        words += ["--gpus", f'"device={",".join(map(str, found))}"']
    words += ["--cap-drop", "ALL", "--cap-add", "SYS_NICE"]
    words += ["--security-opt", "no-new-privileges"]
    words += ["--shm-size", f"{SHARED_MEMORY_BYTES >> 20}m", "--ulimit", "memlock=-1"]
    words += ["--stop-timeout", str(int(settings.drain_timeout_s) + STOP_MARGIN_S)]
    words += ["--publish", f"{_address(settings)}:{settings.port}:{settings.port}"]
    words += ["--volume", f"{settings.name}_models:{container.MODELS}"]
    words += ["--volume", f"{settings.name}_state:{container.STATE}"]
    key = settings.api_key_file or f"{_HERE}/api-key"
    words += ["--mount", f"type=bind,source={key},target={_KEY},readonly"]
    if settings.model_folder:
        target = container.model(settings)
        words += ["--mount", f"type=bind,source={settings.model_folder},target={target},readonly"]
    words += [container.image(settings), *container.arguments(settings, _KEY)]
    return shell(words).replace(_HERE, '"$PWD"')


def _address(settings: ServiceSettings) -> str:
    """Where this machine listens: inside, the server must listen everywhere."""
    if settings.host in LOOPBACK:
        return "[::1]" if settings.host == "::1" else "127.0.0.1"
    return f"[{settings.host}]" if ":" in settings.host else settings.host


def _volumes(settings: ServiceSettings) -> list[Any]:
    volumes: list[Any] = [
        {"type": "volume", "source": "models", "target": container.MODELS},
        {"type": "volume", "source": "state", "target": container.STATE},
    ]
    if settings.model_folder is not None:
        volumes.append(
            {
                "type": "bind",
                "source": _escaped(str(settings.model_folder)),
                "target": _escaped(container.model(settings)),
                "read_only": True,
                "bind": {"create_host_path": False},
            }
        )
    return volumes


def _escaped(text: str) -> str:
    """Compose puts variables into every text: ``$NAME``; ``$$`` is a dollar."""
    return require_text(text, "a text of the Compose file").replace("$", "$$")
