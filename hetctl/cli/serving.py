"""Runs the server of ``hetctl serve``, from the checks before its start to its end."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hetctl.cli.serve_voice import TerminalVoice
    from hetctl.launch.command import LaunchCommand
    from hetctl.launch.server import Server
    from hetctl.launch.service import Terms
    from hetctl.plan import Plan


def run_service(
    plan: "Plan",
    command: "LaunchCommand",
    new_server: "Callable[[], Server]",
    terms: "Terms",
    voice: "TerminalVoice",
    guarded: bool,
) -> None:
    """Run servers until a signal asks for the end.

    Args:
        guarded: Whether clients need a key.

    Raises:
        HetctlError: the port or a GPU is taken, or the machine is not ready.
        LaunchError: the server failed, and is not started again.
    """
    from hetctl.cli.end_signals import EndSignals
    from hetctl.launch.port import LOOPBACK, require_free_port
    from hetctl.launch.preflight import prepare_runtime
    from hetctl.launch.service import Service

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
    signals = EndSignals()
    with signals.handled():
        Service(new_server, _published_as(plan), terms, voice, signals).run()


def _published_as(plan: "Plan") -> "Callable[[Server], AbstractContextManager[None]]":
    import os

    import psutil

    from hetctl.launch.running import published
    from hetctl.server_record import ServerRecord

    def publish(server: "Server") -> AbstractContextManager[None]:
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
