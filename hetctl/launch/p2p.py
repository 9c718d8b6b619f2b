"""How pipeline stages pass activations when one of them is a CPU rank."""

from enum import StrEnum


class P2P(StrEnum):
    """Transports between two such stages."""

    SHM = "shm"
    GLOO = "gloo"
