"""Every strategy side by side: what a plan shows of those that it is not."""

from collections.abc import Sequence

from hetctl.plan import RankedStrategy
from hetctl.planner.bottleneck import bottleneck
from hetctl.planner.placement import Placement
from hetctl.planner.ranks import rank_plans
from hetctl.planner.strategy import Candidate
from hetctl.units import format_duration

# A model of rates is not good to a few per cent: such a lead is not worth a number.
ABOUT_EQUAL = 1.05


def ranking(chosen: Placement, found: Sequence[Candidate]) -> tuple[RankedStrategy, ...]:
    """The candidates and the chosen placement, the best first, the infeasible last."""
    entries = [
        (candidate.placement, _entry(candidate, chosen))
        for candidate in found
        if not same_placement(candidate.placement, chosen)
    ]
    own = next((c for c in found if same_placement(c.placement, chosen)), None)
    name = own.name if own else "the split that was asked for"
    entries.append((chosen, _feasible(chosen, name, "chosen", is_chosen=True)))
    entries.sort(key=lambda entry: entry[0].objective_s if entry[0] else float("inf"))
    return tuple(entry for _, entry in entries)


def same_placement(a: Placement | None, b: Placement) -> bool:
    """Whether two placements are the same ranks, run in the same way."""
    return a is not None and _key(a) == _key(b)


def times(ratio: float) -> str:
    """``1.3x``, ``12x``."""
    return f"{ratio:.1f}x" if ratio < 10 else f"{ratio:.0f}x"


def _key(placement: Placement) -> tuple[object, ...]:
    stages = [(s.device.name, s.device.numa_node, s.first, s.end) for s in placement.stages]
    return placement.strategy, placement.offload, stages


def _entry(candidate: Candidate, chosen: Placement) -> RankedStrategy:
    if candidate.placement is None:
        return RankedStrategy(
            strategy=candidate.strategy,
            name=candidate.name,
            feasible=False,
            verdict=f"{candidate.why_not}",
            devices=tuple(device.name for device in candidate.devices),
        )
    ratio = candidate.placement.objective_s / chosen.objective_s
    if 1 / ABOUT_EQUAL < ratio < ABOUT_EQUAL:
        compared = "about as fast"
    elif ratio >= 1:
        compared = f"{times(ratio)} slower"
    else:
        compared = f"{times(1 / ratio)} faster"
    own, other = candidate.placement.objective_s, chosen.objective_s
    verdict = (
        f"{compared}: {format_duration(own)} per output token against {format_duration(other)}, "
        f"prompts included"
    )
    return _feasible(candidate.placement, candidate.name, verdict)


def _feasible(
    placement: Placement, name: str, verdict: str, is_chosen: bool = False
) -> RankedStrategy:
    return RankedStrategy(
        strategy=placement.strategy,
        name=name,
        chosen=is_chosen,
        feasible=True,
        verdict=verdict,
        bottleneck=bottleneck(placement),
        split=placement.split,
        devices=tuple(device.name for device in placement.devices),
        ranks=rank_plans(placement),
        offload=placement.offload,
        prediction=placement.prediction,
    )
