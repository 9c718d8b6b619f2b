"""What a server will be asked to do: the load that plans are computed for."""

from pydantic import PositiveInt

from hetctl.document import Frozen


class Workload(Frozen):
    """A closed loop of ``concurrency`` requests of fixed lengths, in tokens."""

    concurrency: PositiveInt = 8
    """Requests at a time."""
    input_len: PositiveInt = 512
    """Tokens of each prompt."""
    output_len: PositiveInt = 128
    """Tokens of each answer."""
    max_model_len: PositiveInt | None = None
    """Longest context to serve; None takes the model's own limit, shortened to fit."""
