"""Lines as data: JSON whatever a server writes, and in it what vLLM's line says."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hetctl.launch.output.lines import Lines
from hetctl.launch.output.origin import Origins
from hetctl.launch.output.record import Record
from hetctl.launch.output.split import NOWHERE, Split
from hetctl.redact import MASK


def records_of(*pieces: bytes) -> list[Record]:
    records: list[Record] = []
    split = Split(NOWHERE, lambda rank: NOWHERE, Origins(2, 2), (), records.extend)
    for piece in pieces:
        split.receive(piece)
    split.finish()
    return records


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "(Worker_PP1_TP0 pid=12) WARNING 11-30 18:00:00 [worker.py:7] Slow [x]",
            ("WARNING", "Worker_PP1_TP0", 12, 2, "worker.py:7", "Slow [x]"),
        ),
        (
            "\x1b[0;36m(EngineCore pid=3)\x1b[0;0m \x1b[31mERROR\x1b[0m \x1b[90m11-30 18:00:00"
            "\x1b[0m \x1b[90m[v1/engine/core.py:1]\x1b[0m Died",
            ("ERROR", "EngineCore", 3, None, "v1/engine/core.py:1", "Died"),
        ),
        (
            # VLLM_LOGGING_PREFIX
            "(APIServer pid=3) [node-7] INFO 11-30 18:00:00 [a.py:1] Hello",
            ("INFO", "APIServer", 3, None, "a.py:1", "[node-7] Hello"),
        ),
        (
            "(APIServer pid=3) INFO:     Application startup complete.",
            ("INFO", "APIServer", 3, None, None, "Application startup complete."),
        ),
        (
            "[rank3]:[W1130 18:00:00.123456789 ProcessGroupNCCL.cpp:1496] Warning: leaked",
            ("WARNING", None, None, 3, "ProcessGroupNCCL.cpp:1496", "Warning: leaked"),
        ),
        (
            "(Worker_PP0_TP1 pid=4) Traceback (most recent call last):",
            (None, "Worker_PP0_TP1", 4, 1, None, "Traceback (most recent call last):"),
        ),
        (
            "Fatal Python error: Aborted",
            (None, None, None, None, None, "Fatal Python error: Aborted"),
        ),
        ("(Worker_PP7_TP0 pid=4) x", (None, "Worker_PP7_TP0", 4, None, None, "x")),
        ("[rank4]: x", (None, None, None, None, None, "[rank4]: x")),
    ],
)
def test_what_a_line_tells(line: str, expected: tuple[object, ...]) -> None:
    (record,) = records_of(line.encode() + b"\n")
    assert expected == (
        record.level,
        record.process,
        record.pid,
        record.rank,
        record.source,
        record.message,
    )
    assert record.time.tzinfo is UTC


def test_lines_of_a_message_are_records_of_their_own_and_empty_ones_none() -> None:
    head = b"(Worker_PP0_TP0 pid=4) ERROR 11-30 18:00:00 [a.py:1] "
    records = records_of(head + b"one\r\n" + head + b"two\n" + b"\n  \n" + head + b"\n")
    assert [(r.level, r.message) for r in records] == [("ERROR", "one"), ("ERROR", "two")]


PIECES = st.sampled_from(
    [
        *(b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\x1b[31m", b"\x1b]", b'"\\', b"\xed\xa0\x80"),
        *(b"(Worker_PP1_TP1 pid=1) ", b"INFO 11-30 18:00:00 [a.py:1] ", "전\u2028😀".encode()),
    ]
)


@given(st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=20))
def test_json_is_one_line_that_parses(pieces: list[bytes]) -> None:
    for record in records_of(*pieces):
        line = record.to_json()
        assert line.isprintable()
        assert line.isascii()
        document = json.loads(line, parse_constant=lambda name: pytest.fail(name))
        assert [*document] == ["time", "level", "process", "pid", "rank", "source", "message"]
        # No half of a character, which other readers refuse.
        document["message"].encode()
        assert datetime.fromisoformat(document["time"]) == record.time


@given(st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=20), st.integers(1, 50))
@example([b"abc\r", b"\n"], 3)
@example([b"abcd\r", b"e\n"], 3)
def test_however_bytes_come_the_lines_are_the_same(pieces: list[bytes], limit_bytes: int) -> None:
    data = b"".join(pieces)
    split, at_once = Lines(limit_bytes), Lines(limit_bytes)
    lines = [line for piece in pieces for line in split.feed(piece)] + split.end()
    assert sum(line.length_bytes + len(line.end) for line in lines) == len(data)
    assert all(len(line.content) <= limit_bytes for line in lines)
    if not any(line.is_cut for line in lines):
        assert lines == at_once.feed(data) + at_once.end()
        assert b"".join(line.content + line.end for line in lines) == data


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())


@given(st.text(st.characters()), st.dictionaries(st.text(st.characters()), scalars))
@example("\ud800", {"\udfff": float("nan"), "self": 1, "event": "x", "message": 2})
def test_an_event_is_json_whatever_it_tells(message: str, fields: dict[str, object]) -> None:
    own = {"time", "level", "process", "pid", "rank", "source", "message", "event"}
    fields = {k: v for k, v in fields.items() if k not in own | {"self", "cls"}}
    record = Record.of_event("restart", message, level="WARNING", **fields)
    document = json.loads(record.to_json(), parse_constant=lambda name: pytest.fail(name))
    assert (document["process"], document["event"]) == ("hetctl", "restart")
    json.dumps(document, ensure_ascii=False).encode()


def test_an_event_keeps_numbers_and_no_secret() -> None:
    record = Record.of_event("restart", "with --api-key abcdef", exit_code=-9, why="token=abcdef")
    document = json.loads(record.to_json())
    assert document["exit_code"] == -9
    assert document["message"] == f"with --api-key {MASK}"
    assert document["why"] == f"token={MASK}"


def test_an_events_field_does_not_pass_for_a_key_of_every_record() -> None:
    with pytest.raises(ValueError, match="pid"):
        Record.of_event("restart", "again", pid=3)
