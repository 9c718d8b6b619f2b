"""systemd's own readers of units and environment files, out of its shared library."""

import ctypes
import re
from pathlib import Path

import pytest

_UNQUOTE_AND_UNESCAPE = 1 << 1 | 1 << 5


class Systemd:
    """Its library, or a skipped test where that is not installed."""

    def __init__(self) -> None:
        folders = (Path("/usr/lib"), Path("/usr/lib64"))
        names = ("systemd/libsystemd-shared-*.so", "*/systemd/libsystemd-shared-*.so")
        found = sorted(file for folder in folders for name in names for file in folder.glob(name))
        if not found:
            pytest.skip("systemd's shared library is not installed")
        self._library = ctypes.CDLL(str(found[-1]))
        self._libc = ctypes.CDLL(None)
        self._libc.fopen.restype = ctypes.c_void_p
        self._libc.fclose.argtypes = [ctypes.c_void_p]

    def words(self, setting: str) -> list[str]:
        """As ``config_parse_exec`` divides a setting, specifiers put in."""
        rest = ctypes.c_char_p(setting.encode())
        found = []
        while True:
            word = ctypes.c_char_p()
            flags = _UNQUOTE_AND_UNESCAPE
            more = self._library.extract_first_word(
                ctypes.byref(rest), ctypes.byref(word), None, flags
            )
            assert more >= 0, setting
            if more == 0:
                return [_without_specifiers(text) for text in found]
            assert word.value is not None
            found.append(word.value.decode())

    def with_variables(self, words: list[str], variables: dict[str, str]) -> list[str]:
        """As systemd puts variables into the words of a command."""
        self._library.replace_env_argv.restype = ctypes.POINTER(ctypes.c_char_p)
        pairs = [f"{name}={value}" for name, value in variables.items()]
        return _texts(self._library.replace_env_argv(_array(words), _array(pairs)))

    def environment(self, file: Path) -> dict[str, str]:
        """As ``EnvironmentFile=`` is read."""
        pairs = ctypes.POINTER(ctypes.c_char_p)()
        handle = self._libc.fopen(str(file).encode(), b"r")
        load = self._library.load_env_file
        load.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        assert load(handle, str(file).encode(), ctypes.byref(pairs)) == 0
        self._libc.fclose(handle)
        return dict(text.split("=", 1) for text in _texts(pairs))


def settings_of(unit: str, name: str) -> list[str]:
    """The values of a setting, its lines joined as systemd joins them."""
    joined = unit.replace("\\\n", " ")
    return re.findall(rf"^{name}=(.*)$", joined, re.MULTILINE)


def _without_specifiers(text: str) -> str:
    assert not re.search(r"%(?!%)", text.replace("%%", "")), text
    return text.replace("%%", "%")


def _array(words: list[str]) -> "ctypes.Array[ctypes.c_char_p]":
    return (ctypes.c_char_p * (len(words) + 1))(*[word.encode() for word in words], None)


def _texts(array: "ctypes._Pointer[ctypes.c_char_p]") -> list[str]:
    found = []
    while array and (value := array[len(found)]) is not None:
        found.append(value.decode())
    return found
