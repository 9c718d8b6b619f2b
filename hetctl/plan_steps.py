"""What plans of older schema versions lack, or have under other names.

1 knew three strategies, and told of those that it did not choose in ``alternatives``.
2 had strategies that could not be launched.
"""

from hetctl.migration import Fields, Steps


def _rank_alternatives(plan: Fields) -> Fields:
    """The chosen strategy was not among the alternatives, so it is not in the ranking either."""
    rest = {name: value for name, value in plan.items() if name != "alternatives"}
    return {**rest, "ranking": [_ranked(one) for one in plan.get("alternatives", ())]}


def _ranked(alternative: Fields) -> Fields:
    """Its reason was ``One GPU: does not fit, ...``."""
    rest = {name: value for name, value in alternative.items() if name != "reason"}
    name, _, verdict = alternative["reason"].partition(": ")
    return {**rest, "name": name, "verdict": verdict}


def _forget_launchable(plan: Fields) -> Fields:
    ranking = [
        {name: value for name, value in one.items() if name != "launchable"}
        for one in plan.get("ranking", ())
    ]
    return {**plan, "ranking": ranking}


PLAN_STEPS: Steps = {1: _rank_alternatives, 2: _forget_launchable}
