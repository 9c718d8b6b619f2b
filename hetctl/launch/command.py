"""What a launch runs: the exact command and the environment that it adds."""

from hetctl.document import Frozen


class LaunchCommand(Frozen):
    """One ``vllm serve`` process, ready to start or to print."""

    argv: tuple[str, ...]
    env: dict[str, str]
    """Variables set on top of the caller's environment."""
    host: str
    port: int
    model_name: str
    """Name under which the server offers the model."""

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"
