"""Linear layers of a CPU rank, each call with the kernel that suits its number of rows.

vLLM picks one kernel per layer at load. On one machine the AVX-512/AMX kernel on packed
weights may be best for a few rows and oneDNN above, on another oneDNN throughout, and both
read the weights faster for 8 rows than for 1, so that one row is better computed as eight.
None of this can be told without measuring: :mod:`measure` times the kernels on the rank's
own threads while the model loads, :mod:`choice` turns the times into a table by rows,
:mod:`layer` looks up that table in each call, and :mod:`policy` decides which layers may
hold their weights twice.

A change of kernel changes the rounding of bfloat16 results. float32 and float16 layers, and
all layers under a fixed ``VLLM_HETERO_CPU_LINEAR``, always take the same kernel.
"""
