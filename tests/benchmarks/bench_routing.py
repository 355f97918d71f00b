"""Print how well questions are routed: accuracy, calibration error, domains consulted, time per question.

usage: python tests/benchmarks/bench_routing.py [QUESTIONS.jsonl]

A line is `{"text", "domain", "alt": [...]}`; a hit is the domain or one of `alt`. Without a file the figures are those
of the project's own training texts, each routed by a model that saw neither it nor another variant of its line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.routing import Router
from agents.routing.features import DOMAINS


def calibration_error(scores: NDArray[np.float64], hits: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error of the top score over bins of equal width."""
    place = np.minimum((scores * bins).astype(int), bins - 1)
    inside = [place == i for i in range(bins) if (place == i).any()]
    return float(sum(cell.mean() * abs(scores[cell].mean() - hits[cell].mean()) for cell in inside))


def latencies(router: Router, texts: list[str]) -> list[float]:
    """Seconds of each question routed alone by a warm router."""
    router.route("warm up")
    times: list[float] = []
    for text in texts:
        start = time.perf_counter()
        router.route(text)
        times.append(time.perf_counter() - start)
    return times


def of_file(path: Path) -> None:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    texts = [str(row["text"]) for row in rows]
    start = time.perf_counter()
    routes = Router.load().route_many(texts)
    batch = (time.perf_counter() - start) / len(texts)
    best = [max(route.scores, key=lambda domain: route.scores[domain]) for route in routes]
    hits = np.array([top.value in {row["domain"], *row.get("alt", [])} for top, row in zip(best, rows, strict=True)])
    scores = np.array([route.scores[top] for route, top in zip(routes, best, strict=True)])
    for domain in DOMAINS:
        mine = np.array([row["domain"] == domain.value for row in rows])
        if mine.any():
            print(f"{domain.value:16} {hits[mine].mean():.3f} of {mine.sum()}")
    print(f"accuracy         {hits.mean():.3f} of {len(rows)}")
    print(f"ECE              {calibration_error(scores, hits):.3f}")
    print(f"domains          {statistics.mean(len(route.domains) for route in routes):.2f} consulted on average")
    # A router of its own: the first has these texts in its cache.
    alone = latencies(Router.load(), texts)
    median, p95 = statistics.median(alone) * 1e3, statistics.quantiles(alone, n=20)[-1] * 1e3
    print(f"time             {median:.1f} ms median, {p95:.1f} ms p95; {batch * 1e3:.1f} ms in a batch")


def of_own_texts() -> None:
    from agents.routing.corpus import read_examples
    from agents.routing.model import softmax
    from agents.routing.train import best_temperature, held_out_logits, training_set

    examples = read_examples()
    data = training_set(examples)
    logits = held_out_logits(data)
    weights = np.array([example.weight for example in examples])
    scores = softmax(logits / best_temperature(logits, data.right, weights))
    hits = data.right[np.arange(len(logits)), logits.argmax(axis=1)]
    alone = latencies(Router.load(), [example.text for example in examples[::40]])
    print(f"held-out accuracy {hits.mean():.3f} of {len(examples)} texts from {data.groups.max() + 1} lines")
    print(f"ECE               {calibration_error(scores.max(axis=1), hits):.3f}")
    print(f"time              {statistics.median(alone) * 1e3:.1f} ms median")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("questions", type=Path, nargs="?")
    path = parser.parse_args().questions
    of_file(path) if path else of_own_texts()


if __name__ == "__main__":
    main()
