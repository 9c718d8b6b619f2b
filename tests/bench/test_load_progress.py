"""Progress out of the generator's output, cut anywhere."""

import pytest

from hetctl.bench.load_progress import LoadProgress, LoadProgressReader

# As vLLM 0.26.0 prints it.
OUTPUT = (
    "Skipping endpoint ready check.\nWarming up with 2 requests...\n"
    "\r  0%|          | 0/2 [00:00<?, ?it/s]\r100%|██████████| 2/2 [00:00<00:00, 66.12it/s]\n"
    "Warmup run completed.\nStarting main benchmark run...\n"
    "\r  0%|          | 0/12 [00:00<?, ?it/s]\r 58%|█████▊    | 7/12 [00:01<00:01, 4.50it/s]"
    "\r100%|██████████| 12/12 [00:02<00:00, 4.50it/s]\n====\n"
)


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_phases_and_counts_come_in_order(size: int) -> None:
    seen: list[LoadProgress] = []
    reader = LoadProgressReader(seen.append)
    for start in range(0, len(OUTPUT), size):
        reader.feed(OUTPUT[start : start + size])
    assert seen == [
        LoadProgress("warm-up"),
        LoadProgress("warm-up", 0, 2),
        LoadProgress("warm-up", 2, 2),
        LoadProgress("load"),
        LoadProgress("load", 0, 12),
        LoadProgress("load", 7, 12),
        LoadProgress("load", 12, 12),
    ]


def test_a_bar_is_read_before_its_line_ends() -> None:
    seen: list[LoadProgress] = []
    LoadProgressReader(seen.append).feed("Starting main benchmark run...\n\r 1%| | 1/99 [00:01<")
    assert seen[-1] == LoadProgress("load", 1, 99)
