"""Changes to vLLM where neither a subclass nor a registration reaches.

One file per patch: what it changes, why, and what in vLLM would make it unnecessary.
Each checks the signature that it relies on and can be applied twice.
"""


def apply_all() -> None:
    """Apply the patches that a process of a heterogeneous engine needs in all it does."""
    from vllm_hetero import env
    from vllm_hetero.patches import group_coordinator

    group_coordinator.apply()
    if env.role() == "cpu":
        from vllm_hetero.patches import dummy_weights

        dummy_weights.apply()
