"""Machine + model + workload -> plan. Pure: no I/O, no torch, no NVML.

::

    request --> inventory (device)  which devices may be used, in which orders
                     |
    model, workload -+-> memory (serving), cost      what a stage takes and how long
                     |
                     +-> partition, balance          the best cut of the layers
                     |
                     +-> strategy (placement)        the best cut of each strategy
                     |
                     +-> planning (context, ranks, explanation, misfit)   the plan
"""

from hetctl.planner.objective import Goal, parse_goal
from hetctl.planner.planning import make_plan
from hetctl.planner.request import PlanRequest, parse_devices, parse_split, parse_strategy

__all__ = [
    "Goal",
    "PlanRequest",
    "make_plan",
    "parse_devices",
    "parse_goal",
    "parse_split",
    "parse_strategy",
]
