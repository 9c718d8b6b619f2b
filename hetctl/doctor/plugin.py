"""The plugin: whether vLLM finds it, and whether it is the vLLM that it was tested with."""

import importlib.util
from difflib import get_close_matches
from importlib.metadata import entry_points, version

from hetctl.doctor.check import Check, Surroundings
from hetctl.doctor.diagnosis import Outcome, failed, passed, skipped, warned
from vllm_hetero import env
from vllm_hetero.rank_map import RankMap, RankMapError
from vllm_hetero.version import TESTED_VLLM, VersionError, check_vllm_version

_NAME = "hetero"
_GROUPS = {
    "vllm.platform_plugins": "vllm_hetero:platform",
    "vllm.general_plugins": "vllm_hetero:register",
}
_INSTALL = "Install hetctl again in the environment of vLLM: pip install --force-reinstall hetctl."


def vllm_version(surroundings: Surroundings) -> Outcome:
    try:
        check_vllm_version()
    except VersionError as error:
        return failed("not the tested vLLM", str(error))
    found = version("vllm")
    if found.partition("+")[0] != TESTED_VLLM:
        return warned(
            f"{found}, by {env.ANY_VLLM}=1",
            f"Install vllm=={TESTED_VLLM}, the version that the plugin was tested with.",
        )
    return passed(f"{found}, the tested version")


def importable(surroundings: Surroundings) -> Outcome:
    """Found, not imported by vLLM: that is tried in the ranks."""
    spec = importlib.util.find_spec("vllm_hetero")
    if spec is None or spec.origin is None:
        return failed("vllm_hetero cannot be imported", _INSTALL)
    return passed(spec.origin)


def registered(surroundings: Surroundings) -> Outcome:
    """vLLM looks for plugins by entry points, and loads those that VLLM_PLUGINS allows."""
    for group, target in _GROUPS.items():
        found = {entry.value for entry in entry_points(group=group) if entry.name == _NAME}
        if not found:
            return failed(f"vLLM's entry points {group} name no plugin {_NAME!r}", _INSTALL)
        if found != {target}:
            return failed(
                f"{group}: {_NAME!r} is {', '.join(sorted(found))}, not {target} alone",
                "Uninstall the other package that registers a plugin of this name.",
            )
    allowed = surroundings.environment.get("VLLM_PLUGINS")
    if allowed is not None and _NAME not in allowed.split(","):
        return failed(
            f"VLLM_PLUGINS={allowed} leaves it out",
            f"Unset VLLM_PLUGINS, or add {_NAME} to it.",
        )
    return passed("entry points for the platform and the patches")


def variables(surroundings: Surroundings) -> Outcome:
    """The plugin's variables that a shell holds: understood, and not left from another run."""
    environment = surroundings.environment
    known = (*env.USER_VARIABLES, env.ROLE, env.RUN_DIR)
    for name in sorted(environment):
        if name.startswith("VLLM_HETERO") and name not in known:
            nearest = get_close_matches(name, known, n=1)
            hint = f"write {nearest[0]}" if nearest else "unset it"
            return warned(f"{name} is no variable of the plugin", f"{hint.capitalize()}.")
    for left in (env.ROLE, env.RUN_DIR):
        if left in environment:
            return failed(
                f"{left} is set, which only a rank's own process may hold", f"Unset {left}."
            )
    try:
        if given := environment.get(env.RANK_MAP):
            RankMap.from_env(given)
        for read in (env.hop, env.cpu_kv_cache_bytes, env.max_stall_s, env.own_scheduler):
            read()
        for name in (env.STALL_TIMEOUT_S, env.START_TIMEOUT_S):
            env.seconds(name, default=0)
    except (RankMapError, ValueError) as error:
        return failed(str(error), "Correct or unset the variable.")
    mine = [name for name in known if name in environment]
    return passed(", ".join(mine) if mine else "none is set, none is needed")


def active(surroundings: Surroundings) -> Outcome:
    """Whether a vLLM started from this shell by hand would be heterogeneous."""
    environment = surroundings.environment
    if environment.get(env.PLATFORM) == "1" or environment.get(env.RANK_MAP):
        return passed("on for a vLLM started by hand from this shell")
    if environment.get(env.PLATFORM, "0") not in ("", "0"):
        return warned(
            f"{env.PLATFORM}={environment[env.PLATFORM]} means off", f"Set {env.PLATFORM}=1."
        )
    return skipped(f"off, as {env.PLATFORM} is not set; hetctl serve sets it by itself")


_GROUP = "plugin"
CHECKS = (
    Check(_GROUP, "vLLM version", vllm_version),
    Check(_GROUP, "importable", importable),
    Check(_GROUP, "registered", registered),
    Check(_GROUP, "variables", variables),
    Check(_GROUP, "platform", active),
)
