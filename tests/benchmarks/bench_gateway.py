"""Prints the gateway's own time per call: what mask, record, litellm and its Router add to a call over HTTP.

The same requests go to the same scripted provider twice: through the gateway, and by a bare HTTP client that only reads
the stream to its end. Own time is the difference of the two distributions' p50 and p95.

    python tests/benchmarks/bench_gateway.py [--calls 100]
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from assistant.guardrails.credentials import CREDENTIAL_RULES
from assistant.guardrails.masking import Masker
from assistant.models.gateway import open_gateway
from assistant.models.litellm_adapter import LitellmAdapter
from assistant.models.request import Message, ModelChoice, ModelRequest
from assistant.types import TurnContext
from tests.support.scripted_provider import ScriptedProvider, text

EVIDENCE = "\n".join(
    f"pod web-{n} phase=Running restarts={n} image=shop/web:1.{n} node=worker-{n % 3}" for n in range(100)
)


async def measured(call: Callable[[], Awaitable[None]], calls: int) -> list[float]:
    """Milliseconds of each call, sorted, after ten to warm up."""
    for _ in range(10):
        await call()
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - began) * 1000)
    return sorted(taken)


def percentile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, round(share * (len(values) - 1)))]


async def main(calls: int) -> None:
    request = ModelRequest(
        messages=(Message("system", "You know Kubernetes."), Message("user", EVIDENCE)),
        context=TurnContext(thread_id="bench", cluster_id="bench"),
    )
    masker = Masker(b"k" * 32, CREDENTIAL_RULES)
    with ScriptedProvider([text("The pods are healthy. " * 5, chunk_chars=11)]) as provider:
        adapter = LitellmAdapter(ModelChoice("scripted", provider.url), os.environ)
        port = open_gateway(
            adapter, masker=masker, sink=lambda _: None, model="scripted", destination=adapter.destination
        )
        began = time.perf_counter()
        await adapter.warm()
        print(f"import of litellm and Router     {time.perf_counter() - began:6.2f} s")

        async def through_the_gateway() -> None:
            async with aclosing(port(request)) as events:
                async for _ in events:
                    pass

        own = await measured(through_the_gateway, calls)
        async with httpx.AsyncClient() as client:
            body = provider.requests[-1].json

            async def bare() -> None:
                async with client.stream("POST", f"{provider.url}/chat/completions", json=body) as response:
                    async for _ in response.aiter_bytes():
                        pass

            floor = await measured(bare, calls)
        masking = await measured(lambda: masked(masker), calls)
        await adapter.aclose()
    for name, share in (("p50", 0.5), ("p95", 0.95)):
        through, wire = percentile(own, share), percentile(floor, share)
        print(
            f"{name} of {calls} calls: gateway {through:6.1f} ms, bare HTTP {wire:6.1f} ms, "
            f"added {through - wire:6.1f} ms, of which masking {percentile(masking, share):5.1f} ms"
        )


async def masked(masker: Masker) -> None:
    masker.mask(EVIDENCE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    asyncio.run(main(parser.parse_args().calls))
