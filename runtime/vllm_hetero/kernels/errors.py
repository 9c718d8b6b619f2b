"""The error of this package."""


class KernelsError(RuntimeError):
    """The CPU kernels cannot be used; one sentence that says why and what to do."""
