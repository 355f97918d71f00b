"""The trained router: one linear map over the features, a temperature, and where it came from.

Promise: a `RoutingModel` is immutable; `probabilities` needs numpy only and gives the same figures for a text alone
and in a batch. `load` fails with `RoutingModelUnavailable` when the file is missing or was made for other features.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.routing.features import BUCKETS, DOMAINS, Features, Floats
from assistant.errors import KubeChatError

MODEL_FILE = Path(__file__).resolve().parent / "model.npz"


class RoutingModelUnavailable(KubeChatError):
    """The router's model file is missing, damaged or of another version."""

    code = "routing-model-unavailable"


@dataclass(frozen=True, slots=True)
class RoutingModel:
    """Weights for eight domains.

    `dense` (413, 8) and `words` (8192, 8) multiply the features, `word_idf` (8192,) weighs rare words, `bias` (8,) is
    added; `temperature` divides the logits (above 1 = the training was too sure of itself). `origin` says from which
    texts and vocabulary the weights were made, and how well they did on held-out folds.
    """

    dense: Floats
    words: Floats
    word_idf: Floats
    bias: Floats
    temperature: float
    origin: dict[str, Any]

    def logits(self, features: Features) -> NDArray[np.float64]:
        """Calibrated log-odds up to a constant per text: shape (n, 8), columns in the order of `DOMAINS`."""
        total = features.dense.astype(np.float64) @ self.dense + self.bias
        for row, buckets in enumerate(features.words):
            if buckets:
                weights = self.word_idf[list(buckets)].astype(np.float64)
                total[row] += (weights / np.linalg.norm(weights)) @ self.words[list(buckets)]
        scaled: NDArray[np.float64] = total / self.temperature
        return scaled

    def probabilities(self, features: Features) -> NDArray[np.float64]:
        """Shape (n, 8); every row sums to 1."""
        return softmax(self.logits(features))

    def save(self, path: Path = MODEL_FILE) -> None:
        """Write the weights; half precision for the words, whose eight thousand rows are most of the file."""
        np.savez_compressed(
            path,
            dense=self.dense.astype(np.float32),
            words=self.words.astype(np.float16),
            word_idf=self.word_idf.astype(np.float16),
            bias=self.bias.astype(np.float32),
            origin=np.array(json.dumps({**self.origin, "temperature": self.temperature}, sort_keys=True)),
        )

    @classmethod
    def load(cls, path: Path = MODEL_FILE) -> RoutingModel:
        """Read what `save` wrote; raises `RoutingModelUnavailable`."""
        try:
            with np.load(path, allow_pickle=False) as file:
                origin = json.loads(str(file["origin"]))
                dense, words = file["dense"], file["words"].astype(np.float32)
                idf, bias = file["word_idf"].astype(np.float32), file["bias"]
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise RoutingModelUnavailable(
                "The router's model is missing or damaged; install KubeChat again, or train it with "
                "`python -m agents.routing.train`."
            ) from error
        if words.shape != (BUCKETS, len(DOMAINS)) or dense.shape[1:] != (len(DOMAINS),):
            raise RoutingModelUnavailable(
                "The router's model was trained for other features; train it again with "
                "`python -m agents.routing.train`."
            )
        return cls(dense, words, idf, bias, float(origin["temperature"]), origin)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row-wise, safe against large values."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    share: NDArray[np.float64] = shifted / shifted.sum(axis=-1, keepdims=True)
    return share
