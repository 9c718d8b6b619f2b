"""Changes to vLLM where neither a subclass nor a registration reaches.

One file per patch: what it changes, why, and what in vLLM would make it unnecessary.
Each checks the signature that it relies on and can be applied twice.
"""


def apply_all() -> None:
    """Apply every patch that all processes of a heterogeneous engine need."""
    from vllm_hetero.patches import group_coordinator

    group_coordinator.apply()
