"""Runs the server of ``hetctl serve``, from the checks before its start to its end."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hetctl.cli.end_signals import EndSignals
from hetctl.cli.record_voice import RecordVoice
from hetctl.cli.serve_voice import TerminalVoice
from hetctl.errors import HetctlError, UsageError
from hetctl.launch.output import RankLogs
from hetctl.launch.output.rotating_log import LEAST_LIMIT_BYTES
from hetctl.launch.port import LOOPBACK, require_free_port
from hetctl.launch.preflight import prepare_runtime
from hetctl.launch.running import published
from hetctl.launch.server import Server
from hetctl.launch.service import Service, Terms
from hetctl.redact import secrets_of, secrets_of_arguments
from hetctl.server_record import ServerRecord

if TYPE_CHECKING:
    from hetctl.launch.command import LaunchCommand
    from hetctl.plan import Plan


@dataclass(frozen=True)
class Logs:
    """Where the server's output goes."""

    path: Path
    limit_bytes: int
    """Of each file."""
    kept: int
    """Earlier files of each log."""
    as_json: bool
    """Whether it goes to stdout, too, one JSON object per line."""

    def __post_init__(self) -> None:
        if self.limit_bytes < LEAST_LIMIT_BYTES:
            raise UsageError(
                f"--log-limit {self.limit_bytes} is less than {LEAST_LIMIT_BYTES} bytes, which no "
                "log can be held to; give more, such as 64MiB."
            )


def run_service(
    plan: "Plan",
    command: "LaunchCommand",
    terms: Terms,
    logs: Logs,
    *,
    key: str | None,
    warning: str | None,
    share_gpus: bool,
) -> None:
    """Run servers until a signal asks for the end.

    Args:
        key: What clients must send.
        warning: What is to be said before anything else.

    Raises:
        HetctlError: the port or a GPU is taken, or the machine is not ready.
        LaunchError: the server failed, and is not started again.
    """
    voice = RecordVoice() if logs.as_json else TerminalVoice()
    secrets = (
        *secrets_of(os.environ),
        *secrets_of_arguments(command.argv),
        *([key] if key else []),
    )
    output = RankLogs(
        logs.path,
        pipeline_parallel_size=len(plan.split),
        tensor_parallel_size=plan.tensor_parallel_size,
        limit_bytes=logs.limit_bytes,
        kept=logs.kept,
        secrets=secrets,
        on_record=voice.record if isinstance(voice, RecordVoice) else None,
    )

    def new_server() -> Server:
        return Server(command, logs.path, output=output, key=key, share_gpus=share_gpus)

    try:
        if warning:
            voice.warn(warning)
        _check(plan, command, voice, guarded=key is not None)
        voice.log_at(logs.path)
        signals = EndSignals()
        with signals.handled():
            Service(new_server, _published_as(plan), terms, voice, signals).run()
    except HetctlError as error:
        voice.ended(error)
        raise
    voice.ended(None)


def _check(
    plan: "Plan", command: "LaunchCommand", voice: TerminalVoice | RecordVoice, guarded: bool
) -> None:
    require_free_port(command.host, command.port)
    voice.plan(plan)
    if command.host not in LOOPBACK and not guarded:
        voice.warn(
            f"{command.host} can be reached by others, and the server will ask nobody for a key; "
            "--api-key-file FILE makes it ask."
        )
    with voice.preparing() as say:
        prepare_runtime(plan, say)
    # Preparing may have taken minutes.
    require_free_port(command.host, command.port)


def _published_as(plan: "Plan") -> Callable[[Server], AbstractContextManager[None]]:
    import psutil

    def publish(server: Server) -> AbstractContextManager[None]:
        return published(
            ServerRecord(
                pid=os.getpid(),
                pid_created_s=psutil.Process().create_time(),
                started=datetime.now(UTC),
                base_url=server.local_url,
                model_name=server.command.model_name,
                plan=plan,
                log=server.log_path.absolute(),
            )
        )

    return publish
