"""The shipped embedding model against the original's vectors, and the promises of its wrapper."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from assistant.models.embeddings import (
    MINILM_BYTES,
    MINILM_FOLDER,
    EmbeddingModelUnavailable,
    MiniLMEmbedder,
)

REFERENCE = Path(__file__).parent / "minilm_reference.npz"


@pytest.fixture(scope="module")
def embedder() -> MiniLMEmbedder:
    return MiniLMEmbedder()


def test_vectors_stay_close_to_the_original_model(embedder: MiniLMEmbedder) -> None:
    with np.load(REFERENCE, allow_pickle=False) as reference:
        texts, originals = [str(text) for text in reference["texts"]], reference["vectors"]

    cosines = (embedder.embed(texts) * originals).sum(axis=1)

    assert len(texts) >= 30
    assert cosines.min() >= 0.98


def test_shipped_files_are_the_ones_that_source_md_describes() -> None:
    described = (MINILM_FOLDER / "SOURCE.md").read_text(encoding="utf-8")
    stated = {name: digest for digest, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", described, re.MULTILINE)}

    actual = {name: hashlib.sha256((MINILM_FOLDER / name).read_bytes()).hexdigest() for name in stated}

    assert set(stated) == {"model.int8.onnx", "tokenizer.json"}
    assert actual == stated
    assert (MINILM_FOLDER / "model.int8.onnx").stat().st_size == MINILM_BYTES


def test_vectors_are_float32_of_length_one_in_the_order_of_the_texts(embedder: MiniLMEmbedder) -> None:
    texts = ["a pod restarts", "the disk is full", "a pod restarts"]

    vectors = embedder.embed(texts)

    assert vectors.dtype == np.float32
    assert vectors.shape == (3, embedder.dimension) == (3, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.array_equal(vectors[0], vectors[2])
    assert not np.allclose(vectors[0], vectors[1])


def test_no_texts_give_no_vectors(embedder: MiniLMEmbedder) -> None:
    assert embedder.embed([]).shape == (0, 384)


def test_a_text_has_the_same_vector_alone_and_in_company() -> None:
    texts = [f"question number {i} about {'a long story of a cluster ' * (i % 5)}" for i in range(20)]

    together = MiniLMEmbedder(workers=2).embed(texts)
    alone = np.vstack([MiniLMEmbedder(cache_size=0).embed([texts[i]]) for i in (0, 7, 19)])

    assert np.array_equal(together[[0, 7, 19]], alone)


def test_a_known_text_is_not_computed_again(embedder: MiniLMEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    first = embedder.embed(["remember me"])
    monkeypatch.setattr(embedder, "_compute", lambda texts: pytest.fail(f"computed again: {texts}"))

    assert np.array_equal(embedder.embed(["remember me"]), first)


def test_the_cache_forgets_what_was_not_asked_for_longest() -> None:
    small = MiniLMEmbedder(cache_size=2)

    for text in ("one", "two", "one", "three"):
        small.embed([text])

    assert list(small._cache) == ["one", "three"]


def test_a_page_of_text_counts_only_by_its_beginning(embedder: MiniLMEmbedder) -> None:
    page = "the ingress returns 503 for every request " * 1_200

    assert np.array_equal(embedder.embed([page])[0], embedder.embed([page[:10_000]])[0])


@pytest.mark.parametrize("text", ["", " \n", "\ud800 half an emoji", "\x00\x07", "ポッド", "🚀" * 50])
def test_odd_texts_have_vectors(embedder: MiniLMEmbedder, text: str) -> None:
    assert np.isfinite(embedder.embed([text])).all()


def test_threads_share_one_load_and_get_the_same_vectors() -> None:
    shared = MiniLMEmbedder(cache_size=0)
    vectors: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: vectors.append(shared.embed(["shared"]))) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(vectors) == 8
    assert all(np.array_equal(vector, vectors[0]) for vector in vectors)


def test_similar_questions_are_nearer_than_different_ones(embedder: MiniLMEmbedder) -> None:
    question, same, other = embedder.embed(
        ["the volume cannot be attached", "attaching the disk fails", "who may read secrets?"]
    )

    assert question @ same > question @ other + 0.2


@pytest.mark.parametrize("damage", ["missing", "pointer file"])
def test_a_damaged_model_is_named_with_its_remedy(tmp_path: Path, damage: str) -> None:
    if damage == "pointer file":
        (tmp_path / "model.int8.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
        (tmp_path / "tokenizer.json").write_text("{}")

    with pytest.raises(EmbeddingModelUnavailable, match="make embedding-model"):
        MiniLMEmbedder(tmp_path).embed(["x"])


def test_importing_loads_neither_onnxruntime_nor_tokenizers() -> None:
    code = (
        "import sys, assistant.models.embeddings as e; e.MiniLMEmbedder(); "
        "print([m for m in ('onnxruntime', 'tokenizers', 'torch') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
