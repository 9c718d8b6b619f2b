"""How the points of a sweep are called."""


def point_name(request_rate: float | None, max_concurrency: int | None) -> str:
    """``c8`` for 8 requests at a time, ``r2.5`` for 2.5 per second, ``r2.5-c8`` for both."""
    rate = "" if request_rate is None else f"r{request_rate:g}"
    cap = "" if max_concurrency is None else f"c{max_concurrency}"
    return "-".join(part for part in (rate, cap) if part) or "all-at-once"
