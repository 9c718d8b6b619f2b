"""A server that ``hetctl serve`` runs, as other commands find it."""

from pathlib import Path
from typing import ClassVar

from pydantic import AwareDatetime, PositiveFloat, PositiveInt

from hetctl.document import Document
from hetctl.plan import Plan


class ServerRecord(Document):
    """Where a running server is and what it runs; holds no keys."""

    KIND: ClassVar[str] = "hetctl.server"

    pid: PositiveInt
    """Of ``hetctl serve``, which owns the server's processes."""
    pid_created_s: PositiveFloat
    """When that process started, in seconds since 1970: process ids are used again."""
    started: AwareDatetime
    base_url: str
    """As this machine reaches it: ``http://127.0.0.1:8000``."""
    model_name: str
    """Name under which the server offers the model."""
    plan: Plan
    log: Path
    """What the engine and its ranks print."""
