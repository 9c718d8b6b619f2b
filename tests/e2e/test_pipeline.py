"""One CPU rank and pipelines of two and three give the same tokens, through HTTP."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hetctl.top.page import metrics_page
from hetctl.top.samples import parse
from tests.e2e.engine import ServeProcess, left_behind, shared_memory

pytestmark = pytest.mark.engine

TOKENS = 24
COMMON = "--dtype float32 --max-model-len 1024 --concurrency 16 --input-len 256 --output-len 32"


def serve(model: Path, log: Path, *args: str) -> ServeProcess:
    return ServeProcess(model, (*args, *COMMON.split()), log)


def all_completions(server: ServeProcess, prompts: list[list[int]]) -> list[list[int]]:
    """All prompts at once, so that prefills and decodes share batches."""
    with ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(lambda prompt: server.complete(prompt, TOKENS), prompts))


@pytest.fixture(scope="module")
def one_rank_tokens(
    demo_model: Path, prompts: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> list[list[int]]:
    log = tmp_path_factory.mktemp("one-rank") / "log"
    with serve(demo_model, log, "--split", "none") as server:
        assert "VLLM::Worker_PP" not in " ".join(p.name() for p in server.descendants)
        return all_completions(server, prompts)


@pytest.mark.parametrize(("layers", "p2p"), [((2, 6), "gloo"), ((1, 4, 3), "shm")], ids=str)
def test_a_split_changes_no_token_and_leaves_nothing_behind(
    layers: tuple[int, ...],
    p2p: str,
    demo_model: Path,
    prompts: list[list[int]],
    one_rank_tokens: list[list[int]],
    tmp_path: Path,
) -> None:
    before = shared_memory()
    split = ("--split", ",".join(map(str, layers)), "--cpu-ranks", str(len(layers)))
    with serve(demo_model, tmp_path / "log", *split, "--p2p", p2p) as server:
        assert len(server.ranks()) == len(layers)
        reported = json.loads((tmp_path / "log.memory.json").read_text())["ranks"]
        assert [rank["layers"][1] - rank["layers"][0] for rank in reported] == list(layers)
        # float32 weights of a layer and what a rank holds beside them.
        assert all(rank["used_bytes"] > rank["weight_bytes"] > 1 << 20 for rank in reported)
        assert len({rank["kv_cache_blocks"] for rank in reported}) == 1
        tokens = all_completions(server, prompts)
        url = f"http://127.0.0.1:{server.port}"
        page = parse(metrics_page(url), url)
        sent = page.of_ranks("vllm_hetero_hop_sent_bytes_total")
        received = page.of_ranks("vllm_hetero_hop_received_bytes_total")
        assert list(sent.values()) == list(received.values()) != []
        assert min(sent.values()) > 0
        assert (sent.keys(), received.keys()) == (
            set(range(len(layers) - 1)),
            set(range(1, len(layers))),
        )
        assert server.end(signal.SIGTERM) == 0
    assert len(prompts) == 16
    assert tokens == one_rank_tokens
    # The tokens above came through our scheduler.
    assert f"Scheduler: 1 to {len(layers)} batches" in (tmp_path / "log").read_text()
    assert left_behind(server, before) == []
