"""What an emitted file is made from."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hetctl.config.option import variable_name
from hetctl.launch.port import LOOPBACK
from hetctl.plan import Plan

CONFIG_FOLDER = Path("/etc/hetctl")
"""Where a service's plan and key are, unless the user says where."""
_NAME_LETTERS = 50
"""Leaves room for suffixes in the 63 that Kubernetes allows."""


@dataclass(frozen=True)
class GivenOption:
    """An option of ``hetctl serve`` that has another value than its default."""

    name: str
    """Without dashes: ``max-model-len``."""
    value: str | bool
    plans: bool = False
    """Whether the plan depends on it, so that a plan file takes its place."""

    @property
    def word(self) -> str:
        """As one word of a command line, whatever the value begins with."""
        if isinstance(self.value, bool):
            return f"--{self.name}" if self.value else f"--no-{self.name}"
        return f"--{self.name}={self.value}"

    @property
    def variable(self) -> str:
        return variable_name(("serve", self.name))

    @property
    def variable_value(self) -> str:
        return str(int(self.value)) if isinstance(self.value, bool) else self.value


@dataclass(frozen=True)
class ServiceSettings:
    """A server as the user asked for it on this machine; paths are absolute."""

    plan: Plan
    options: tuple[GivenOption, ...] = ()
    """All that were given, from the command line, variables or hetctl.toml, except where the
    plan is from and what the fields below hold."""
    vllm_args: tuple[str, ...] = ()
    plan_file: Path | None = None
    """The plan that the user gave; without one, the plan was made for this."""
    model_folder: Path | None = None
    """Where the model is on this machine; None for a hub id."""
    host: str = "127.0.0.1"
    port: int = 8000
    log: Path | None = None
    start_timeout_s: float = 1800.0
    drain_timeout_s: float = 30.0
    """Longest wait for running requests once the end is asked for."""
    api_key_file: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the plugin and of the hub, as set where the file is emitted."""
    executable: tuple[str, ...] = ("/usr/local/bin/hetctl",)
    """Program and first arguments; an absolute path."""
    user: str = "root"
    """Who emits the file."""
    version: str = "0.0"

    @property
    def model(self) -> str:
        """As the server is to be told."""
        return str(self.model_folder) if self.model_folder else self.plan.model

    @property
    def name(self) -> str:
        """For the service, from the model's: letters, digits and dashes."""
        return service_name(self.plan.model)

    @property
    def plan_path(self) -> Path:
        """Where the plan is, or is to be, on this machine."""
        return self.plan_file or CONFIG_FOLDER / f"{self.name}.plan.json"

    @property
    def key_path(self) -> Path | None:
        """Where the API key is, or is to be, on this machine; None where none is needed."""
        if self.api_key_file is None and self.host in LOOPBACK:
            return None
        return self.api_key_file or CONFIG_FOLDER / f"{self.name}.api-key"

    def words(self, plans: bool) -> list[str]:
        """The given options as words of a command line.

        Args:
            plans: Those that the plan depends on, or those that it does not.
        """
        return [option.word for option in self.options if option.plans == plans]


def service_name(model: str) -> str:
    """``hetctl-llama-3-1-8b`` for ``meta-llama/Llama-3.1-8B``."""
    last = model.rstrip("/").rpartition("/")[2]
    letters = unicodedata.normalize("NFKD", last).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", letters)[:_NAME_LETTERS].strip("-")
    return f"hetctl-{slug or 'model'}"
