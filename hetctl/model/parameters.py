"""Parameter counts of a decoder: exact, and checked against ``transformers``' models."""

from dataclasses import dataclass

from hetctl.model.decoder import DecoderShape


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
    """The key and value projections."""


def layer_parameters(shape: DecoderShape, layer: int) -> LayerParameters:
    """Counts of one layer."""
    attention = _attention_matrices(shape)
    norms = shape.norms_per_layer * shape.norm_parameters + shape.qk_norm * 2 * shape.head_dim
    vectors = _attention_biases(shape) + norms
    kv = 2 * shape.kv_heads * shape.head_dim * (shape.hidden_size + shape.qkv_bias)
    whole = norms + shape.output_bias * shape.hidden_size
    experts = shape.experts
    if experts is None or layer in shape.dense_layers:
        matrices, biases = _mlp(shape)
        total = attention + vectors + matrices + biases
        whole += shape.mlp_bias * shape.hidden_size
        return LayerParameters(total, total, attention + matrices, whole, kv)
    # Router, then per expert a gated MLP; a shared expert has a gate of one output.
    expert = 3 * shape.hidden_size * experts.intermediate_size
    gates = shape.hidden_size * (experts.count + bool(experts.shared_intermediate_size))
    always = gates + 3 * shape.hidden_size * experts.shared_intermediate_size
    matmul = attention + always + experts.per_token * expert
    return LayerParameters(
        total=attention + vectors + always + experts.count * expert,
        active=matmul + vectors,
        matmul_active=matmul,
        replicated=whole + gates,
        kv=kv,
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
    q = shape.attention_heads * shape.head_dim
    attention = 2 * q + 2 * shape.kv_heads * shape.head_dim
    mlp = (3 if shape.gated_mlp else 2) * shape.intermediate_size
    if shape.experts is not None:
        routed = 3 * shape.experts.intermediate_size + shape.hidden_size
        shared = 3 * shape.experts.shared_intermediate_size
        sparse = shape.experts.per_token * routed + shared
        mlp = max(mlp, sparse) if shape.dense_layers else sparse
    return 2 * shape.hidden_size + max(attention, mlp)


def _attention_matrices(shape: DecoderShape) -> int:
    q = shape.attention_heads * shape.head_dim
    kv = shape.kv_heads * shape.head_dim
    return shape.hidden_size * (q + 2 * kv) + q * shape.hidden_size


def _attention_biases(shape: DecoderShape) -> int:
    q = shape.attention_heads * shape.head_dim
    kv = shape.kv_heads * shape.head_dim
    return shape.qkv_bias * (q + 2 * kv) + shape.output_bias * shape.hidden_size


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
