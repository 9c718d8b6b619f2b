"""``--emit env``: variables with which ``hetctl serve`` alone runs the same server.

The file is read alike by a shell and by systemd's ``EnvironmentFile=``. Both take a text in
double quotes, in which a backslash stands before ``"``, ``\\``, ``$`` and a backtick, and anything
else, a new line too, stands for itself (POSIX shell 2.2.3; systemd.exec(5), EnvironmentFile).
"""

import re
from pathlib import Path

from hetctl.launch.emit.settings import GivenOption, ServiceSettings
from hetctl.launch.emit.text import comment, require_text, shell

_PLAIN = re.compile(r"[A-Za-z0-9_./:,@%+-]+")


def env_file(settings: ServiceSettings) -> str:
    """The file's text.

    Raises:
        UsageError: a value holds control characters, which systemd refuses in variables.
    """
    options = [
        GivenOption("plan", str(settings.plan_path)),
        *(option for option in settings.options if not option.plans),
        GivenOption("host", settings.host),
        GivenOption("port", str(settings.port)),
        GivenOption("start-timeout", f"{settings.start_timeout_s:g}"),
    ]
    if settings.log is not None:
        options.append(GivenOption("log", str(settings.log)))
    if settings.key_path is not None:
        options.append(GivenOption("api-key-file", str(settings.key_path)))
    values = {option.variable: option.variable_value for option in options}
    lines = [
        f"{name}={_quoted(name, value)}\n"
        for name, value in (values | dict(settings.variables)).items()
    ]
    return comment(_head(settings)) + "".join(lines)


def _head(settings: ServiceSettings) -> list[str]:
    run = ["hetctl", "serve", *(["--", *settings.vllm_args] if settings.vllm_args else [])]
    lines = [
        f"{settings.plan.model}, by hetctl {settings.version}. In a shell:",
        f"  set -a; . ./FILE; set +a; {shell(run)}",
        "In a systemd unit: EnvironmentFile=FILE",
    ]
    if settings.plan_file is None:
        lines += ["Its plan is made once:", f"  {shell(plan_command(settings))}"]
    if settings.key_path is not None and settings.api_key_file is None:
        lines += ["Its key is made once:", f"  {key_command(settings.key_path)}"]
    return lines


def plan_command(settings: ServiceSettings) -> list[str]:
    """What writes the plan that a service on this machine runs."""
    options = settings.words(plans=True)
    return ["hetctl", "plan", settings.model, *options, "--save", str(settings.plan_path)]


def key_command(path: Path) -> str:
    """What writes a new API key that only its owner can read."""
    return f"(umask 077; openssl rand -hex 32 > {shell([str(path)])})"


def _quoted(name: str, value: str) -> str:
    require_text(value, name)
    if _PLAIN.fullmatch(value):
        return value
    return '"' + re.sub(r'(["\\$`])', r"\\\1", value) + '"'
