"""What settings files may hold, and what is said of one that is wrong."""

from pathlib import Path

import pytest

from hetctl.config.option import Catalogue, Option
from hetctl.config.settings import read_settings
from hetctl.errors import UsageError

PORT = Option(("serve",), "port", "port", int)
RATE = Option(("bench",), "request-rate", "request_rate", float)
FAIL = Option(("gate",), "fail", "fail", str, many=True)
WHEEL = Option(("kernels", "install"), "from", "wheel", str)
QUIET = Option((), "quiet", "quiet", bool)
CATALOGUE = Catalogue(
    frozenset({("serve",), ("bench",), ("gate",), ("kernels",), ("kernels", "install")}),
    (PORT, RATE, FAIL, WHEEL, QUIET),
)


def write(folder: Path, text: str, name: str = "hetctl.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_values_become_click_s_defaults_by_parameter(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        'quiet = true\n[serve]\nport = 9000\n[bench]\nrequest-rate = 2\n[gate]\nfail = ["a<1"]\n'
        '[kernels.install]\nfrom = "w.whl"\n',
    )
    assert read_settings([file], CATALOGUE).default_map() == {
        "quiet": True,
        "serve": {"port": 9000},
        "bench": {"request_rate": 2},
        "gate": {"fail": ["a<1"]},
        "kernels": {"install": {"wheel": "w.whl"}},
    }


def test_a_stronger_file_replaces_single_values_of_a_weaker_one(tmp_path: Path) -> None:
    user = write(tmp_path, "[serve]\nport = 1\n[bench]\nrequest-rate = 3.5\n", "user.toml")
    project = write(tmp_path, "[serve]\nport = 2\n", "project.toml")
    settings = read_settings([project, user], CATALOGUE)
    assert settings.default_map() == {"serve": {"port": 2}, "bench": {"request_rate": 3.5}}
    assert settings.by_option[PORT].file == project
    assert settings.by_option[RATE].file == user


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[serve]\nprot = 1\n",
            "[serve] prot is no option of hetctl (did you mean port?); allowed",
        ),
        ("[serve]\nxyz = 1\n", "[serve] xyz is no option of hetctl; allowed here: port."),
        ("[srve]\nport = 1\n", "srve is no command of hetctl (did you mean serve?); allowed her"),
        ("[bench]\nrequest_rate = 1\n", "request_rate is no option of hetctl (did you mean reques"),
        ("serve = 3\n", "serve is a command, whose options go into a table [serve]; it cannot be"),
        ('[serve]\nport = "9"\n', "[serve] port must be a whole number, not '9'."),
        ("[serve]\nport = true\n", "[serve] port must be a whole number, not True."),
        ("[serve]\nport = 1.5\n", "[serve] port must be a whole number, not 1.5."),
        ("quiet = 1\n", "quiet must be true or false, not 1."),
        ('[gate]\nfail = "a"\n', "[gate] fail must be an array, each a text, not 'a'."),
        ("[gate]\nfail = [1]\n", "[gate] fail must be an array, each a text, not [1]."),
        ('[kernels.install]\nfrom = "a\\u0000"\n', "[kernels.install] from must be a text, not"),
        ("[serve\n", "is not valid TOML: Expected"),
        ("a = 1" + "0" * 5000, "is not valid TOML: Exceeds the limit"),
        ("a = " + "[" * 3000 + "]" * 3000, "is not valid TOML: "),
    ],
)
def test_a_wrong_file_is_refused_with_the_file_the_key_and_what_is_allowed(
    tmp_path: Path, text: str, said: str
) -> None:
    file = write(tmp_path, text)
    with pytest.raises(UsageError) as refused:
        read_settings([file], CATALOGUE)
    assert str(refused.value).startswith(str(file))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "hetctl.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not valid TOML"):
        read_settings([file], CATALOGUE)
    with pytest.raises(UsageError, match=r"Cannot read .*: Is a directory"):
        read_settings([tmp_path], CATALOGUE)
