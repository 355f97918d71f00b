"""Sentence embeddings on this machine: text in, unit vectors out, no network and no torch.

Promise: `MiniLMEmbedder` gives the same vector for the same text, whatever else is embedded with it and from whichever
thread; importing this module loads nothing heavy. Fails with `EmbeddingModelUnavailable` when the model's files are
missing or damaged (a checkout without its large files, an interrupted install).
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from assistant.errors import KubeChatError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

Vectors = NDArray[np.float32]

MINILM_FOLDER = Path(__file__).resolve().parent / "minilm"
# The shipped file has this many bytes; a pointer file or half a download is told from it without hashing 23 MB at
# every start. The digest itself is in SOURCE.md and checked by a test.
MINILM_BYTES = 22_831_546
# The model reads 256 tokens. English has 4 to 5 characters a token, identifiers and hashes fewer, so nothing beyond
# this many characters is ever read; the tokenizer would still spend 20 ms on a page of 50,000.
MAX_CHARACTERS = 4_096
# Below this many texts the hand-over to the pool costs more than the second core gains.
PARALLEL_FROM = 8


class EmbeddingModelUnavailable(KubeChatError):
    """The files of the embedding model are missing or damaged."""

    code = "embedding-model-unavailable"


class Embedder(Protocol):
    """Turns texts into vectors of one length that can be compared by their dot product."""

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32, shape (len(texts), dimension), in the order of the texts."""
        ...


@dataclass(frozen=True, slots=True)
class _Loaded:
    session: InferenceSession
    tokenizer: Tokenizer


class MiniLMEmbedder:
    """all-MiniLM-L6-v2, int8, by onnxruntime: 384 dimensions, the first 256 tokens of a text, about 2 ms each.

    Texts run one at a time on one thread each, long lists on `workers` threads: dynamic quantisation takes one scale
    per tensor, so in a padded batch a text's vector would depend on its neighbours (cosine down to 0.97).
    """

    def __init__(self, folder: Path = MINILM_FOLDER, *, cache_size: int = 1024, workers: int | None = None) -> None:
        """`cache_size`: vectors kept, 1.5 kB each; `workers`: threads for long lists, by default at most two."""
        self._folder = folder
        self._cache_size = cache_size
        self._workers = workers or min(2, os.cpu_count() or 1)
        self._cache: OrderedDict[str, Vectors] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._load_lock = threading.Lock()
        self._loaded: _Loaded | None = None

    @property
    def dimension(self) -> int:
        return 384

    def warm_up(self) -> None:
        """Load the model now (0.2 s) instead of at the first text; raises `EmbeddingModelUnavailable`."""
        self._model()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32, shape (len(texts), 384); an empty text has a vector too.

        Raises `EmbeddingModelUnavailable`. Blocks for about 2 ms a text: call it from a thread when on an event loop.
        """
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        # A lone surrogate (half an emoji from a broken client) is no text to the tokenizer.
        cut = [text[:MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8") for text in texts]
        known = self._cached(cut)
        missing = [text for text in dict.fromkeys(cut) if text not in known]
        if missing:
            fresh = dict(zip(missing, self._compute(missing), strict=True))
            self._keep(fresh)
            known.update(fresh)
        return np.stack([known[text] for text in cut])

    def _compute(self, texts: list[str]) -> list[Vectors]:
        model = self._model()
        if len(texts) < PARALLEL_FROM or self._workers == 1:
            return [_vector(model, text) for text in texts]
        # onnxruntime and tokenizers release the interpreter while they work, so two threads use two cores.
        with ThreadPoolExecutor(self._workers, thread_name_prefix="embed") as pool:
            return list(pool.map(lambda text: _vector(model, text), texts))

    def _cached(self, texts: list[str]) -> dict[str, Vectors]:
        with self._cache_lock:
            found = {text: self._cache[text] for text in texts if text in self._cache}
            for text in found:
                self._cache.move_to_end(text)
            return found

    def _keep(self, fresh: dict[str, Vectors]) -> None:
        with self._cache_lock:
            self._cache.update(fresh)
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)

    def _model(self) -> _Loaded:
        if self._loaded is None:
            with self._load_lock:
                if self._loaded is None:
                    self._loaded = _load(self._folder)
        return self._loaded


def _load(folder: Path) -> _Loaded:
    model, vocabulary = folder / "model.int8.onnx", folder / "tokenizer.json"
    if not vocabulary.is_file() or not model.is_file() or model.stat().st_size != MINILM_BYTES:
        raise EmbeddingModelUnavailable(
            "The embedding model that ships with KubeChat is missing or incomplete; install KubeChat again, "
            "or rebuild the model with `make embedding-model`."
        )
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # A spinning pool would burn a core that the event loop needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return _Loaded(session, Tokenizer.from_file(str(vocabulary)))


def _vector(model: _Loaded, text: str) -> Vectors:
    ids = np.array([model.tokenizer.encode(text).ids], dtype=np.int64)
    (output,) = model.session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    vector: Vectors = np.asarray(output, dtype=np.float32)[0]
    return vector
