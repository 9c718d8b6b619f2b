"""Makes the CPU kernels importable from the CUDA build of vLLM.

The two builds of one vLLM version hold the same Python tree and differ in their extension
modules, whose names do not collide. So a CPU rank appends the folder of the CPU modules
to ``vllm.__path__``, and ``import vllm._C`` finds the real AVX-512/AMX kernels. This must
happen before ``vllm._custom_ops`` is imported, hence while the platform is resolved.
"""


def add_kernels_to_vllm() -> None:
    """Append the kernel folder to ``vllm.__path__``, installing the kernels if needed.

    Raises:
        vllm_hetero.kernels.KernelsError: they are not installed and cannot be.
    """
    import vllm

    from vllm_hetero.kernels import ensure_kernels

    folder = str(ensure_kernels())
    if folder not in vllm.__path__:
        vllm.__path__.append(folder)
