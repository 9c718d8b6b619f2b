"""The length of prompt chunks, from cycle times alone."""

import pytest

from vllm_hetero.scheduling.prefill_limit import (
    FIRST_CHUNK,
    RETRY_CYCLES,
    SMALLEST_CHUNK,
    PrefillLimit,
    within_limit,
)

TARGET_S = 0.5
FIXED_S = 0.06
DECODES = 4


def cycle_s(tokens: int, per_token_s: float = 0.0013, fixed_s: float = FIXED_S) -> float:
    return fixed_s + per_token_s * tokens


def run(limit: PrefillLimit, per_token_s: float, cycles: int = 30, count: int = 1) -> list[float]:
    """Cycle times of a long prompt."""
    times = []
    for _ in range(cycles):
        tokens = limit.tokens(count)
        times.append(cycle_s(tokens, per_token_s))
        limit.observe(count, tokens, times[-1], DECODES, FIXED_S)
    return times


@pytest.mark.parametrize(
    ("prompts", "limit", "taken"),
    [
        ([], 100, 0),
        ([40, 30], 100, 70),
        ([500], 100, 100),
        ([110], 100, 110),  # 10 more would be a step of their own
        ([60, 50], 100, 110),
        ([20], 16, 16),  # a quarter more would take a quarter longer
        ([514], 500, 514),
        ([520], 500, 500),
        ([60, 100], 100, 100),
        ([90, 100], 100, 100),
        ([4] * 8, 16, 16),
    ],
)
def test_the_rest_of_a_prompt_is_taken_where_it_is_next_to_nothing(
    prompts: list[int], limit: int, taken: int
) -> None:
    assert within_limit(prompts, limit) == taken


@pytest.mark.parametrize("per_token_s", [1e-5, 1e-4, 1.3e-3, 6e-3])
def test_chunks_grow_to_the_target_and_never_beyond(per_token_s: float) -> None:
    times = run(PrefillLimit(TARGET_S, most=1), per_token_s)
    assert max(times) <= TARGET_S
    assert times[-1] > 0.95 * TARGET_S


def test_a_server_slower_than_the_first_guess_misses_once() -> None:
    times = run(PrefillLimit(TARGET_S, most=1), per_token_s=0.02)
    assert times[0] > 2 * TARGET_S
    assert max(times[1:]) < 1.1 * TARGET_S


def test_growing_attention_is_followed() -> None:
    limit = PrefillLimit(TARGET_S, most=1)
    context, times = 0, []
    while context < 50_000:
        tokens = limit.tokens(1)
        times.append(FIXED_S + tokens * (0.001 + 1e-7 * context))
        context += tokens
        limit.observe(1, tokens, times[-1], DECODES, FIXED_S)
    assert max(times) < 1.1 * TARGET_S


def test_a_short_last_chunk_does_not_shrink_the_next_prompts_first() -> None:
    limit = PrefillLimit(TARGET_S, most=1)
    run(limit, 0.0013)
    before = limit.tokens(1)
    limit.observe(1, 3, cycle_s(3), DECODES, FIXED_S)
    assert limit.tokens(1) == before


def test_one_hiccup_is_forgotten_within_a_few_cycles() -> None:
    limit = PrefillLimit(TARGET_S, most=1)
    run(limit, 0.0013)
    before = limit.tokens(1)
    limit.observe(1, before, 5.0, DECODES, FIXED_S)
    assert limit.tokens(1) <= before // 9
    run(limit, 0.0013, cycles=6)
    assert limit.tokens(1) > 0.95 * before


def test_prompts_end_even_when_decodes_alone_take_longer_than_the_target() -> None:
    limit = PrefillLimit(TARGET_S, most=1)
    for _ in range(30):
        tokens = limit.tokens(1)
        limit.observe(1, tokens, cycle_s(tokens, fixed_s=0.8), DECODES, 0.8)
    assert 0.0013 * limit.tokens(1) == pytest.approx(TARGET_S / 4, rel=0.1)
    limit.observe(1, 3, 60.0, DECODES, 0.8)
    assert limit.tokens(1) == SMALLEST_CHUNK


def test_another_count_starts_with_what_cannot_miss_the_target() -> None:
    limit = PrefillLimit(TARGET_S, most=2)
    assert limit.tokens(2) == FIRST_CHUNK
    run(limit, 0.0013, count=2)
    assert limit.tokens(1) == limit.tokens(2) // 2


def test_the_count_with_the_longer_chunks_wins_and_the_other_is_tried_again() -> None:
    limit = PrefillLimit(TARGET_S, most=2)
    asked = []
    for _ in range(RETRY_CYCLES + 40):
        count = limit.best_count()
        asked.append(count)
        tokens = limit.tokens(count)
        # Two batches read the weights twice.
        limit.observe(count, tokens, cycle_s(tokens, fixed_s=count * FIXED_S), DECODES, FIXED_S)
    assert asked[0] == 2
    assert asked[20] == asked[-1] == 1
    assert 2 in asked[RETRY_CYCLES:]
