"""What to run: every strategy solved, and the one that is chosen."""

from dataclasses import dataclass, replace

from hetctl.errors import UsageError
from hetctl.machine import Machine
from hetctl.model.spec import ModelSpec
from hetctl.planner.context import contexts_to_try
from hetctl.planner.correction import Corrector
from hetctl.planner.inventory import take_inventory
from hetctl.planner.placement import Placement, Placer
from hetctl.planner.ranking import same_placement
from hetctl.planner.request import PlanRequest
from hetctl.planner.strategy import Candidate, candidates, choose
from hetctl.workload import Workload


@dataclass(frozen=True, slots=True)
class Decision:
    """The chosen placement, and all that were considered."""

    placer: Placer
    candidates: list[Candidate]
    chosen: Placement
    corrector: Corrector

    @property
    def name(self) -> str:
        """What the chosen one is called."""
        own = (c.name for c in self.candidates if same_placement(c.placement, self.chosen))
        return next(own, "the split that was asked for")


def decide(
    machine: Machine, spec: ModelSpec, workload: Workload, request: PlanRequest
) -> Decision | None:
    """The best that ``request`` allows, or None if nothing fits.

    Raises:
        UsageError: the request contradicts the machine, the model or itself.
    """
    _check_split(spec, request)
    inventory = take_inventory(machine, spec, request)
    if inventory.cpu_refusal is not None and spec.cpu_refusal is None:
        note = f"CPU ranks are left out: {inventory.cpu_refusal}."
        spec = spec.model_copy(update={"notes": (*spec.notes, note)})
    for length in contexts_to_try(spec, workload):
        placer = Placer(spec, workload, length, request.goal)
        corrector = Corrector(request.evidence, machine, placer)
        found = [_corrected(one, corrector) for one in candidates(inventory, placer)]
        chosen = choose(request, inventory, found, placer)
        if chosen is not None and isinstance(request.split, tuple):
            chosen = corrector.corrected(chosen)
        if chosen is not None:
            return Decision(placer, found, chosen, corrector)
    return None


def _corrected(candidate: Candidate, corrector: Corrector) -> Candidate:
    if candidate.placement is None:
        return candidate
    return replace(candidate, placement=corrector.corrected(candidate.placement))


def _check_split(spec: ModelSpec, request: PlanRequest) -> None:
    if not isinstance(request.split, tuple):
        return
    placed, layers = sum(request.split), len(spec.layers)
    if placed != layers:
        split = ",".join(map(str, request.split))
        raise UsageError(
            f"--split {split} places {placed} layers, but {spec.name} has {layers}; "
            f"the numbers must add up to {layers}."
        )
