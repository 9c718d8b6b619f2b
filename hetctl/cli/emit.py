"""``hetctl serve --emit``: what was asked for, as the file of something that starts servers."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hetctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hetctl.launch.emit.settings import GivenOption
    from hetctl.launch.emit.target import Target
    from hetctl.plan import Plan

_OF_ITS_OWN = {"emit", "dry-run", "plan", "host", "port", "log", "start-timeout", "api-key-file"}
"""Options that do not go into the file as they are."""
_OF_THE_HUB = ("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT")


def service_file(
    ctx: Any, target: "Target", plan: "Plan", plan_file: Path | None, vllm_args: "Sequence[str]"
) -> str:
    """The file for ``target`` that starts what the command line of ``ctx`` would have started.

    Raises:
        UsageError: a key would be in it, a path means nothing to a service, or a value cannot be
            written in the target's format.
    """
    from hetctl import __version__
    from hetctl.launch.emit.settings import ServiceSettings
    from hetctl.launch.emit.writers import emitted

    given = ctx.params
    options = _given_options(ctx)
    _refuse_secrets([option.word for option in options], vllm_args)
    settings = ServiceSettings(
        plan=plan,
        options=options,
        vllm_args=tuple(vllm_args),
        plan_file=_absolute(plan_file),
        model_folder=_model_folder(plan.model, plan_file),
        host=given["host"],
        port=given["port"],
        log=_absolute(given["log"]),
        start_timeout_s=given["start_timeout"],
        drain_timeout_s=given.get("drain_timeout", 30.0),
        api_key_file=_absolute(given.get("api_key_file")),
        variables=_variables(),
        executable=_executable(),
        user=_user(),
        version=__version__,
    )
    return emitted(target, settings)


def _given_options(ctx: Any) -> "tuple[GivenOption, ...]":
    """Those with another source than their default, wherever the value is from."""
    from hetctl.cli import verbosity
    from hetctl.cli.command import option_name, settable
    from hetctl.cli.plan_options import PANELS
    from hetctl.launch.emit.settings import GivenOption

    found = []
    for param in settable(ctx.command.get_params(ctx)):
        name = option_name(param)
        source = ctx.get_parameter_source(param.name)
        if param.name in verbosity.ALL or name in _OF_ITS_OWN or source is None:
            continue
        value = ctx.params.get(param.name)
        if source.name != "DEFAULT" and value is not None:
            found.append(GivenOption(name, _text(value), param.rich_help_panel in PANELS))
    return tuple(found)


def _text(value: Any) -> str | bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, str) and Path(value).is_file():
        # --machine takes a name or a file.
        return str(Path(value).absolute())
    return str(value)


def _refuse_secrets(words: "Sequence[str]", vllm_args: "Sequence[str]") -> None:
    from hetctl.redact import is_secret_name, redact

    for word in (*words, *vllm_args):
        name = word.partition("=")[0]
        if word.startswith("-") and is_secret_name(name) and not name.endswith("-file"):
            remedy = (
                "put the key into a file of its own and give --api-key-file FILE"
                if "api" in name
                else "set its variable where the server runs"
            )
            raise UsageError(f"{name} would put a secret into the emitted file; {remedy}.")
        if redact(word) != word:
            raise UsageError(
                f"An argument looks like a secret ({redact(word)}), which does not belong into a "
                "file; leave it out, and set its variable where the server runs."
            )


def _model_folder(model: str, plan_file: Path | None) -> Path | None:
    """The absolute path of a model that is a folder of this machine.

    Raises:
        UsageError: a given plan names it by a relative path, which a service cannot follow.
    """
    folder = Path(model)
    if not folder.is_dir():
        return None
    if plan_file is not None and not folder.is_absolute():
        raise UsageError(
            f"{plan_file} names its model by the relative path {model}, which a service cannot "
            f"follow; make the plan of {folder.absolute()}."
        )
    return folder.absolute()


def _absolute(path: Path | None) -> Path | None:
    return path.absolute() if path is not None else None


def _variables() -> dict[str, str]:
    """What the shell says to the plugin and to the hub, tokens left out."""
    from hetctl.redact import is_secret_name
    from vllm_hetero import env

    names = [name for name in env.USER_VARIABLES if name not in (env.PLATFORM, env.RANK_MAP)]
    return {
        name: os.environ[name]
        for name in (*names, *_OF_THE_HUB)
        if os.environ.get(name) and not is_secret_name(name)
    }


def _executable() -> tuple[str, ...]:
    """How a service starts this very hetctl."""
    script = Path(sys.executable).with_name("hetctl")
    return (str(script),) if script.is_file() else (sys.executable, "-m", "hetctl")


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
