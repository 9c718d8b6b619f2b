"""Which server to look at."""

from collections.abc import Sequence

from hetctl.errors import HetctlError, UsageError
from hetctl.server_record import ServerRecord
from hetctl.top.page import base_url_of


def chosen(given: str | None, running: Sequence[ServerRecord]) -> tuple[str, ServerRecord | None]:
    """Where the server is, and its record where hetctl started it.

    Args:
        given: The address that the user gave.
        running: The user's servers.

    Raises:
        HetctlError: no address was given, and there is no server.
        UsageError: there are several, or what was given is no address.
    """
    if given is not None:
        url = base_url_of(given)
        return url, next((record for record in running if record.base_url == url), None)
    if not running:
        raise HetctlError(
            "No server of yours runs here; start one with hetctl serve, or give the address of "
            "another: hetctl top http://HOST:PORT."
        )
    if len(running) > 1:
        listed = "".join(f"\n  hetctl top {r.base_url}  ({r.model_name})" for r in running)
        raise UsageError(f"{len(running)} servers of yours run here; name one:{listed}")
    return running[0].base_url, running[0]
