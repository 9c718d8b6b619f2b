"""Settings to emit, ordinary ones and ones with names that need escaping."""

import string
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from hetctl.launch.emit.settings import GivenOption, ServiceSettings
from tests.bench import sample

few = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

_SHELL = (" ", "'", '"', "\\", "$", "$$", "${HOME}", "$(id)", "`id`", "#", ";", "!", "&", "*", "~")
_OTHERS = (
    "%",
    "%n",
    "- ",
    "-",
    "--",
    ": ",
    "{{",
    "null",
    "1e3",
    "yes",
    "@",
    "=",
    "\u00e9",
    "\u65e5",
)
_UNSEEN = ("\u2028", "\u202e", "\x85", "\ufeff")
_AWKWARD = st.sampled_from(_SHELL + _OTHERS + _UNSEEN)
_LETTERS = st.sampled_from(string.ascii_letters + string.digits) | st.characters(
    exclude_categories=["Cs", "Cc"], max_codepoint=0x1FFFF
)
names = st.lists(_AWKWARD | _LETTERS, min_size=1, max_size=8).map("".join)
"""Of files and models: no control characters."""
texts = st.lists(_AWKWARD | _LETTERS | st.sampled_from("\n\t"), max_size=8).map("".join)
folders = names.filter(lambda n: "/" not in n and "\x85" not in n and n not in (".", "..")).map(
    lambda name: Path("/srv/models") / name
)


def service(**changes: Any) -> ServiceSettings:
    """A GPU and a CPU rank on this machine, for this machine."""
    given: dict[str, Any] = {
        "plan": sample.hybrid_plan(),
        "executable": ("/opt/hetctl/bin/hetctl",),
        "user": "alice",
        "version": "1.2.3+g0ff",
    }
    return ServiceSettings(**(given | changes))


@st.composite
def services(draw: st.DrawFn) -> ServiceSettings:
    """With a model, options and arguments of any spelling that a shell can give."""
    folder = draw(st.none() | folders)
    hub_id = draw(names.filter(lambda n: not n.startswith("-") and "\x85" not in n))
    plan = sample.hybrid_plan().model_copy(update={"model": str(folder or hub_id)})
    return service(
        plan=plan,
        model_folder=folder,
        plan_file=draw(st.none() | st.just(Path("/etc/my plan.json"))),
        options=(
            GivenOption("p2p", draw(texts)),
            GivenOption("restart", draw(st.booleans())),
            GivenOption("gpu-memory", draw(texts), plans=True),
        ),
        vllm_args=tuple(draw(st.lists(texts, max_size=3))),
        variables={"VLLM_HETERO_SCHEDULER": draw(texts)},
    )


def cpu_service(**changes: Any) -> ServiceSettings:
    return service(plan=sample.cpu_plan(), **changes)
