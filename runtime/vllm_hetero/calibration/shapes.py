"""The model whose kernels are measured: the shapes of an 8B Llama, as most benchmarks have."""

HIDDEN = 4096
HEADS = 32
KV_HEADS = 8
HEAD_DIM = 128
MLP = 14336

LINEAR = (
    ((HEADS + 2 * KV_HEADS) * HEAD_DIM, HIDDEN),
    (HIDDEN, HEADS * HEAD_DIM),
    (2 * MLP, HIDDEN),
    (HIDDEN, MLP),
)
"""[N, K] of a layer's weights: qkv, output, gate and up, down."""

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
FEW_ROWS = (1, 8, 64, 256, 1024)
"""Of dtypes that few models have."""

CONTEXT = 2048
"""Tokens that each decoding sequence looks back on."""
SEQUENCES = (1, 8, 64)

BLOCK = 128
"""Tokens of a block of the KV cache: what hetctl plans, and both devices' kernels take."""
