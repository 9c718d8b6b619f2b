"""Options of ``hetctl serve`` for a server that is left running."""

from pathlib import Path
from typing import Annotated

import typer

_SERVICE = "Service"
_ACCESS = "Access"

Host = Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel=_ACCESS)]
Port = Annotated[
    int, typer.Option(min=1, max=65535, help="Port to listen on.", rich_help_panel=_ACCESS)
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        metavar="FILE",
        help="File that holds the key which clients must send.",
        rich_help_panel=_ACCESS,
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        metavar="KEY",
        help="The key itself; a file, or the variable HETCTL_SERVE_API_KEY, keeps it out of the "
        "shell's history.",
        rich_help_panel=_ACCESS,
    ),
]
ShareGpus = Annotated[
    bool,
    typer.Option(
        "--share-gpus",
        help="Use GPUs that another server of hetctl uses, too.",
        rich_help_panel=_SERVICE,
    ),
]
StartTimeout = Annotated[
    float,
    typer.Option(
        "--start-timeout",
        min=1,
        metavar="SECONDS",
        help="Longest start to wait for.",
        rich_help_panel=_SERVICE,
    ),
]
DrainTimeout = Annotated[
    int,
    typer.Option(
        "--drain-timeout",
        min=0,
        max=86_400,
        metavar="SECONDS",
        help="Longest time that running requests have once the end is asked for.",
        rich_help_panel=_SERVICE,
    ),
]
HealthTimeout = Annotated[
    float,
    typer.Option(
        "--health-timeout",
        min=0,
        metavar="SECONDS",
        help="A server that has not answered /health for so long has failed; 0 for no limit.",
        rich_help_panel=_SERVICE,
    ),
]
Restart = Annotated[
    bool,
    typer.Option(
        "--restart",
        help="Start the server again when it fails, after 1 s and then ever more slowly, up to a "
        "minute; not if it was never ready.",
        rich_help_panel=_SERVICE,
    ),
]
RestartLimit = Annotated[
    int,
    typer.Option(
        "--restart-limit",
        min=0,
        metavar="N",
        help="Failures in a row after which it stays ended; 0 for no limit. Ten minutes without "
        "a failure end a row.",
        rich_help_panel=_SERVICE,
    ),
]
Log = Annotated[
    Path | None,
    typer.Option(
        "--log",
        metavar="FILE",
        help="Where vLLM's output goes; each rank's own goes beside it, too. "
        "[default: ~/.local/state/hetctl/serve-PORT.log]",
        rich_help_panel=_SERVICE,
    ),
]
LogLimit = Annotated[
    str,
    typer.Option(
        "--log-limit",
        metavar="SIZE",
        help="A log that is longer is continued in a new file.",
        rich_help_panel=_SERVICE,
    ),
]
LogKeep = Annotated[
    int,
    typer.Option(
        "--log-keep",
        min=0,
        max=1000,
        metavar="N",
        help="Earlier files that are kept of each log.",
        rich_help_panel=_SERVICE,
    ),
]
LogJson = Annotated[
    bool,
    typer.Option(
        "--log-json",
        help="Print what hetctl, the engine and its ranks say as JSON, one object per line.",
        rich_help_panel=_SERVICE,
    ),
]
