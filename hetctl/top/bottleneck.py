"""One sentence on where the time of a server's ranks goes."""

from collections.abc import Sequence

from hetctl.top.frame import RankFrame, TimeShares

_IDLE = 0.02
"""Who works less than this in an interval has nothing to do."""


def where_time_goes(ranks: Sequence[RankFrame]) -> str:
    """Which rank the others wait for, and what it does; empty where nothing was measured."""
    busy = {rank: rank.time for rank in ranks if rank.time is not None}
    if not busy:
        return ""
    slowest, time = max(busy.items(), key=lambda item: item[1].works)
    if time.works < _IDLE:
        return "The ranks are idle."
    said = f"{_name(slowest)} works {time.works:.0%} of the time{_mostly(time)}"
    others = [(rank, share) for rank, share in busy.items() if rank is not slowest]
    if any(rank.layers == slowest.layers for rank, _ in others):
        return (
            f"{said}. Ranks that share layers wait for each other inside of them, so their times "
            "do not tell which one is slow."
        )
    if 1 - sum(share.works for share in busy.values()) > time.works:
        return f"{said}. Longer than that no rank works: the engine does, or nothing is asked."
    if not others:
        return f"{said}."
    return f"{said}: the bottleneck. {_what_others_do(others)}."


def _name(rank: RankFrame) -> str:
    return f"Rank {rank.rank} ({rank.device})"


def _mostly(time: TimeShares) -> str:
    parts = {
        "in its layers": time.layers,
        "in logits and sampling": time.head,
        "on preparing steps": time.other,
        "in a step that still runs": time.unfinished,
    }
    what, share = max(parts.items(), key=lambda item: item[1])
    return f", {share:.0%} {what}" if share < time.works else f" {what}"


def _what_others_do(others: Sequence[tuple[RankFrame, TimeShares]]) -> str:
    said = [
        f"rank {rank.rank} works {time.works:.0%}"
        + (f" and waits {time.hops:.0%}" if time.hops >= _IDLE else "")
        for rank, time in others
    ]
    text = ", ".join(said)
    return text[0].upper() + text[1:]
