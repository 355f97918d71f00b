"""Train the router on the texts of `texts/` and write `model.npz`: `python -m agents.routing.train`.

Promise: the same texts, vocabulary and machine give the same file. Two multinomial logistic regressions, one over the
embedding with vocabulary and style, one over hashed words, are averaged in their logits, which is again one linear
map. The temperature is fitted on held-out folds that never split the variants of one line. Needs scikit-learn (dev).
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from agents.routing.corpus import Example, corpus_hash, read_examples
from agents.routing.features import BUCKETS, DOMAINS, VOCABULARY, Features, extract, load_vocabulary
from agents.routing.model import MODEL_FILE, RoutingModel, softmax
from assistant.models.embeddings import MiniLMEmbedder

FOLDS = 5
SEED = 20
# Chosen on the held-out folds among 1, 3, 10 (dense) and 3, 10 (words): flat around the best.
DENSE_C, WORDS_C = 3.0, 3.0
# A domain that is as right as the file's own teaches too, but the file's own stays the first choice.
ALSO_WEIGHT = 0.1

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Features, and the labels as (row, domain, weight) triples: a text with a second right domain has two."""

    features: Features
    groups: NDArray[np.int64]
    right: NDArray[np.bool_]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    weights: Array


def training_set(examples: list[Example]) -> TrainingSet:
    """Embed the texts and lay out their labels."""
    index = {domain: i for i, domain in enumerate(DOMAINS)}
    features = extract([e.text for e in examples], MiniLMEmbedder(cache_size=0), load_vocabulary())
    right = np.zeros((len(examples), len(DOMAINS)), dtype=bool)
    triples: list[tuple[int, int, float]] = []
    for row, example in enumerate(examples):
        triples.append((row, index[example.domain], example.weight))
        triples += [(row, index[domain], example.weight * ALSO_WEIGHT) for domain in example.also]
        right[row, [index[domain] for domain in (example.domain, *example.also)]] = True
    rows, labels, weights = (np.array(column) for column in zip(*triples, strict=True))
    return TrainingSet(features, np.array([e.group for e in examples]), right, rows, labels, weights)


def fit(data: TrainingSet, wanted: NDArray[np.bool_]) -> RoutingModel:
    """A model of the wanted rows, with temperature 1. `wanted`: shape (n,)."""
    chosen = wanted[data.rows]
    rows, labels, weights = data.rows[chosen], data.labels[chosen], data.weights[chosen]
    counts = _counts(data.features)
    seen = np.asarray((counts[wanted] > 0).sum(axis=0)).ravel()
    idf = np.log((1 + wanted.sum()) / (1 + seen)) + 1
    weighted = counts.multiply(idf).tocsr()
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    words = csr_matrix(weighted.multiply(1 / np.maximum(length, 1e-12)[:, None]))
    dense_part = _regression(data.features.dense[rows].astype(np.float64), labels, weights, DENSE_C)
    words_part = _regression(words[rows], labels, weights, WORDS_C)
    return RoutingModel(
        dense=(dense_part.coef_.T / 2).astype(np.float32),
        words=(words_part.coef_.T / 2).astype(np.float32),
        word_idf=idf.astype(np.float32),
        bias=((dense_part.intercept_ + words_part.intercept_) / 2).astype(np.float32),
        temperature=1.0,
        origin={},
    )


def held_out_logits(data: TrainingSet) -> Array:
    """Logits of every text by the model that saw neither it nor another variant of its line: shape (n, 8)."""
    logits = np.zeros(data.right.shape)
    folds = GroupKFold(FOLDS, shuffle=True, random_state=SEED)
    for train, test in folds.split(logits, groups=data.groups):
        wanted = np.zeros(len(logits), dtype=bool)
        wanted[train] = True
        part = Features(data.features.dense[test], tuple(data.features.words[i] for i in test))
        logits[test] = fit(data, wanted).logits(part)
    return logits


def best_temperature(logits: Array, right: NDArray[np.bool_], weights: Array) -> float:
    """The divisor that makes the top score the chance of being right (least binary log loss)."""
    hit = right[np.arange(len(logits)), logits.argmax(axis=1)]

    def loss(temperature: float) -> float:
        top = np.clip(softmax(logits / temperature).max(axis=1), 1e-6, 1 - 1e-6)
        return float(-(weights * np.where(hit, np.log(top), np.log(1 - top))).sum())

    return float(minimize_scalar(loss, bounds=(0.2, 3.0), method="bounded").x)


def train() -> RoutingModel:
    """The model of all texts, calibrated on the held-out folds."""
    examples = read_examples()
    data = training_set(examples)
    logits = held_out_logits(data)
    weights = np.array([example.weight for example in examples])
    temperature = best_temperature(logits, data.right, weights)
    hits = data.right[np.arange(len(logits)), logits.argmax(axis=1)]
    model = fit(data, np.ones(len(examples), dtype=bool))
    origin: dict[str, Any] = {
        "corpus_sha256": corpus_hash(),
        "vocabulary_sha256": hashlib.sha256(VOCABULARY.read_bytes()).hexdigest(),
        "texts": len(examples),
        "lines": int(data.groups.max()) + 1,
        "held_out_accuracy": round(float((hits * weights).sum() / weights.sum()), 4),
    }
    return RoutingModel(model.dense, model.words, model.word_idf, model.bias, round(temperature, 4), origin)


def _counts(features: Features) -> csr_matrix:
    rows = [row for row, buckets in enumerate(features.words) for _ in buckets]
    columns = [bucket for buckets in features.words for bucket in buckets]
    return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(features.words), BUCKETS))


def _regression(x: Any, y: NDArray[np.int64], weights: Array, c: float) -> LogisticRegression:
    return LogisticRegression(C=c, max_iter=5000).fit(x, y, sample_weight=weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=MODEL_FILE)
    out = parser.parse_args().out
    model = train()
    model.save(out)
    print(f"{out}: temperature {model.temperature}, {model.origin}")


if __name__ == "__main__":
    main()
