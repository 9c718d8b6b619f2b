"""Which server is looked at when none, one or several run."""

import pytest

from hetctl.errors import HetctlError, UsageError
from hetctl.server_record import ServerRecord
from hetctl.top.choice import chosen
from tests.top.test_framing import record


def at(port: int) -> ServerRecord:
    return record().model_copy(update={"base_url": f"http://127.0.0.1:{port}"})


def test_the_only_server_needs_no_name() -> None:
    assert chosen(None, [at(1)]) == ("http://127.0.0.1:1", at(1))


def test_of_several_one_must_be_named_and_all_are_listed() -> None:
    with pytest.raises(UsageError) as caught:
        chosen(None, [at(1), at(2)])
    assert str(caught.value) == (
        "2 servers of yours run here; name one:\n"
        "  hetctl top http://127.0.0.1:1  (served)\n"
        "  hetctl top http://127.0.0.1:2  (served)"
    )


def test_without_a_server_the_way_out_is_named() -> None:
    with pytest.raises(HetctlError, match="No server of yours runs here; start one with") as caught:
        chosen(None, [])
    assert not isinstance(caught.value, UsageError)


def test_a_named_server_has_its_record_only_if_it_is_the_user_s() -> None:
    assert chosen("127.0.0.1:2/v1", [at(1), at(2)]) == ("http://127.0.0.1:2", at(2))
    assert chosen("http://other:2", [at(2)]) == ("http://other:2", None)
