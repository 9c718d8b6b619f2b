"""What a decode step is spent on, in words."""

from hetctl.planner.cost import weight_bytes_read
from hetctl.planner.naming import names_of
from hetctl.planner.placement import PlacedStage, Placement
from hetctl.units import format_bytes, format_duration


def bottleneck(placement: Placement) -> str:
    """The largest part of a decode step, over all ranks of a kind."""
    step = placement.decode_s
    spent, what = max(_parts(placement), key=lambda part: part[0])
    return f"{what} takes {format_duration(spent)} of the {format_duration(step)} of a decode step."


def _parts(placement: Placement) -> list[tuple[float, str]]:
    parts = [(placement.steps.decode.engine_s, "Scheduling and sampling in the engine")]
    # The shares of a tensor-parallel group work at the same time: the slowest stands for all.
    stages = placement.stages
    if placement.tensor_parallel > 1:
        stages = (max(stages, key=lambda stage: stage.decode.total_s),)
    for kind in ("cuda", "cpu"):
        of_kind = [stage for stage in stages if stage.device.kind == kind]
        if not of_kind:
            continue
        where = "the CPU" if kind == "cpu" else names_of([stage.device for stage in of_kind])
        if placement.tensor_parallel > 1 and kind == "cuda":
            where = "each GPU"
        times = [stage.decode for stage in of_kind]
        host = sum(stage.host_bytes for stage in of_kind)
        parts += [
            (sum(t.weights_s for t in times), _weights(placement, of_kind, where)),
            (
                sum(t.stream_s for t in times),
                f"Streaming {format_bytes(host)} of weights from host memory to {where}",
            ),
            (sum(t.attention_s for t in times), f"Attention over the KV cache on {where}"),
            (sum(t.transfer_s for t in times), f"Handing activations over on {where}"),
            (sum(t.overhead_s for t in times), f"Launching kernels on {where}"),
        ]
    return parts


def _weights(placement: Placement, stages: list[PlacedStage], where: str) -> str:
    if any(stage.decode.compute_bound for stage in stages):
        return f"Computing the layers on {where}"
    layers, step = placement.memory.spec.layers, placement.steps.decode
    read = sum(
        weight_bytes_read(layer, step)
        for stage in stages
        for layer in layers[stage.first : stage.end]
    )
    read += sum(placement.memory.spec.head_bytes for stage in stages if stage.end == len(layers))
    return f"Reading {format_bytes(read)} of weights on {where}"
