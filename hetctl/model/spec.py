"""What a model weighs: the document that plans are computed from."""

from typing import ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt

from hetctl.document import Document, Frozen


class LayerSpec(Frozen):
    """One transformer layer, in the dtype that it is run in."""

    weight_bytes: PositiveInt
    """Bytes that must be resident."""
    decode_weight_bytes: PositiveInt
    """Bytes read to decode one token of one sequence: fewer than ``weight_bytes`` for MoE."""
    flops_per_token: PositiveInt
    """Multiply-adds counted as two, without attention over the context."""
    kv_bytes_per_token: NonNegativeInt
    sliding_window: PositiveInt | None = None
    experts: NonNegativeInt = 0
    experts_per_token: NonNegativeInt = 0


class ModelSpec(Document):
    """A model as the planner sees it. All byte counts are before tensor parallelism."""

    KIND: ClassVar[str] = "hetctl.model"

    name: str
    """The folder or hub id that the user gave."""
    architecture: str
    dtype: Literal["float32", "float16", "bfloat16"]
    layers: tuple[LayerSpec, ...]
    hidden_size: PositiveInt
    vocab_size: PositiveInt
    max_model_len: PositiveInt
    attention_heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt
    tied_embeddings: bool = False
    embedding_bytes: PositiveInt
    """Input embedding, on the first stage (and on the last when tied: vLLM copies it)."""
    head_bytes: PositiveInt
    """Output head and final norm, on the last stage."""
    parameters: PositiveInt
    source: Literal["config", "safetensors index"] = "config"
    notes: tuple[str, ...] = ()

    @property
    def weight_bytes(self) -> int:
        """All weights on one device: a tied embedding counts once."""
        head = 0 if self.tied_embeddings else self.head_bytes
        return self.embedding_bytes + head + sum(layer.weight_bytes for layer in self.layers)
