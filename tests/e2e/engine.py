"""Real servers for the end-to-end tests, started through the command line."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from hetctl.launch.port import free_port

START_TIMEOUT_S = 300
END_TIMEOUT_S = 60


@dataclass
class ServeProcess:
    """``hetctl serve MODEL ARGS`` as a user would run it."""

    model: Path
    args: tuple[str, ...]
    log: Path
    env: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    key: str | None = None
    """What the server asks for."""

    @property
    def stdout(self) -> Path:
        return self.log.with_name(f"{self.log.name}.stdout")

    def __enter__(self) -> Self:
        with self.stdout.open("w") as out:
            self.process = subprocess.Popen(
                self.command(),
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                env=_with_path(self.env),
            )
        self.wait_ready(1)
        return self

    def wait_ready(self, times: int) -> None:
        """Wait until the server has said so many times that it is ready."""
        # Not /health: the server answers there a moment before hetctl has seen it.
        ready = f"Ready: http://127.0.0.1:{self.port}/v1"
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.stdout.read_text().count(ready) < times:
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended: {self.process.communicate()[1]}")
            assert time.monotonic() < deadline, self.log.read_text()[-4000:]
            time.sleep(0.2)
        self.descendants = psutil.Process(self.process.pid).children(recursive=True)

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def command(self) -> list[str]:
        program = [sys.executable, "-m", "hetctl", "serve", str(self.model)]
        options = ["--port", str(self.port), "--log", str(self.log)]
        own, _, vllm = " ".join(self.args).partition(" -- ")
        return [*program, *own.split(), *options, *(["--", *vllm.split()] if vllm else [])]

    def start_and_fail(self, under: tuple[str, ...] = ()) -> str:
        """Start a server that must not become ready; returns what it says.

        Args:
            under: Program and arguments to run it with.
        """
        self.descendants = []
        done = subprocess.run(
            [*under, *self.command()],
            capture_output=True,
            text=True,
            env=_with_path(self.env),
            timeout=START_TIMEOUT_S,
        )
        assert done.returncode == 1, done.stderr
        assert "Ready" not in done.stdout
        return done.stderr

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(END_TIMEOUT_S)

    def ranks(self) -> dict[int, psutil.Process]:
        """The rank processes, by pipeline stage, as vLLM titles them."""
        found = {}
        for process in self.descendants:
            with suppress(psutil.Error):
                title = " ".join(process.cmdline())
                if "VLLM::Worker_PP" in title:
                    found[int(title.partition("_PP")[2][:1])] = process
        return found

    def complete(self, prompt: list[int], max_tokens: int) -> list[int]:
        """Greedy continuation of a prompt, in token ids."""
        body = {
            "model": str(self.model),
            "prompt": prompt,
            "max_tokens": max_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "return_token_ids": True,
        }
        answer = self.post("/v1/completions", body)
        tokens: list[int] = answer["choices"][0]["token_ids"]
        return tokens

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **self._authorization()},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)


def _with_path(env: dict[str, str]) -> dict[str, str]:
    """This process's environment and ``env``, whose ``PYTHONPATH`` comes on top of ours."""
    paths = [env.get("PYTHONPATH"), os.environ.get("PYTHONPATH")]
    joined = ":".join(path for path in paths if path)
    return {**os.environ, **env, **({"PYTHONPATH": joined} if joined else {})}


def left_behind(server: ServeProcess, shm_before: set[Path]) -> list[str]:
    """Processes and shared memory of ``server`` that outlived it."""
    alive = [
        f"process {process.pid} {process.name()}"
        for process in server.descendants
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]
    left = unmapped(shared_memory() - shm_before)
    return alive + [f"shared memory {path}" for path in left]


def shared_memory() -> set[Path]:
    """What is in ``/dev/shm`` now."""
    return set(Path("/dev/shm").iterdir())


def unmapped(paths: set[Path]) -> list[Path]:
    """Those that no running process uses."""
    in_use = _shared_memory_in_use()
    return [path for path in sorted(paths) if _inode(path) not in in_use]


def _shared_memory_in_use() -> set[int | None]:
    """Inodes that running processes map: other programs', if the server's are gone.

    Not paths: a semaphore is mapped before it gets its name.
    """
    mapped: set[int | None] = {None}
    for process in psutil.process_iter():
        with suppress(OSError):
            for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
                if "/dev/shm/" in line:
                    mapped.add(int(line.split()[4]))
    return mapped


def _inode(path: Path) -> int | None:
    """None for a file that is gone by now."""
    try:
        return path.stat().st_ino
    except OSError:
        return None
