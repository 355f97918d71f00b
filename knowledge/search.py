"""Finds the runbook passages that answer a question: sentence vectors and words, fused by rank.

Promise: `search` gives at most one passage a page, the best first, and nothing when no page is about the question. The
corpus is read and its vectors are computed at the first use, once per process; with a cache folder once per change of
a page. Fails never for the corpus' or the cache's sake: a missing corpus finds nothing, a damaged cache is computed
anew. `EmbeddingModelUnavailable` of the embedder passes through.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assistant.models.embeddings import Embedder, Vectors

MAX_QUERY = 1_000  # characters; what stands further back in a question does not change what it is about
SECTION_CHARACTERS = 1_800  # a longer section is cut into passages of about this length, between paragraphs
EMBEDDED_CHARACTERS = 320  # of a page, beside its title: its vector is about its topic, and costs little time
RRF_K = 60  # Cormack, Clarke, Büttcher 2009: the constant of reciprocal rank fusion
CANDIDATES = 40  # of each ranking
BM25_K1, BM25_B = 1.2, 0.6
TITLE_WEIGHT = 3  # a word of the title or the code counts this often
ASIDES = (
    "often confused",
    "see also",
    "related",
)  # sections that name other pages: found by them, one finds the wrong page

# Below these a page is not about the question; measured on the questions of tests/unit/test_search.py.
CLOSE_COSINE = 0.40
NEAR_COSINE = 0.28
NEAR_COVERAGE = 0.40

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*|\d+")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*$")
_STOP_WORDS = """
a an and any are as at be been but by can could do does for from get gets had has have how i if in into is it its me
my no not of on or our out so some than that the their them then there these they this to up us was we were what
when where which while who why will with would you your s t don doesn isn won please tell show find am
"""
_STOP = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a page: `path` relative to the corpus, the page's title, the section's heading ("" for what stands
    above the first), its Markdown text, and `score` (the fused rank, to compare within one search only)."""

    path: str
    title: str
    section: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class _Section:
    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class _Page:
    path: str
    domain: str
    title: str
    sections: tuple[_Section, ...]

    @property
    def code(self) -> str:
        return self.path.rsplit("/", 1)[-1].removesuffix(".md")

    @property
    def embedded(self) -> str:
        """What its vector is made of: title, code, and how its text begins."""
        body = " ".join(" ".join(section.text for section in self.sections)[: 2 * EMBEDDED_CHARACTERS].split())
        return f"{self.title}. {self.code.replace('-', ' ')}. {body[:EMBEDDED_CHARACTERS]}"


class RunbookSearch:
    """Hybrid search over the Markdown pages `<corpus>/<domain>/<name>.md`. Safe to use from several threads."""

    def __init__(self, embedder: Embedder, corpus: Path, cache_dir: Path | None) -> None:
        """`cache_dir`: where the corpus' vectors are kept between runs; None keeps them in memory alone."""
        self._embedder = embedder
        self._corpus = corpus
        self._cache_dir = cache_dir
        self._lock = threading.Lock()
        self._index: _Index | None = None

    def search(self, query: str, *, domains: Sequence[str] = (), limit: int = 3) -> list[Passage]:
        """The passages that fit a question best, at most `limit`, one a page; none when nothing is about it.

        `domains` keeps to the pages of these folders. Blocks for some milliseconds (the first time for as long as it
        takes to read the corpus): call it from a thread when on an event loop.
        """
        wanted = query[:MAX_QUERY].strip()
        if not wanted or limit < 1:
            return []
        index = self._ready()
        if not index.pages:
            return []
        vector = self._embedder.embed([wanted])[0]
        return index.search(vector, wanted, frozenset(domains), limit)

    def page(self, relative_path: str) -> str | None:
        """The whole text of a page, or None where the corpus has no such page; never a file outside the corpus."""
        path = self._corpus / relative_path
        return _read(path) if path in set(_files(self._corpus)) else None

    def warm_up(self) -> None:
        """Reads the corpus and computes its vectors now instead of at the first search."""
        self._ready()

    def _ready(self) -> _Index:
        if self._index is None:
            with self._lock:
                if self._index is None:
                    pages = [page for file in _files(self._corpus) if (page := _parsed(self._corpus, file)).sections]
                    self._index = _Index(pages, _vectors(self._embedder, pages, self._cache_dir))
        return self._index


class _Index:
    """The corpus in memory: a vector and a bag of words for each page."""

    def __init__(self, pages: Sequence[_Page], vectors: Vectors) -> None:
        self.pages = pages
        self._vectors = vectors
        self._bags = [_bag(page) for page in pages]
        found_in = Counter(term for bag in self._bags for term in bag)
        self._idf = {t: math.log(1 + (len(pages) - n + 0.5) / (n + 0.5)) for t, n in found_in.items()}
        self._rarest = max(self._idf.values(), default=1.0)
        self._postings: dict[str, list[tuple[int, float]]] = {}
        mean = sum(sum(bag.values()) for bag in self._bags) / max(len(pages), 1)
        for number, bag in enumerate(self._bags):
            norm = BM25_K1 * (1 - BM25_B + BM25_B * sum(bag.values()) / mean)
            for term, count in bag.items():
                weight = self._idf[term] * count * (BM25_K1 + 1) / (count + norm)
                self._postings.setdefault(term, []).append((number, weight))

    def search(self, vector: Vectors, query: str, domains: frozenset[str], limit: int) -> list[Passage]:
        terms = set(_terms(query))
        cosine = self._vectors @ vector
        words = np.zeros(len(self.pages), dtype=np.float32)
        for term in terms:
            for number, weight in self._postings.get(term, ()):
                words[number] += weight
        allowed = np.array([not domains or page.domain in domains for page in self.pages])
        fused = np.zeros(len(self.pages))
        for ranking in (cosine, words):
            for rank, number in enumerate(_best(np.where(allowed, ranking, -1.0), CANDIDATES)):
                if ranking[number] > 0.0 and allowed[number]:
                    fused[number] += 1.0 / (RRF_K + rank + 1)
        found = [int(n) for n in _best(fused, 2 * CANDIDATES) if fused[n] > 0.0]
        kept = [n for n in found if self._about(terms, n, float(cosine[n]))]
        return [self._passage(n, terms, float(fused[n])) for n in kept[:limit]]

    def _about(self, terms: set[str], number: int, cosine: float) -> bool:
        """Whether a page is about a question: close in meaning, or near and holding most of its telling words."""
        if cosine >= CLOSE_COSINE:
            return True
        # A word that no page has tells as much as the rarest one that some page has.
        total = sum(self._idf.get(t, self._rarest) for t in terms)
        held = sum(self._idf[t] for t in terms if t in self._bags[number])
        return cosine >= NEAR_COSINE and total > 0 and held / total >= NEAR_COVERAGE

    def _passage(self, number: int, terms: set[str], score: float) -> Passage:
        """The section of the page that holds most of the question's telling words, the first one among equals."""
        page = self.pages[number]

        def held(section: _Section) -> float:
            words = set(_terms(f"{section.heading} {section.text}"))
            return sum(self._idf.get(t, 0.0) for t in terms & words)

        section = max(page.sections, key=held)
        return Passage(page.path, page.title, section.heading, section.text, score)


def _bag(page: _Page) -> Counter[str]:
    bag = Counter(term for section in page.sections for term in _terms(f"{section.heading} {section.text}"))
    for term in _terms(f"{page.title} {page.code}"):
        bag[term] += TITLE_WEIGHT
    return bag


def _best(scores: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """The numbers of the highest scores, best first; equal ones in their order."""
    return np.argsort(-scores, kind="stable")[:count]


def _terms(text: str) -> Iterator[str]:
    """Words in lower case without ending; the parts of `ImagePullBackOff` as well as the whole."""
    for word in _WORD.findall(text):
        lower = word.lower()
        if lower in _STOP or len(lower) > 60:
            continue
        yield _stem(lower)
        parts = _CAMEL.findall(word)
        if len(parts) > 1:
            for part in parts:
                if len(part) > 1 and part.lower() not in _STOP:
                    yield _stem(part.lower())


def _stem(word: str) -> str:
    """Plurals and the commonest verb endings off: enough for `restarts`, `restarted` and `restarting` to meet."""
    for ending in ("ies", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + ("y" if ending == "ies" else "")
            break
    return word[:-1] if len(word) > 4 and (word.endswith("e") or word[-1] == word[-2]) else word


def _files(corpus: Path) -> list[Path]:
    return sorted(p for p in corpus.glob("*/*.md") if p.is_file())


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _parsed(corpus: Path, file: Path) -> _Page:
    title = file.stem.replace("-", " ")
    sections = []
    for level, heading, text in _split(_read(file)):
        if level == 1:
            title = heading
        if heading.lower().startswith(ASIDES):
            continue
        code_alone = level == 1 and text.strip("` \n") == file.stem
        sections += [_Section("" if level <= 1 else heading, part) for part in _parts("" if code_alone else text)]
    return _Page(file.relative_to(corpus).as_posix(), file.parent.name, title, tuple(sections))


def _split(text: str) -> Iterator[tuple[int, str, str]]:
    """(level of the heading, heading, text below it); a `#` inside a code fence is no heading."""
    level, heading, lines, fenced = 0, "", list[str](), False
    for line in text.splitlines():
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        found = None if fenced else _HEADING.match(line)
        if found is None:
            lines.append(line)
            continue
        if level or any(lines):
            yield level, heading, "\n".join(lines).strip()
        level, heading, lines = len(found[1]), found[2], []
    yield level, heading, "\n".join(lines).strip()


def _parts(text: str) -> Iterator[str]:
    """A section whole, or cut between paragraphs when it is long; nothing for an empty one."""
    part = ""
    for paragraph in text.split("\n\n"):
        if part and len(part) + len(paragraph) > SECTION_CHARACTERS and part.count("```") % 2 == 0:
            yield part
            part = ""
        part = f"{part}\n\n{paragraph}" if part else paragraph
    if part.strip():
        yield part


def _vectors(embedder: Embedder, pages: Sequence[_Page], cache_dir: Path | None) -> Vectors:
    """One vector a page, (n, dimension); those of unchanged pages come from the cache."""
    texts = [page.embedded for page in pages]
    if not texts:
        return np.zeros((0, embedder.dimension), dtype=np.float32)
    if cache_dir is None:
        return embedder.embed(texts)
    path = cache_dir / f"runbooks-{_fingerprint(embedder)}.npz"
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    known = _load(path, embedder.dimension)
    missing = {d: t for d, t in zip(digests, texts, strict=True) if d not in known}
    if missing:
        known.update(zip(missing, embedder.embed(list(missing.values())), strict=True))
    vectors: Vectors = np.stack([known[d] for d in digests])
    if missing:
        _save(path, digests, vectors)
    return vectors


def _fingerprint(embedder: Embedder) -> str:
    """Tells one model's vectors from another's by what it makes of a fixed sentence."""
    probe = np.ascontiguousarray(embedder.embed(["Which pods restart, and why?"]), dtype=np.float32)
    return hashlib.sha256(probe.tobytes()).hexdigest()[:16]


def _load(path: Path, dimension: int) -> dict[str, Vectors]:
    """Vectors by digest; none where the file is missing or is not what was written."""
    try:
        # opened here: of a damaged file numpy would leave its own handle open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            digests, vectors = stored["digests"], stored["vectors"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile):
        return {}
    whole = vectors.dtype == np.float32 and vectors.shape == (len(digests), dimension)
    if not whole or not bool(np.all(np.abs(np.linalg.norm(vectors, axis=1) - 1.0) < 0.01)):
        return {}
    return {str(d): v for d, v in zip(digests, vectors, strict=True)}


def _save(path: Path, digests: Sequence[str], vectors: Vectors) -> None:
    """Writes beside the place and renames, so that a reader sees a whole file; a full or read-only disk costs only
    the next start's time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, digests=np.array(digests), vectors=vectors)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError:
        return
