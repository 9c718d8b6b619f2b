"""The rank map: what it accepts, and the one sentence that it gives for what it refuses."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_hetero.rank_map import SCHEMA, Rank, RankMap, RankMapError

TWO_STAGES = RankMap(
    (
        Rank(0, "cuda:0", layers=(0, 24), kv_cache_bytes=1 << 30),
        Rank(1, "cpu", layers=(24, 32), cpus=(0, 1, 2), numa_node=0),
    )
)


def document(*ranks: dict) -> str:
    return json.dumps({"schema": SCHEMA, "ranks": list(ranks)})


def test_survives_a_round_trip() -> None:
    assert RankMap.from_json(TWO_STAGES.to_json()) == TWO_STAGES


def test_reads_a_file_named_in_the_environment(tmp_path) -> None:
    file = tmp_path / "map.json"
    file.write_text(TWO_STAGES.to_json())
    assert RankMap.from_env(f"@{file}") == TWO_STAGES


def test_counts_layers_per_stage_once_per_tensor_group() -> None:
    layers = [(0, 5), (0, 5), (5, 8), (5, 8)]
    ranks = tuple(Rank(i, f"cuda:{i}", layers=span) for i, span in enumerate(layers))
    assert RankMap(ranks).layer_counts(tensor_parallel_size=2) == (5, 3)


def test_knows_which_ranks_are_on_which_device() -> None:
    assert TWO_STAGES.gpu_ranks == (0,)
    assert TWO_STAGES.cpu_ranks == (1,)
    assert [rank.cuda_index for rank in TWO_STAGES.ranks] == [0, None]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "schema is 'list'"),
        ('{"schema": "other/1"}', "'other/1', expected"),
        (document(), "lists no ranks"),
        (document({"rank": 1, "device": "cpu"}), "rank 1, expected 0"),
        (document({"rank": 0, "device": "tpu"}), "device 'tpu', expected 'cpu' or 'cuda:N'"),
        (document({"rank": 0, "device": "cpu", "colour": 1}), "unknown field 'colour'"),
        (document({"rank": 0, "device": "cpu", "layers": [3, 3]}), "layers [3, 3]"),
        (document({"rank": 0, "device": "cpu", "cpus": [1, 1]}), "names a CPU twice"),
        (document({"rank": 0, "device": "cpu", "cpus": ["0"]}), "expected an integer"),
        (document({"rank": 0, "device": "cpu", "kv_cache_bytes": True}), "kv_cache_bytes"),
        (document({"rank": 0, "device": "cuda:0", "cpus": [1]}), "are for CPU ranks"),
        (
            document({"rank": 0, "device": "cuda:0"}, {"rank": 1, "device": "cuda:0"}),
            "ranks 0 and 1 are both on cuda:0",
        ),
        (
            document(
                {"rank": 0, "device": "cuda:0", "layers": [0, 2]},
                {"rank": 1, "device": "cpu", "layers": [3, 4]},
            ),
            "[3, 4) do not follow on layer 2",
        ),
        (
            document(
                {"rank": 0, "device": "cuda:0", "layers": [0, 2]}, {"rank": 1, "device": "cpu"}
            ),
            "rank 1 has no layers",
        ),
    ],
)
def test_names_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(RankMapError) as caught:
        RankMap.from_json(text)
    assert said in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
entries = st.dictionaries(
    st.sampled_from(["rank", "device", "layers", "cpus", "numa_node", "kv_cache_bytes"]),
    json_values,
)


@given(st.lists(entries, max_size=4))
def test_never_fails_in_another_way(ranks: list[dict]) -> None:
    with contextlib.suppress(RankMapError):
        RankMap.from_json(document(*ranks))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(RankMapError, match="cannot read the rank map /no/such/file"):
        RankMap.from_env("@/no/such/file")


def test_names_the_stages_that_mix_devices() -> None:
    devices = ("cuda:0", "cuda:1", "cpu", "cuda:2", "cpu", "cpu")
    ranks = RankMap(tuple(Rank(i, device) for i, device in enumerate(devices)))
    assert ranks.mixed_groups(tensor_parallel_size=1) == ()
    assert ranks.mixed_groups(tensor_parallel_size=2) == (1,)
    assert ranks.mixed_groups(tensor_parallel_size=3) == (0, 1)
