"""Parameter counts of a decoder: exact, and checked against ``transformers``' models."""

from dataclasses import dataclass

from hetctl.model.decoder import DecoderShape, LatentAttention


@dataclass(frozen=True, slots=True)
class LayerParameters:
    """Parameters of one layer, and the share of them that one token passes."""

    total: int
    active: int
    matmul_active: int
    """Of the active ones, those in matrices: each costs one multiply-add per token."""
    replicated: int
    """Those that tensor parallelism leaves whole: norms, the routers, and biases that are added
    to a sum over the ranks."""
    kv: int
    """The key and value projections of attention heads."""
    derived: int = 0
    """What vLLM computes from them while loading and keeps besides."""


def layer_parameters(shape: DecoderShape, layer: int) -> LayerParameters:
    """Counts of one layer."""
    attention = _attention(shape) if shape.latent is None else _latent(shape, shape.latent)
    norms = shape.norms_per_layer * shape.norm_parameters
    vectors, whole = attention.vectors + norms, attention.replicated + norms
    experts = shape.experts
    if experts is None or layer in shape.dense_layers:
        matrices, biases = _mlp(shape)
        total = attention.matrices + vectors + matrices + biases
        return LayerParameters(
            total=total,
            active=total,
            matmul_active=attention.matrices + matrices,
            replicated=whole + shape.mlp_bias * shape.hidden_size,
            kv=attention.kv,
            derived=attention.derived,
        )
    # Router, then per expert a gated MLP; a shared expert may have a gate of one output.
    expert = 3 * shape.hidden_size * experts.intermediate_size
    gates = shape.hidden_size * (experts.count + experts.shared_gate)
    corrections = experts.count * experts.score_correction
    always = gates + 3 * shape.hidden_size * experts.shared_intermediate_size
    matmul = attention.matrices + always + experts.per_token * expert
    return LayerParameters(
        total=attention.matrices + vectors + corrections + always + experts.count * expert,
        active=matmul + vectors + corrections,
        matmul_active=matmul,
        replicated=whole + gates + corrections,
        kv=attention.kv,
        derived=attention.derived,
    )


def embedding_parameters(shape: DecoderShape) -> int:
    """Token embedding, learned positions, and the projection up from a narrow embedding."""
    return (
        shape.vocab_size * shape.embedding_width
        + shape.learned_positions * shape.hidden_size
        + _projection(shape)
    )


def head_parameters(shape: DecoderShape) -> int:
    """Final norm, the projection down to a narrow embedding, and the output matrix."""
    norm = shape.norm_parameters if shape.has_final_norm else 0
    return head_matrix_parameters(shape) + norm + _projection(shape)


def head_matrix_parameters(shape: DecoderShape) -> int:
    """The output matrix alone: what a tied model shares with the embedding."""
    return shape.vocab_size * shape.embedding_width


def peak_activation_elements(shape: DecoderShape) -> int:
    """Elements per token that are alive at once at the widest point of a layer.

    The hidden state and the residual, and on top of them the larger of attention (QKV
    and the attention's output) and MLP (the up-projections and the activation's output;
    with experts, once per expert that the token passes, plus each expert's output).
    """
    attention = _peak_attention_elements(shape)
    mlp = (3 if shape.gated_mlp else 2) * shape.intermediate_size
    if shape.experts is not None:
        routed = 3 * shape.experts.intermediate_size + shape.hidden_size
        shared = 3 * shape.experts.shared_intermediate_size
        sparse = shape.experts.per_token * routed + shared
        mlp = max(mlp, sparse) if shape.dense_layers else sparse
    return 2 * shape.hidden_size + max(attention, mlp)


@dataclass(frozen=True, slots=True)
class _AttentionParameters:
    """Of one layer, with its own norms: in matrices, in vectors, and the shares of both."""

    matrices: int
    vectors: int
    replicated: int
    kv: int = 0
    derived: int = 0


def _attention(shape: DecoderShape) -> _AttentionParameters:
    q = shape.attention_heads * shape.head_dim
    kv = shape.kv_heads * shape.head_dim
    norms = shape.qk_norm * 2 * shape.head_dim
    output_bias = shape.output_bias * shape.hidden_size
    return _AttentionParameters(
        matrices=shape.hidden_size * (q + 2 * kv) + q * shape.hidden_size,
        vectors=shape.qkv_bias * (q + 2 * kv) + output_bias + norms,
        replicated=norms + output_bias,
        kv=2 * kv * (shape.hidden_size + shape.qkv_bias),
    )


def _latent(shape: DecoderShape, latent: LatentAttention) -> _AttentionParameters:
    """Queries and the common vector of keys and values are compressed first, on every rank."""
    hidden, heads = shape.hidden_size, shape.attention_heads
    queries = heads * (latent.nope_dim + latent.rope_dim)
    # Keys and values that are made of the compressed vector. vLLM keeps this matrix, and copies
    # of its two halves for attention over what is cached (W_UK and W_UV of mla_attention.py).
    expansion = latent.kv_rank * heads * (latent.nope_dim + latent.value_dim)
    down = hidden * (latent.q_rank + latent.cached)
    up = (latent.q_rank or hidden) * queries + expansion
    norms = latent.kv_rank + latent.q_rank
    biases = shape.qkv_bias * (latent.q_rank + latent.cached) + shape.output_bias * hidden
    return _AttentionParameters(
        matrices=down + up + heads * latent.value_dim * hidden,
        vectors=norms + biases,
        replicated=down + norms + biases,
        derived=expansion,
    )


def _peak_attention_elements(shape: DecoderShape) -> int:
    latent = shape.latent
    if latent is None:
        return 2 * (shape.attention_heads + shape.kv_heads) * shape.head_dim
    # A prompt's keys and values are expanded for all heads.
    keys, values = latent.nope_dim + latent.rope_dim, latent.value_dim
    return latent.q_rank + latent.cached + 2 * shape.attention_heads * (keys + values)


def _mlp(shape: DecoderShape) -> tuple[int, int]:
    """Elements of the matrices and of the biases."""
    ups = 2 if shape.gated_mlp else 1
    matrices = (ups + 1) * shape.hidden_size * shape.intermediate_size
    biases = shape.mlp_bias * (ups * shape.intermediate_size + shape.hidden_size)
    return matrices, biases


def _projection(shape: DecoderShape) -> int:
    if shape.embedding_width == shape.hidden_size:
        return 0
    return shape.embedding_width * shape.hidden_size
