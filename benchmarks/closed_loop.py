"""A closed loop of equal requests in its steady state, measured through a server's API.

Each of C clients sends its next request as soon as its last one ended. All begin at once, but
the first requests ask for answers of rising length, so that they end spread over time: from
then on each prompt finds the other requests decoding, which is the load that plans predict.
Requests are sent by vLLM's own load generator, with prompts of token ids.
"""

import asyncio
import random
from dataclasses import dataclass

from hetctl.workload import Workload

VOCABULARY = range(10, 1000)
"""Ids of the prompts' tokens; every model that is measured has them."""


@dataclass(frozen=True)
class Target:
    """A server."""

    base_url: str
    model_name: str


@dataclass(frozen=True)
class Steady:
    """What the measured requests saw: one entry each, in seconds."""

    ttft_s: list[float]
    tpot_s: list[float]
    latency_s: list[float]
    output_tokens_per_s: float
    """Of all clients: by Little's law, what a client gets in a request's time, times clients."""


def measure(target: Target, load: Workload, repeats: int, timeout_s: float) -> Steady:
    """``repeats`` requests of each client, after one that only sets the pace.

    Raises:
        TimeoutError: it took longer than ``timeout_s``.
        RuntimeError: a request failed, with its error.
    """
    return asyncio.run(asyncio.wait_for(_Loop(target, load, repeats).run(), timeout_s))


class _Loop:
    def __init__(self, target: Target, load: Workload, repeats: int) -> None:
        self._target = target
        self._load = load
        self._repeats = repeats
        self._random = random.Random(0)
        self._busy = load.concurrency

    async def run(self) -> Steady:
        import aiohttp

        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            self._session = session
            clients = range(self._load.concurrency)
            seen = await asyncio.gather(*(self._client(i) for i in clients))
        requests = [request for of_client in seen for request in of_client]
        latency = [request.latency for request in requests]
        return Steady(
            ttft_s=[request.ttft for request in requests],
            tpot_s=[
                (request.latency - request.ttft) / max(1, request.output_tokens - 1)
                for request in requests
            ],
            latency_s=latency,
            output_tokens_per_s=self._load.concurrency
            * self._load.output_len
            * len(latency)
            / sum(latency),
        )

    async def _client(self, index: int) -> list:
        await self._request(self._first_len(index))
        seen = [await self._request(self._load.output_len) for _ in range(self._repeats)]
        self._busy -= 1
        # The load stays whole until the last client has been measured.
        filler = asyncio.create_task(self._fill())
        while self._busy:
            await asyncio.sleep(0.01)
        filler.cancel()
        await asyncio.gather(filler, return_exceptions=True)
        return seen

    def _first_len(self, index: int) -> int:
        """Answers end one after the other; a client alone only warms up."""
        clients = self._load.concurrency
        share = (index + 0.5) / clients if clients > 1 else 0.1
        return max(1, round(self._load.output_len * share))

    async def _fill(self) -> None:
        while True:
            await self._request(self._load.output_len)

    async def _request(self, output_len: int):
        from vllm.benchmarks.lib.endpoint_request_func import (
            RequestFuncInput,
            async_request_openai_completions,
        )

        seen = await async_request_openai_completions(
            RequestFuncInput(
                prompt=self._random.choices(VOCABULARY, k=self._load.input_len),
                api_url=f"{self._target.base_url}/v1/completions",
                prompt_len=self._load.input_len,
                output_len=output_len,
                model=self._target.model_name,
                ignore_eos=True,
                extra_body={"temperature": 0},
            ),
            self._session,
        )
        if not seen.success or seen.output_tokens != output_len:
            why = seen.error.strip() or f"{seen.output_tokens} of {output_len} tokens came back"
            raise RuntimeError(f"a request failed: {why.splitlines()[-1]}")
        return seen
