"""``--emit systemd``: a unit that runs a saved plan, for systemd 247 or newer."""

import re
from pathlib import Path

from hetctl.errors import UsageError
from hetctl.launch.emit.env_file import key_command, plan_command
from hetctl.launch.emit.settings import ServiceSettings
from hetctl.launch.emit.text import comment, require_text, shell
from hetctl.launch.server import STOP_GRACE_S

_PLAIN = re.compile(r"[A-Za-z0-9_./:,=@+-]+")
_LOGS = Path("/var/log")
_HOMES = ("/home/", "/root/", "/run/user/")
START_MARGIN_S = 120
"""For the checks and the CPU kernels, before the time that --start-timeout limits."""
STOP_MARGIN_S = int(STOP_GRACE_S) + 15
"""For the ranks to end once requests are drained, and for what they leave to be removed."""
WATCHDOG_S = 120

_TEMPLATE = """\
{head}
[Unit]
Description={description}
After=network-online.target nvidia-persistenced.service
Wants=network-online.target
# A server that fails for ever is started for ever, ever more slowly.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
{before}ExecStart={command}
{credentials}{environment}
{user}
StateDirectory=hetctl
CacheDirectory=hetctl
UMask=0077

# From 5 s to 5 min between tries. systemd before 254 ignores the two last and stays at 5 s.
Restart=on-failure
RestartSec=5
RestartSteps=6
RestartMaxDelaySec=300
# A wrong option or file stays wrong.
RestartPreventExitStatus=2
TimeoutStartSec={start_s}
# Draining, and then the end of the ranks.
TimeoutStopSec={stop_s}
WatchdogSec={watchdog_s}
# hetctl gets SIGTERM and ends its ranks in order; only what is left then is killed.
KillMode=mixed
# hetctl says which rank the kernel killed for memory, and ends by itself.
OOMPolicy=continue

# Pinned host memory, and a descriptor for each connection.
LimitMEMLOCK=infinity
LimitNOFILE=65536

NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
{system}
PrivateTmp=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
# Left out, since ranks need what it takes away:
#   PrivateDevices, DeviceAllow, and ProtectClock, which implies it: /dev/nvidia*
#   PrivateUsers: the owners of devices and of the ranks' /proc entries
#   PrivateIPC: shared memory between ranks, and with a CUDA MPS server
#   ProcSubset: /proc/cpuinfo, /proc/meminfo and the ranks' own /proc entries
#   MemoryDenyWriteExecute: code that Triton, torch and oneDNN compile
#   SystemCallFilter: set_mempolicy and mbind, which bind memory to NUMA nodes
# CPUAffinity and NUMAPolicy are the plan's to decide.

[Install]
WantedBy=multi-user.target
"""


def systemd_unit(settings: ServiceSettings) -> str:
    """The unit's text.

    Raises:
        UsageError: a value holds bytes that are no UTF-8, or NUL; or the service could not write
            its log.
    """
    homes = _in_homes(settings)
    return _TEMPLATE.format(
        head=comment(_head(settings)),
        description=_value(f"hetctl serve {settings.plan.model} on port {settings.port}"),
        before=_BEFORE_GPUS if _has_gpus(settings) else "",
        command=_command(settings),
        credentials=_credentials(settings),
        environment=_environment(settings, homes),
        user=_USER_OF_HOME.format(user=_value(settings.user)) if homes else _OWN_USER,
        start_s=int(settings.start_timeout_s) + START_MARGIN_S,
        stop_s=int(settings.drain_timeout_s) + STOP_MARGIN_S,
        watchdog_s=WATCHDOG_S,
        capabilities="CAP_NET_BIND_SERVICE" if settings.port < 1024 else "",
        system=_system(settings, homes),
    )


_BEFORE_GPUS = """\
# /dev/nvidia-uvm may not be there yet, and without privileges CUDA cannot make it.
ExecStartPre=+/bin/sh -c 'if command -v nvidia-modprobe; then nvidia-modprobe -c 0 -u; fi'
"""
_USER_OF_HOME = """\
# hetctl, the plan or the model is in somebody's home, so the service runs as who printed this.
User={user}"""
_OWN_USER = """\
# A user that exists while a service of hetctl runs; all of them share it, and so its folders.
DynamicUser=yes
User=hetctl"""


def _in_homes(settings: ServiceSettings) -> bool:
    """Whether a user without a home could not read what the service needs."""
    paths = [settings.executable[0], settings.model_folder or "", settings.log or ""]
    return any(str(path).startswith(_HOMES) for path in paths)


def _has_gpus(settings: ServiceSettings) -> bool:
    return any(device != "cpu" for device in settings.plan.devices)


def _head(settings: ServiceSettings) -> list[str]:
    unit = f"{settings.name}.service"
    lines = [f"{settings.plan.model}, by hetctl {settings.version}. As root:", ""]
    if settings.plan_file is None:
        folder = str(settings.plan_path.parent)
        lines += [f"  {shell(['install', '--directory', folder])}"]
        lines += [f"  {shell(plan_command(settings))}"]
    if settings.key_path is not None and settings.api_key_file is None:
        lines += [f"  {key_command(settings.key_path)}"]
    return [
        *lines,
        f"  install -m 644 THIS_FILE /etc/systemd/system/{unit}",
        f"  systemctl daemon-reload && systemctl enable --now {unit}",
        f"  journalctl --unit {unit} --follow",
    ]


def _command(settings: ServiceSettings) -> str:
    words = [
        _word("${CREDENTIALS_DIRECTORY}", prefix="--plan=", suffix="/plan.json"),
        _word(f"--host={settings.host}"),
        _word(f"--port={settings.port}"),
        _word(f"--start-timeout={settings.start_timeout_s:g}"),
        *map(_word, settings.words(plans=False)),
    ]
    if settings.log is not None:
        words.append(_word(f"--log={settings.log}"))
    if settings.key_path is not None:
        words.append(_word("${CREDENTIALS_DIRECTORY}", prefix="--api-key-file=", suffix="/api-key"))
    if settings.vllm_args:
        words += ["--", *map(_word, settings.vllm_args)]
    program, *rest = settings.executable
    start = " ".join([_word(program, variables=False), *map(_word, rest), "serve"])
    return " \\\n    ".join([start, *words])


def _credentials(settings: ServiceSettings) -> str:
    """Files that systemd, as root, reads for the service, and for nobody else."""
    files = {"plan.json": settings.plan_path}
    if settings.key_path is not None:
        files["api-key"] = settings.key_path
    return "".join(f"LoadCredential={name}:{_value(str(path))}\n" for name, path in files.items())


def _environment(settings: ServiceSettings, homes: bool) -> str:
    variables = {"PYTHONUNBUFFERED": "1", **settings.variables}
    if not homes:
        own = {"HOME": "%S/hetctl", "XDG_STATE_HOME": "%S", "XDG_CACHE_HOME": "%C"}
        lines = [f"Environment={name}={value}" for name, value in own.items()]
    else:
        lines = []
    lines += [
        f"Environment={_word(f'{name}={value}', variables=False)}"
        for name, value in variables.items()
    ]
    return "\n".join(lines)


def _system(settings: ServiceSettings, homes: bool) -> str:
    if homes:
        # Caches of the hub, of vLLM and of Triton are in the home, too.
        return "ProtectSystem=full"
    lines = ["ProtectSystem=strict", "ProtectHome=yes"]
    if settings.log is not None:
        lines.append(f"LogsDirectory={_word(_logs_folder(settings.log), variables=False)}")
    return "\n".join(lines)


def _logs_folder(log: Path) -> str:
    """The folder that systemd makes for the service, below :data:`_LOGS`.

    Raises:
        UsageError: it is elsewhere, where a user of the service's own may not write.
    """
    if not log.is_relative_to(_LOGS) or log.parent == _LOGS:
        raise UsageError(
            f"The service could not write --log {log}, as it runs as a user of its own; name a "
            f"file in a folder below {_LOGS}, or leave it out."
        )
    return str(log.parent.relative_to(_LOGS))


def _value(text: str) -> str:
    """A setting that systemd takes as it is, specifiers apart."""
    require_text(text, "a setting of the unit", control="")
    if text != text.strip() or text.endswith("\\"):
        raise UsageError(
            f"a setting of the unit: systemd would not read all of {text!r:.80}; give it another "
            "name."
        )
    return text.replace("%", "%%")


def _word(text: str, *, variables: bool = True, prefix: str = "", suffix: str = "") -> str:
    """One word of a setting that systemd divides into words (systemd.service(5)).

    Args:
        text: The word; with a prefix or suffix it is a reference to a variable, and stays one.
        variables: Whether systemd puts variables into the setting.
    """
    if prefix or suffix:
        return f"{prefix}{text}{suffix}"
    require_text(text, "a word of the unit", control="".join(map(chr, range(1, 32))) + "\x7f")
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if variables:
        escaped = escaped.replace("$", "$$")
    return '"' + re.sub(r"[\x01-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", escaped) + '"'
