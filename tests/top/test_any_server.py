"""Whatever a server tells becomes a frame that can be shown and saved, or a clean error."""

from contextlib import suppress
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hetctl.cli.top_view import FrameView
from hetctl.errors import HetctlError
from hetctl.top.frame import Frame
from hetctl.top.framing import Subject, frame_of
from hetctl.top.reading import Reading
from hetctl.top.samples import parse
from vllm_hetero.metrics.catalogue import METRICS

NAMES = [metric.name for metric in METRICS]
NAMES += ["vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"]
NAMES += ["vllm:generation_tokens_total", "process_start_time_seconds"]
NAMES += [f"vllm:time_to_first_token_seconds_{part}" for part in ("sum", "count")]
LABELS = [
    'rank="0"',
    'rank="1",device="cpu",cpus="0-3",layers="0-3",numa_node="0"',
    'rank="99999999999999999999",cpus="5-1",numa_node="9e9"',
    'device="\x1b[2J",rank="2",cpus="0-99999999999999"',
    'rank="x"',
    "",
]
VALUES = ["0", "1", "2.5", "1e308", "-1", "NaN", "+Inf", "1e-320", "3e10"]
LINES = st.builds(
    lambda name, labels, value: f"{name}{{{labels}}} {value}\n",
    st.sampled_from(NAMES),
    st.sampled_from(LABELS),
    st.sampled_from(VALUES),
)
PAGES = st.lists(LINES, max_size=20).map("".join)
ALIVE = 'vllm:num_requests_running{model_name="m"} 1\n'


@given(first=PAGES, second=PAGES, width=st.integers(min_value=20, max_value=200))
def test_any_figures_can_be_shown_and_saved(first: str, second: str, width: int) -> None:
    with suppress(HetctlError):
        before, now = (Reading(i, parse(p + ALIVE, "x")) for i, p in ((0.0, first), (1.0, second)))
        frame = frame_of(Subject("http://h:1"), before, now, datetime.now(UTC))
        console = Console(width=width, color_system=None)
        with console.capture() as capture:
            console.print(FrameView(frame))
        assert "\x1b[2J" not in capture.get()
        assert Frame.parse(frame.to_json(), "here") == frame
