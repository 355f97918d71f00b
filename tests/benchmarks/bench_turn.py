"""Own time of a turn: `PYTHONPATH=. python tests/benchmarks/bench_turn.py [--turns 100] [--fresh] [--profile]`.

A turn from `ask` to its recorded end, through the whole application: routing, all analyzers, the gateway with its mask,
litellm, a scripted OpenAI-compatible server in a process of its own, and the embedded PostgreSQL. Own time is wall time
less the time for which the provider held the requests (measured there). Warm, one turn at a time, over the demo
snapshot (26 pods, five of them broken). `--fresh` makes each turn read and analyse the cluster anew, as the first
question after 15 s does. Exit code 1 when p95 is above the goal. The goal is 60 ms on a quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import multiprocessing
import os
import pstats
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from starlette.responses import StreamingResponse

from agents.conversation import Ask
from agents.evidence import Domain
from assistant import settings as settings_module
from assistant.types import Mode
from tests.support.scripted_provider import Reply, ScriptedProvider, text
from ui.container import DEMO_SNAPSHOT, App, open_app

GOAL_MS = 60.0
WARM_UP = 8
QUESTION = "Why is checkout in namespace shop down?"
ANSWER = (
    "Deployment shop/checkout asks for an image tag that is not in the registry [E1]. "
    "The tag of the release before is there [E3].\n\nSet it back:\n\n"
    "```sh\nkubectl -n shop rollout undo deployment/checkout\n```\n"
)


def provide(pipe: Connection) -> None:
    """The provider, in a process of its own: sends its address, then for each `True` the seconds of its last answer."""
    held: list[float] = []

    class Timed(ScriptedProvider):
        async def _completions(self, request: Any) -> Any:
            started = time.perf_counter()
            response = await super()._completions(request)
            if not isinstance(response, StreamingResponse):
                raise TypeError("the gateway streams, always")
            stream = response.body_iterator

            async def timed() -> Any:
                async for piece in stream:
                    yield piece
                held.append(time.perf_counter() - started)

            response.body_iterator = timed()
            return response

    reply: Callable[[dict[str, Any]], Reply] = lambda _: replace(text(ANSWER, chunk_chars=24))  # noqa: E731 - a script
    with Timed(reply) as provider:
        pipe.send(provider.url)
        while pipe.recv():
            pipe.send(held.pop() if held else 0.0)


def application(url: str, folder: Path, fresh: bool) -> AbstractAsyncContextManager[App]:
    """The application over the demo snapshot, the embedded database in `folder`, and the provider at `url`."""
    environment = {
        "KUBECHAT_DATA_DIR": str(folder),
        "KUBECHAT_SNAPSHOT": str(DEMO_SNAPSHOT),
        "KUBECHAT_MODEL": "openai/scripted",
        "KUBECHAT_MODEL_URL": url,
        "KUBECHAT_VIEW_REUSE": "0" if fresh else "300",
    }
    return open_app(settings_module.load(environment), environment)


async def one(app: App) -> tuple[float, float]:
    """(wall, CPU of this process) of one turn, in milliseconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    handle = await app.conversation.ask(Ask(QUESTION, agent=Domain.DEPLOYMENT))
    last = await handle.outcome()
    await handle.task
    took = (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000
    if last.type != "done" or last.answer.mode is not Mode.MODEL:
        raise SystemExit(f"a turn went wrong: {last.model_dump_json()[:400]}")
    return took


async def measure(options: argparse.Namespace, pipe: Connection, folder: Path) -> int:
    """Prints the figure; the exit code."""
    own, cpu = [], []
    async with application(pipe.recv(), folder, options.fresh) as app:
        for _ in range(WARM_UP):
            await one(app)
        profile = cProfile.Profile()
        if options.profile:
            profile.enable()
        for _ in range(options.turns):
            wall, used = await one(app)
            pipe.send(True)
            own.append(wall - pipe.recv() * 1000)
            cpu.append(used)
        profile.disable()
        pipe.send(False)
    if options.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(60)
    p50, p95 = statistics.median(own), statistics.quantiles(own, n=20)[-1]
    load = os.getloadavg()[0]
    print(f"own time of a turn over {len(own)}: p50 {p50:.1f} ms, p95 {p95:.1f} ms (goal: p95 <= {GOAL_MS:.0f} ms)")
    print(f"CPU of this process: p50 {statistics.median(cpu):.1f} ms; load of the machine {load:.1f}")
    return 0 if p95 <= GOAL_MS else 1


def main() -> int:
    parser = argparse.ArgumentParser(description="Own time of a turn.")
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--fresh", action="store_true", help="read and analyse the cluster anew for each turn")
    parser.add_argument("--profile", action="store_true", help="say where the time goes (and take longer)")
    options = parser.parse_args()
    here, there = multiprocessing.get_context("spawn").Pipe()
    provider = multiprocessing.get_context("spawn").Process(target=provide, args=(there,), daemon=True)
    provider.start()
    folder = Path(tempfile.mkdtemp(prefix="kubechat-bench-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        return asyncio.run(measure(options, here, folder))
    finally:
        provider.terminate()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
