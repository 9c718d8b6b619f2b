"""What stands in front of vLLM's API in a server that ``hetctl serve`` runs."""

_MIDDLEWARE = (
    "vllm_hetero.http.well_formed.WellFormed",
    "vllm_hetero.http.guarded.Guarded",
    "vllm_hetero.http.draining.Draining",
)


def middleware_arguments() -> tuple[str, ...]:
    """Arguments for ``vllm serve``, which asks the last one first."""
    return tuple(word for name in _MIDDLEWARE for word in ("--middleware", name))
