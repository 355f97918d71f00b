"""What the router sees of a question: its embedding, the vocabulary of Kubernetes in it, its style, its words.

Promise: pure functions of the text and of `vocabulary.yaml`; the same text gives the same features on every machine.
Only numpy, the standard library and PyYAML, because this runs in every turn.
"""

from __future__ import annotations

import functools
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from agents.evidence import Domain
from assistant.models.embeddings import Embedder

Floats = NDArray[np.float32]

VOCABULARY = Path(__file__).resolve().parent / "vocabulary.yaml"
DOMAINS: tuple[Domain, ...] = tuple(Domain)
TABLE_SCALE = 0.3
SUBSYSTEMS = (Domain.SECURITY, Domain.PERFORMANCE, Domain.MONITORING, Domain.STORAGE, Domain.NETWORKING)
TROUBLE_BESIDE_SUBSYSTEM = 0.5

# A pasted log: the question stands before it or after it, the rest is noise to a router.
HEAD_CHARACTERS, TAIL_CHARACTERS = 800, 400
# Hashed words and pairs of words. 2^13 buckets keep collisions below one in ten for some 6,000 distinct features.
BUCKETS = 1 << 13

_STYLES: tuple[tuple[str, str], ...] = (
    ("how to", r"^(how (do|can|to|should|would)|can (i|we|you)|is it possible)\b"),
    ("how much", r"^how (many|much|large|fast|often|long|quickly|big)\b"),
    ("what is", r"^(what (is|are|does|do)|what's|which|when|where|who)\b"),
    ("difference", r"\b(difference|different|compare|versus|vs)\b"),
    ("why", r"\bwhy\b"),
    ("yes or no", r"^(does|do|is|are|can|could|should|will|has|did|was|were)\b"),
    (
        "order",
        r"^(create|make|write|run|add|delete|remove|get|show|list|find|set|change|scale|roll|install|start|put|give|label)\b",
    ),
    ("first person", r"\b(my|our|i|we)\b"),
    (
        "symptom",
        r"\b(errors?|fail\w*|cannot|can't|unable|not|stuck|never|crash\w*|down|denied|refused|hang\w*|time(d )?out)\b",
    ),
    ("question mark", r"\?"),
    ("names an object", r"\b[a-z0-9]+(-[a-z0-9]+)+\b|\bnamespace\b"),
)
_STYLE_PATTERNS = tuple(re.compile(pattern) for _, pattern in _STYLES)
_WORD = re.compile(r"[a-z0-9][a-z0-9'./_-]*[a-z0-9]|[a-z0-9]")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_KIND = r"(?:pods?|deployments?|workloads?|apps?|namespaces?|ns|containers?|statefulsets?|daemonsets?|jobs?|cronjobs?)"
_OBJECT_NAME = re.compile(
    rf"(?P<before>\b{_KIND}\s+[`'\"]?)?\b(?P<name>[a-z0-9]+(?:-[a-z0-9]+)+)\b", re.IGNORECASE | re.ASCII
)
_KIND_AFTER = re.compile(rf"[`'\"]?\s+{_KIND}\b", re.IGNORECASE)
PLACEHOLDER = "app"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The compiled table: `strong` and `hint` map a term without its spaces to the domains it points at.

    `kinds` maps kinds of Kubernetes to the subsystem they belong to. `components` are the terms that the table writes
    with a hyphen: names of well-known programs, which stay words where other hyphenated names are masked; `programs`
    are the last words by which such other names are known.
    """

    pattern: re.Pattern[str]
    strong: Mapping[str, tuple[Domain, ...]]
    hint: Mapping[str, tuple[Domain, ...]]
    kinds: Mapping[str, Domain]
    components: frozenset[str]
    programs: frozenset[str]

    def spans(self, text: str) -> list[tuple[str, int, int]]:
        """(term without spaces, start, end) of every term in the text; where two begin, the longer one wins."""
        # Not lower(): some capitals lower to two characters and would shift the offsets.
        return [(_squeeze(m[0].lower()), m.start(), m.end()) for m in self.pattern.finditer(text)]

    def domains_of(self, term: str) -> tuple[tuple[Domain, ...], tuple[Domain, ...]]:
        """The domains that a matched term points at strongly, and those it hints at."""
        for form in (term, term.removesuffix("s"), term.removesuffix("es")):
            if form in self.strong or form in self.hint:
                return self.strong.get(form, ()), self.hint.get(form, ())
        return (), ()


def _squeeze(term: str) -> str:
    return re.sub(r"[\s_-]+", "", term)


@functools.cache
def load_vocabulary(path: Path = VOCABULARY) -> Vocabulary:
    """The table of the file; read once a process. Raises `ValueError` for a domain that does not exist."""
    with path.open("rb") as file:
        # libyaml's safe loader where it was built in: 10 ms against 200.
        table = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    programs = frozenset(table.pop("programs"))
    strong: dict[str, tuple[Domain, ...]] = {}
    hint: dict[str, tuple[Domain, ...]] = {}
    pieces: dict[str, str] = {}
    kinds = {kind: Domain(name) for name, levels in table.items() for kind in levels.get("kinds", ())}
    for name, levels in table.items():
        for level in ("strong", "hint"):
            for term in levels.get(level, ()):
                exact = str(term).endswith("/")
                words = str(term).rstrip("/")
                home = strong if level == "strong" else hint
                home[_squeeze(words)] = (*home.get(_squeeze(words), ()), Domain(name))
                loose = r"[\s_-]?".join(re.escape(word) for word in re.split(r"[\s_-]", words)) + "(?:e?s)?"
                pieces[words] = re.escape(words) if exact else loose
    # Longest first, so that "network policy" is one term and not a network and a policy.
    alternatives = "|".join(pieces[words] for words in sorted(pieces, key=lambda w: (-len(w), w)))
    pattern = re.compile(rf"(?<![a-z0-9_-])(?:{alternatives})(?![a-z0-9_]|-[a-z0-9])", re.IGNORECASE | re.ASCII)
    return Vocabulary(pattern, strong, hint, kinds, frozenset(w for w in pieces if "-" in w), programs)


def clip(text: str) -> str:
    """The part of a text that is read: all of a normal question, head and tail of a pasted page."""
    if len(text) <= HEAD_CHARACTERS + TAIL_CHARACTERS:
        return text
    return f"{text[:HEAD_CHARACTERS]} … {text[-TAIL_CHARACTERS:]}"


def vocabulary_features(text: str, vocabulary: Vocabulary) -> Floats:
    """Per domain the number of strong and of hinting terms, both damped, then whether any was strong: shape (17,)."""
    strong, hint = np.zeros(len(DOMAINS)), np.zeros(len(DOMAINS))
    for term in {term for term, _, _ in vocabulary.spans(text)}:
        firmly, softly = vocabulary.domains_of(term)
        for domain in firmly:
            strong[DOMAINS.index(domain)] += 1 / len(firmly)
        for domain in softly:
            hint[DOMAINS.index(domain)] += 1 / len(softly)
    if any(strong[DOMAINS.index(domain)] for domain in SUBSYSTEMS):
        # The subsystem wins: "the claim is pending" is about storage, though "pending" alone is about trouble.
        strong[DOMAINS.index(Domain.TROUBLESHOOTING)] *= TROUBLE_BESIDE_SUBSYSTEM
    # The second mention of a subject adds less than the first: log(1 + n).
    return np.concatenate([np.log1p(strong), np.log1p(hint), [float(strong.any())]]).astype(np.float32)


def style_features(text: str) -> Floats:
    """Which cues of style a text shows, and how long it is: shape (len(styles) + 1,)."""
    lowered = text.strip().lower()
    cues = [1.0 if pattern.search(lowered) else 0.0 for pattern in _STYLE_PATTERNS]
    return np.array([*cues, min(1.0, math.log1p(len(lowered.split())) / 4)], dtype=np.float32)


def mask_names(text: str, vocabulary: Vocabulary) -> str:
    """The text with names of objects ("order-api-7f9c") replaced by "app": a pod may be called anything.

    Names of well-known programs ("kube-proxy") stay, and so does hyphenated English ("self-signed").
    """

    def replace(match: re.Match[str]) -> str:
        word = match["name"]
        if word.lower() in vocabulary.components:
            return match[0]
        named = match["before"] or _KIND_AFTER.match(text, match.end())
        return (
            f"{match['before'] or ''}{PLACEHOLDER}"
            if named or _looks_like_name(word, vocabulary.programs)
            else match[0]
        )

    return _OBJECT_NAME.sub(replace, text)


def _looks_like_name(word: str, programs: frozenset[str]) -> bool:
    # "multi-tenant" and "read-only" are English; names carry digits, or end in what programs are called.
    parts = word.lower().split("-")
    return any(c.isdigit() for c in word) or parts[-1] in programs or len(parts) > 3


def word_features(text: str) -> list[int]:
    """Buckets of the distinct words and pairs of neighbouring words of a text; ascending."""
    spaced = _CAMEL.sub(" ", text).lower()
    words = [_stem(word) for word in _WORD.findall(spaced)]
    pairs = [f"{a} {b}" for a, b in zip(["^", *words], [*words, "$"], strict=True)]
    return sorted({zlib.crc32(feature.encode()) % BUCKETS for feature in (*words, *pairs)})


def _stem(word: str) -> str:
    for suffix, least in (("ing", 6), ("ed", 5), ("es", 5), ("s", 4)):
        if word.endswith(suffix) and len(word) >= least and not word.endswith("ss"):
            return word[: -len(suffix)]
    return word


@dataclass(frozen=True, slots=True)
class Features:
    """What the model multiplies: `dense` of shape (n, 413) and per text the buckets of its words."""

    dense: Floats
    words: tuple[tuple[int, ...], ...]


def extract(texts: Sequence[str], embedder: Embedder, vocabulary: Vocabulary) -> Features:
    """The features of texts, in their order; embeds all of them in one call."""
    masked = [mask_names(clip(text), vocabulary) for text in texts]
    vectors = embedder.embed(masked)
    table = [np.concatenate([vocabulary_features(m, vocabulary), style_features(m)]) for m in masked]
    # Vectors have length one, counts are larger: at one scale the regulariser would favour the counts too much.
    dense = np.hstack([vectors, TABLE_SCALE * np.stack(table)]).astype(np.float32)
    return Features(dense, tuple(tuple(word_features(m)) for m in masked))
