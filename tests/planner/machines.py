"""Made-up machines and models for planner tests, in round numbers."""

from typing import Any

from hetctl.document import Figure
from hetctl.machine import Core, Cpu, Gpu, Machine, NumaNode
from hetctl.model.spec import LayerSpec, ModelSpec
from hetctl.units import GIB


def figure(value: float, source: Any = "measured") -> Figure:
    return Figure(value=value, source=source)


def gpu(index: int = 0, gib: float = 24, read: float = 2e12, **changes: Any) -> Gpu:
    total = int(gib * GIB)
    fields: dict[str, Any] = {
        "index": index,
        "name": "Test GPU",
        "memory_total_bytes": total,
        "memory_free_bytes": total,
        "compute_capability": (9, 0),
        "numa_node": 0,
        "memory_read_bytes_per_s": figure(read),
        "matmul_bf16_flops": figure(400e12),
        "host_to_device_bytes_per_s": figure(50e9),
    }
    return Gpu(**{**fields, **changes})


def node(
    id: int = 0, gib: float = 128, cores: int = 16, smt: bool = True, **changes: Any
) -> NumaNode:
    """Cores 0..n-1 of node 0, n..2n-1 of node 1; SMT siblings are 1,000 further on."""
    first = id * cores
    fields: dict[str, Any] = {
        "id": id,
        "cores": tuple(
            Core(cpus=(cpu, cpu + 1000) if smt else (cpu,)) for cpu in range(first, first + cores)
        ),
        "memory_total_bytes": int(gib * GIB),
        "memory_free_bytes": int(gib * GIB),
        "memory_read_bytes_per_s": figure(100e9),
        "matmul_bf16_flops": figure(4e12),
    }
    return NumaNode(**{**fields, **changes})


def machine(gpus: int | list[Gpu] = 1, nodes: int | list[NumaNode] = 1, **changes: Any) -> Machine:
    cards = [gpu(i) for i in range(gpus)] if isinstance(gpus, int) else gpus
    rooms = [node(i) for i in range(nodes)] if isinstance(nodes, int) else nodes
    return Machine(
        fingerprint="test",
        cpu=Cpu(**{"model": "Test CPU", "isa": ("avx2",), **changes}),
        gpus=tuple(cards),
        numa_nodes=tuple(rooms),
    )


def model(count: int = 32, layer_bytes: int = 436_224_000, **changes: Any) -> ModelSpec:
    """An 8B-shaped Llama in bfloat16 unless told otherwise."""
    layer = LayerSpec(
        weight_bytes=layer_bytes,
        decode_weight_bytes=layer_bytes,
        flops_per_token=layer_bytes,
        kv_bytes_per_token=4096,
    )
    fields: dict[str, Any] = {
        "name": "test-8b",
        "architecture": "LlamaForCausalLM",
        "dtype": "bfloat16",
        "layers": (layer,) * count,
        "hidden_size": 4096,
        "vocab_size": 128256,
        "max_model_len": 131072,
        "attention_heads": 32,
        "kv_heads": 8,
        "head_dim": 128,
        "activation_bytes_per_token": 2 * (2 * 4096 + 3 * 14336),
        "embedding_bytes": 2 * 128256 * 4096,
        "head_bytes": 2 * 128257 * 4096,
        "parameters": 8_030_261_248,
        "active_parameters": 8_030_261_248,
    }
    return ModelSpec(**{**fields, **changes})
