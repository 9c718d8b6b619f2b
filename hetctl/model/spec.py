"""What a model weighs: the document that plans are computed from."""

from typing import ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt

from hetctl.document import Document, Frozen

Dtype = Literal["float32", "float16", "bfloat16"]

KvCacheDtype = Literal["auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"]

ScaleBlock = tuple[PositiveInt, PositiveInt]
"""Outputs and inputs of a matrix that share a scale."""

DTYPE_BYTES: dict[Dtype, int] = {"float32": 4, "float16": 2, "bfloat16": 2}


class LayerSpec(Frozen):
    """One transformer layer, in the dtype that it is run in."""

    weight_bytes: PositiveInt
    """Bytes that must be resident."""
    decode_weight_bytes: PositiveInt
    """Bytes read to decode one token of one sequence: fewer than ``weight_bytes`` for MoE."""
    flops_per_token: PositiveInt
    """Multiply-adds counted as two, without attention over the context."""
    kv_bytes_per_token: NonNegativeInt
    replicated_bytes: NonNegativeInt = 0
    """Of the weights, what every rank of a tensor-parallel group holds whole: norms, routers."""
    kv_weight_bytes: NonNegativeInt = 0
    """Of the weights, the key and value projections: ranks that outnumber the KV heads hold
    copies of them."""
    derived_bytes: NonNegativeInt = 0
    """Of the weights, what is in no checkpoint: vLLM computes it from others while loading."""
    sliding_window: PositiveInt | None = None
    experts: NonNegativeInt = 0
    experts_per_token: NonNegativeInt = 0


class ModelSpec(Document):
    """A model as the planner sees it. All byte counts are before tensor parallelism."""

    KIND: ClassVar[str] = "hetctl.model"

    name: str
    """The folder or hub id that the user gave."""
    architecture: str
    dtype: Dtype
    layers: tuple[LayerSpec, ...]
    hidden_size: PositiveInt
    vocab_size: PositiveInt
    max_model_len: PositiveInt
    """Longest context that vLLM accepts for the model."""
    default_model_len: PositiveInt | None = None
    """Context that vLLM serves when none is asked for, where it is less (long RoPE)."""
    attention_heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt
    activation_bytes_per_token: PositiveInt
    """Intermediate tensors of one layer that are alive at once, per token of the batch."""
    shared_sizes: tuple[tuple[str, PositiveInt], ...] = ()
    """What tensor parallelism divides besides heads, by name, such as the MLP's width."""
    quantised: bool = False
    scale_block: ScaleBlock | None = None
    """Of quantised weights, where scales are not of whole rows or columns: no rank of a
    tensor-parallel group can have a part of one."""
    latent_cache: bool = False
    """Multi-head latent attention: one vector per token is cached, whatever the heads."""
    kv_cache_dtype: KvCacheDtype = "auto"
    """As vLLM's ``--kv-cache-dtype``; ``auto`` is ``dtype``."""
    tied_embeddings: bool = False
    embeddings_on_every_stage: bool = False
    """vLLM builds the embedding and the head of this architecture on all pipeline stages."""
    embedding_bytes: PositiveInt
    """Input embedding, on the first stage (and on the last when tied: vLLM copies it)."""
    head_bytes: PositiveInt
    """Output head and final norm, on the last stage, a tied matrix included."""
    tied_bytes: NonNegativeInt = 0
    """What a stage that has both embedding and head holds once only."""
    parameters: PositiveInt
    """A tied embedding counts once."""
    active_parameters: PositiveInt
    """Parameters that one token passes: fewer than ``parameters`` for MoE."""
    source: Literal["config", "safetensors index"] = "config"
    notes: tuple[str, ...] = ()
    cpu_refusal: str | None = None
    """Why CPU ranks cannot run the model, as a clause without a subject; None where they can."""

    def edge_weight_bytes(self, first: bool, last: bool) -> int:
        """What a pipeline stage holds besides its layers, as the first and/or last one."""
        embedding = first or self.embeddings_on_every_stage
        head = last or self.embeddings_on_every_stage
        shared = self.tied_bytes if embedding and head else 0
        return embedding * self.embedding_bytes + head * self.head_bytes - shared

    @property
    def weight_bytes(self) -> int:
        """All weights on one device: a tied embedding counts once."""
        return self.edge_weight_bytes(True, True) + sum(x.weight_bytes for x in self.layers)
