"""How many random files each test tries, and what they are made of."""

import copy
import json
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
"""Few in CI; ``FUZZ_EXAMPLES=1000 pytest tests/fuzz`` takes a minute or two."""

many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 1, 10**30, 2**63, 1e308, float("inf"), float("nan"), 0.5])
    | st.text(max_size=8)
    | st.sampled_from(["", "cpu", "cuda:0", "cuda:-1", "cuda:999", "\ud800", "\0", "gpu", "auto"])
)
values = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def changed(draw: st.DrawFn, document: dict[str, Any]) -> str:
    """A valid JSON document with up to three of its values replaced, removed or added."""
    made = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        _change(draw, made)
    return json.dumps(made)


def _change(draw: st.DrawFn, node: Any) -> None:
    """Somewhere below ``node``."""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        if isinstance(node[key], dict | list) and draw(st.booleans()):
            node = node[key]
            continue
        what = draw(st.sampled_from(["replace", "remove", "add", "repeat"]))
        if what == "replace":
            node[key] = draw(values)
        elif what == "remove":
            del node[key]
        elif isinstance(node, dict):
            node[draw(NAMES | st.text(max_size=6))] = draw(values)
        else:
            node.append(copy.deepcopy(node[key]) if what == "repeat" else draw(values))
        return


# Often enough, also a name with control characters.
NAMES = st.sampled_from(["\n", "\0", "\x1b[31m", "\ud800"])

broken = st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")) | st.binary(
    max_size=60
)
"""No JSON and no TOML, most of the time."""


_DEEP = {
    "lists": b"[" * 5000,
    "tables": b'{"a":' * 5000,
    "digits": b'{"kind": ' + b"9" * 5000 + b"}",
}


def files(document: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """Nearly valid files of a document, cut ones, and noise."""
    near = changed(document).map(str.encode)
    cut = st.tuples(near, st.integers(0, 400)).map(lambda pair: pair[0][: -pair[1] or None])
    deep = st.sampled_from(sorted(_DEEP)).map(_DEEP.__getitem__)
    return near | cut | broken | deep
