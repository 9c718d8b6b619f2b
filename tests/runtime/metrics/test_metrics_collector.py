"""What ranks counted is on the page, and a rank that is gone does not spoil it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from vllm_hetero.metrics import folder, record
from vllm_hetero.metrics.catalogue import METRICS, RANK_INFO
from vllm_hetero.metrics.collector import RankCollector
from vllm_hetero.metrics.record import RankRecord, Word
from vllm_hetero.rank_map import Rank, RankMap

RANKS = RankMap(
    (
        Rank(0, "cuda:0", layers=(0, 24)),
        Rank(1, "cpu", layers=(24, 32), cpus=(1, 2, 3, 8), numa_node=1),
    )
)
CPU = {"rank": "1", "device": "cpu", "numa_node": "1"}


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """The folder of an engine whose two ranks are ready."""
    folder.prepare(str(tmp_path), RANKS)
    folder.describe(str(tmp_path), RANKS)
    return tmp_path


def samples(where: Path) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    registry = CollectorRegistry()
    registry.register(RankCollector(where))
    page = generate_latest(registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_each_word_is_a_sample_with_the_labels_of_its_rank(ready: Path) -> None:
    own = RankRecord(ready, 1)
    at_scrape = {Word.PID, Word.STARTED_TICKS, Word.CALL_BEGUN, Word.RECEIVE_BEGUN}
    for word in set(Word) - at_scrape:
        own.set(word, 100 + word)
    found = samples(ready)
    labels = frozenset(CPU.items())
    for metric in METRICS:
        if metric.word is not None:
            assert found[metric.name, labels] == 100 + metric.word, metric.name
    told = {metric.word for metric in METRICS}
    assert told - {None} == set(Word) - at_scrape
    assert found["vllm_hetero_process_resident_memory_bytes", labels] > 1 << 20
    assert found["vllm_hetero_process_cpu_seconds_total", labels] > 0


def test_a_call_and_a_wait_that_are_not_over_are_told_as_long_as_they_last(ready: Path) -> None:
    own = RankRecord(ready, 1)
    running = "vllm_hetero_step_running_seconds", frozenset(CPU.items())
    waiting = "vllm_hetero_hop_receive_running_seconds", frozenset(CPU.items())
    own.set(Word.CALL_BEGUN, time.monotonic() - 5)
    found = samples(ready)
    assert 5 <= found[running] < 10
    assert waiting not in found  # It has no such hop.
    own.set(Word.RECEIVE_BEGUN, time.monotonic() - 3)
    assert 3 <= samples(ready)[waiting] < 8
    own.set(Word.CALL_BEGUN, 0)
    own.set(Word.RECEIVE_BEGUN, 0)
    found = samples(ready)
    assert (found[running], found[waiting]) == (0, 0)


def test_cpus_and_layers_are_told_as_people_write_them(ready: Path) -> None:
    found = samples(ready)
    assert found == {
        (RANK_INFO.name, frozenset({**CPU, "cpus": "1-3,8", "layers": "24-31"}.items())): 1,
        (
            RANK_INFO.name,
            frozenset(
                {
                    "rank": "0",
                    "device": "cuda:0",
                    "numa_node": "",
                    "cpus": "",
                    "layers": "0-23",
                }.items()
            ),
        ): 1,
    }


def test_a_rank_that_died_or_is_gone_does_not_spoil_the_page(ready: Path) -> None:
    RankRecord(ready, 0).set(Word.STEPS, 5)
    code = (
        "import sys\nfrom vllm_hetero.metrics.record import RankRecord, Word\n"
        "RankRecord(sys.argv[1], 1).set(Word.STEPS, 5)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(ready)], check=True)
    labels = frozenset(CPU.items())
    found = samples(ready)
    # It counted, and its process is gone.
    assert found["vllm_hetero_steps_total", labels] == 5
    assert ("vllm_hetero_process_resident_memory_bytes", labels) not in found
    (ready / "rank-1").unlink()
    assert {name for name, _ in samples(ready)} >= {"vllm_hetero_steps_total", RANK_INFO.name}
    (ready / "ranks.json").write_text("{")
    assert samples(ready) == {}


def test_before_the_ranks_are_ready_and_after_the_end_there_is_nothing(tmp_path: Path) -> None:
    where = tmp_path / "gone"
    assert samples(where) == {}
    where.mkdir()
    folder.prepare(str(where), RANKS)
    assert samples(where) == {}


def test_a_new_engine_does_not_show_the_ranks_of_the_one_before(ready: Path) -> None:
    RankRecord(ready, 1).set(Word.STEPS, 5)
    folder.prepare(str(ready), RANKS)
    assert samples(ready) == {}
    assert record.read(ready, 1) == {}


def test_names_keep_to_the_conventions_of_prometheus() -> None:
    units = ("_seconds", "_bytes", "_per_second", "_tokens", "_steps", "_info")
    for metric in METRICS:
        assert metric.name.startswith("vllm_hetero_")
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.name.removesuffix("_total").endswith(units), metric.name
        assert metric.help.endswith("."), metric.name
    assert len({metric.name for metric in METRICS}) == len(METRICS)


PAGES = """
import os
import shutil
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, multiprocess
from vllm_hetero.metrics import folder, page
from vllm_hetero.rank_map import Rank, RankMap

ranks = RankMap((Rank(0, "cpu", layers=(0, 1)),))

def check():
    where = folder.of_engine()
    folder.prepare(where, ranks)
    folder.describe(where, ranks)
    of_several = CollectorRegistry()
    multiprocess.MultiProcessCollector(of_several)
    for registry in (REGISTRY, of_several):
        assert generate_latest(registry).count(b"vllm_hetero_rank_info{") == 1, registry
    print("made", where)
    return where

page.serve()
page.serve()
first = check()
# Another engine of this process, after the first one ended.
shutil.rmtree(first)
page.serve()
assert check() != first
"""


def test_one_api_server_and_several_show_the_ranks_and_leave_no_folder(tmp_path: Path) -> None:
    variables = {"VLLM_RPC_BASE_PATH": str(tmp_path), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PAGES],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    made = [Path(words[1]) for words in lines if words and words[0] == "made"]
    assert len(made) == 2
    assert all(path.parent == tmp_path and not path.exists() for path in made)
