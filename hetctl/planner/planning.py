"""Machine, model, workload and request -> plan."""

from hetctl.machine import Machine
from hetctl.model.spec import ModelSpec
from hetctl.plan import Plan
from hetctl.planner.context import fullest_device, longest_context, own_length, with_context
from hetctl.planner.decision import Decision, decide
from hetctl.planner.explanation import context_sentence, explain
from hetctl.planner.inventory import take_inventory
from hetctl.planner.misfit import misfit
from hetctl.planner.placement import Placement
from hetctl.planner.predictor import PREDICTOR_VERSION
from hetctl.planner.ranking import ranking, same_placement
from hetctl.planner.ranks import kv_cache_tokens, rank_plans
from hetctl.planner.request import PlanRequest
from hetctl.planner.sensitivity import (
    crossover_sentences,
    find_crossovers,
    said,
    what_if,
    worth_exploring,
)
from hetctl.workload import Workload


def make_plan(
    machine: Machine,
    spec: ModelSpec,
    workload: Workload,
    request: PlanRequest | None = None,
    explore: bool = False,
) -> Plan:
    """The best way to run ``spec`` on ``machine`` that ``request`` allows.

    Args:
        explore: Also find out what would change the choice, on machines of few devices: it
            takes some plans more.

    Raises:
        UsageError: the request contradicts the machine, the model or itself, or the
            machine document lacks a rate.
        DoesNotFitError: no allowed way fits the memory there is.
    """
    request = request or PlanRequest()
    decision = decide(machine, spec, workload, request)
    if decision is None:
        raise misfit(take_inventory(machine, spec, request), spec, workload, request)
    plan = _plan(machine, workload, request, decision)
    if not explore or not worth_exploring(machine):
        return plan
    crossovers = find_crossovers(machine, spec, workload, request)
    changes = what_if(machine, spec, workload, request, decision)
    sentences = (*crossover_sentences(crossovers, workload.concurrency), *map(said, changes))
    return plan.model_copy(
        update={
            "crossovers": crossovers,
            "what_if": changes,
            "explanation": (*plan.explanation, *sentences),
        }
    )


def _plan(machine: Machine, workload: Workload, request: PlanRequest, decision: Decision) -> Plan:
    placer, planned = decision.placer, decision.chosen
    spec = placer.spec
    others = [c for c in decision.candidates if not same_placement(c.placement, planned)]
    chosen, context = planned, None
    if workload.max_model_len is None:
        chosen, context = _with_longest_context(chosen, spec, workload)
    serving = chosen.memory.serving
    return Plan(
        model=spec.name,
        model_parameters=spec.parameters,
        dtype=spec.dtype,
        kv_cache_dtype=spec.kv_cache_dtype,
        machine_fingerprint=machine.fingerprint,
        workload=workload,
        strategy=chosen.strategy,
        ranks=rank_plans(chosen),
        tensor_parallel_size=chosen.tensor_parallel,
        offload=chosen.offload,
        max_model_len=serving.max_model_len,
        max_num_seqs=serving.max_num_seqs,
        max_num_batched_tokens=serving.max_num_batched_tokens,
        block_size=serving.block_size,
        gpu_memory_utilization=_gpu_memory_utilization(chosen),
        kv_cache_tokens=kv_cache_tokens(chosen),
        prediction=chosen.prediction,
        predictor_version=PREDICTOR_VERSION,
        explanation=(
            *explain(planned, others, placer, request, context),
            *decision.corrector.sentences(planned, others),
            *machine.rate_notes,
        ),
        ranking=ranking(planned, decision.candidates),
    )


def _with_longest_context(
    chosen: Placement, spec: ModelSpec, workload: Workload
) -> tuple[Placement, str | None]:
    """Room that the split leaves goes to the context; said when that is not all of it."""
    own = own_length(spec, workload.input_len + workload.output_len)
    longer = with_context(chosen, longest_context(chosen, own))
    length = longer.memory.serving.max_model_len
    where = fullest_device(longer).label
    return longer, context_sentence(workload.concurrency, length, own, where)


def _gpu_memory_utilization(chosen: Placement) -> float | None:
    shares = [
        stage.device.memory_limit_bytes / stage.device.memory_total_bytes
        for stage in chosen.stages
        if stage.device.kind == "cuda"
    ]
    return min(shares, default=None)
