"""Decides who answers: the words of a question, its scope, the findings and the conversation, as one score per domain.

Promise: the same input gives the same `Route`; scores sum to 1; at least one and at most three domains are consulted;
`reason` is a sentence for the user. No model is asked. A wrong route costs tone, never the cause: every analyzer has
run already. Fails only as its parts do (`EmbeddingModelUnavailable`, `RoutingModelUnavailable`, at load).

The trained part knows single questions. What it cannot know (who is talking, what was found) enters as log-odds added
to its output, in `Priors`, each with its reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.evidence import Domain
from agents.routing.features import DOMAINS, Vocabulary, clip, extract, load_vocabulary, mask_names
from agents.routing.model import MODEL_FILE, RoutingModel, softmax
from agents.routing.reasons import Grounds, sentence
from assistant.models.embeddings import Embedder, MiniLMEmbedder

Row = NDArray[np.float64]

# At and above this score one specialist is enough. On held-out texts nine in ten such routes are right.
CONFIDENT = 0.6
# Below it the next one joins when it is at least this likely compared with the first; otherwise it only adds noise.
# A third voice is for a tie between the second and the third.
SECOND_SHARE, THIRD_SHARE = 0.35, 0.8
# A clause of a double question must stand on its own to bring in its own specialist.
CLAUSE_CONFIDENT = 0.5
# Longer texts are reports and pasted logs: their sentences are not questions of their own.
COMPOUND_MAX_CHARACTERS = 400

_SPLIT = re.compile(
    r"[?!.;]\s+|,?\s+(?:and|but|also|plus)\s+(?:also\s+|then\s+)?"
    r"(?=(?:why|is|are|how|what|does|do|did|can|which|who|when|where|show|check|tell|list)\b)|"
    r",\s*(?=(?:why|how|what|which|who)\b)",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"^(?:and |but |also |please )*(?:why|is|are|how|what|does|do|did|can|which|who|when|where|show|check|tell|list)\b",
    re.IGNORECASE,
)
_ELLIPTICAL = re.compile(
    r"^(?:and|but|what about|how about|so|then|why|which one|since when|ok|yes|no)\b", re.IGNORECASE
)
_REFERS = re.compile(r"\b(?:it|its|it's|that|this|those|these|they|their|them|there|same|other|one)\b", re.IGNORECASE)
_ELLIPTICAL_WORDS = 7

_INDEX: Mapping[Domain, int] = {domain: i for i, domain in enumerate(DOMAINS)}


@dataclass(frozen=True, slots=True)
class Priors:
    """Log-odds added to the trained output; 1.1 triples the odds, 4.6 makes them a hundredfold."""

    # "What is wrong with X?" is certain to be about trouble, but its words say nothing about the subsystem: its odds
    # are first cut to this, then what was found decides. All findings of one domain: it leads (4.5 + 2 - 5); half of
    # them: both are consulted.
    vague_certainty: float = 5.0
    vague_troubleshooting: float = -2.0
    findings_vague: float = 4.5
    # A question that names its subject keeps it: this turns a route only where two domains are nearly even.
    findings_clear: float = 0.7
    # A named claim, ingress or secret makes the question one about that subsystem, unless its words say another.
    scope_kind: float = 1.5
    # A conversation goes on with who is talking when the words leave it open; a clear change (odds above 3) does not.
    current: float = 1.2
    # "and its logs?", "what about the other namespace?": so few words are never certain of a change.
    elliptical_certainty: float = 4.0
    current_elliptical: float = 3.0
    # Any specialist shows logs, explains a failure or says thanks: in a short follow-up these change no subject.
    elliptical_no_subject: float = -2.5


# The domains whose words any specialist can answer to in the course of a conversation.
_NO_SUBJECT = (Domain.MONITORING, Domain.TROUBLESHOOTING, Domain.GENERAL)


@dataclass(frozen=True, slots=True)
class Route:
    """Who is consulted (most likely first), the score of every domain (sum 1), and why, in one sentence."""

    domains: tuple[Domain, ...]
    scores: Mapping[Domain, float]
    reason: str


class Router:
    """Routes questions; safe to share between threads. Blocks for about 3 ms a question (embedding)."""

    def __init__(
        self,
        embedder: Embedder,
        model: RoutingModel,
        *,
        vocabulary: Vocabulary | None = None,
        priors: Priors | None = None,
    ) -> None:
        self._embedder = embedder
        self._model = model
        self._vocabulary = vocabulary or load_vocabulary()
        self._priors = priors or Priors()

    @classmethod
    def load(cls, embedder: Embedder | None = None, path: Path = MODEL_FILE) -> Router:
        """The shipped router, by default with an embedder of its own; raises `RoutingModelUnavailable`.

        The embedding model itself loads at the first question (0.2 s).
        """
        return cls(embedder or MiniLMEmbedder(), RoutingModel.load(path))

    def route(
        self,
        text: str,
        *,
        finding_domains: Sequence[Domain] = (),
        scope_kinds: Sequence[str] = (),
        current: Domain | None = None,
        forced: Domain | None = None,
    ) -> Route:
        """Route one question.

        `finding_domains`: the domain of each finding in scope; `scope_kinds`: kinds of the objects in scope;
        `current`: who is talking, None in a new conversation; `forced`: the domain that the user chose.
        """
        (base,) = self._logits([text])
        logits, grounds = self._with_priors(base, text, finding_domains, scope_kinds, current)
        scores = softmax(logits)
        parts = self._parts(text)
        if parts:
            scores = (scores + np.mean([part for _, part in parts], axis=0)) / 2
        domains = (forced,) if forced else _consulted(scores, [domain for domain, _ in parts])
        if forced is None and domains[0] is current and not parts:
            # Whoever is talking and still leads needs no second voice in the middle of a conversation.
            domains = (current,)
        grounds = grounds.named(forced=forced, several=len({domain for domain, _ in parts}) > 1)
        return _route(domains, scores, sentence(domains, grounds))

    def route_many(self, texts: Sequence[str]) -> list[Route]:
        """Route questions that stand alone, embedding all of them together."""
        if not texts:
            return []
        plain = [softmax(row) for row in self._logits(list(texts))]
        routes: list[Route] = []
        for text, scores in zip(texts, plain, strict=True):
            parts = self._parts(text)
            if parts:
                scores = (scores + np.mean([part for _, part in parts], axis=0)) / 2
            domains = _consulted(scores, [domain for domain, _ in parts])
            grounds = Grounds(self._mentions(text), several=len({domain for domain, _ in parts}) > 1)
            routes.append(_route(domains, scores, sentence(domains, grounds)))
        return routes

    def _logits(self, texts: list[str]) -> Row:
        return self._model.logits(extract(texts, self._embedder, self._vocabulary))

    def _parts(self, text: str) -> list[tuple[Domain, Row]]:
        """Domain and scores of each clause of a question that plainly asks two things; empty for any other."""
        if len(text) > COMPOUND_MAX_CHARACTERS:
            return []
        clauses = [clause.strip() for clause in _SPLIT.split(text) if clause and clause.strip()]
        if len(clauses) < 2 or not all(_ASKS.match(clause) and len(clause.split()) >= 3 for clause in clauses):
            return []
        sure: list[tuple[Domain, Row]] = []
        for row in softmax(self._logits(clauses)):
            domain = DOMAINS[int(row.argmax())]
            if row.max() >= CLAUSE_CONFIDENT and domain is not Domain.GENERAL:
                sure.append((domain, row))
        # "How do I debug this and what does it mean?": a trouble and its subsystem are one question, not two.
        subjects = {domain for domain, _ in sure if domain is not Domain.TROUBLESHOOTING}
        return sure if len(subjects) > 1 else []

    def _with_priors(
        self,
        base: Row,
        text: str,
        finding_domains: Sequence[Domain],
        scope_kinds: Sequence[str],
        current: Domain | None,
    ) -> tuple[Row, Grounds]:
        priors, logits = self._priors, base.copy()
        mentions = self._mentions(text)
        vague = self._is_vague(base, mentions)
        found = Counter(finding_domains)
        if found and vague:
            logits = np.maximum(logits, logits.max() - priors.vague_certainty)
        if found:
            strength = priors.findings_vague if vague else priors.findings_clear
            for domain, count in found.items():
                logits[_INDEX[domain]] += strength * count / found.total()
            if vague:
                logits[_INDEX[Domain.TROUBLESHOOTING]] += priors.vague_troubleshooting
        kinds = {self._vocabulary.kinds[kind] for kind in scope_kinds if kind in self._vocabulary.kinds}
        for domain in kinds:
            logits[_INDEX[domain]] += priors.scope_kind / len(kinds)
        if current is not None:
            logits = self._with_current(logits, current, elliptical=is_elliptical(text))
        leading = found.most_common(1)[0][0] if found else None
        return logits, Grounds(mentions, findings=leading, kinds=frozenset(kinds), current=current)

    def _with_current(self, logits: Row, current: Domain, *, elliptical: bool) -> Row:
        priors = self._priors
        if not elliptical:
            logits[_INDEX[current]] += priors.current
            return logits
        logits = np.maximum(logits, logits.max() - priors.elliptical_certainty)
        for domain in _NO_SUBJECT:
            logits[_INDEX[domain]] += priors.elliptical_no_subject if domain is not current else 0.0
        logits[_INDEX[current]] += priors.current_elliptical
        return logits

    def _is_vague(self, base: Row, mentions: Mapping[Domain, tuple[str, ...]]) -> bool:
        """Whether the words say that something is wrong but not with which subsystem."""
        top = DOMAINS[int(base.argmax())]
        return top in (Domain.TROUBLESHOOTING, Domain.GENERAL) and not (set(mentions) - {top, Domain.TROUBLESHOOTING})

    def _mentions(self, text: str) -> dict[Domain, tuple[str, ...]]:
        """Per domain the strong terms of the vocabulary that the text holds, as they stand in it."""
        said: dict[Domain, dict[str, None]] = {}
        masked = mask_names(clip(text), self._vocabulary)
        for term, start, end in self._vocabulary.spans(masked):
            for domain in self._vocabulary.domains_of(term)[0]:
                said.setdefault(domain, {}).setdefault(masked[start:end])
        return {domain: tuple(words) for domain, words in said.items()}


def is_elliptical(text: str) -> bool:
    """Whether a text leans on what was said before: a few words that begin with a link or point back."""
    return len(text.split()) <= _ELLIPTICAL_WORDS and bool(_ELLIPTICAL.match(text.strip()) or _REFERS.search(text))


def _consulted(scores: Row, asked: Sequence[Domain]) -> tuple[Domain, ...]:
    """One when sure, the next ones where they are nearly as likely, and every domain that a clause asked for."""
    order = [DOMAINS[i] for i in np.argsort(-scores, kind="stable")]
    chosen = [order[0]]
    if asked:
        wanted = set(asked)
        # Two subjects were asked for: what only the mixture suggests ("trouble") would be a third voice.
        return tuple(domain for domain in order if domain in wanted)[:3]
    top, second, third = (float(scores[_INDEX[domain]]) for domain in order[:3])
    if top < CONFIDENT and second >= SECOND_SHARE * top:
        chosen.append(order[1])
        if third >= THIRD_SHARE * second and third >= SECOND_SHARE * top:
            chosen.append(order[2])
    # The generalist has nothing to add to a specialist.
    return tuple(domain for domain in chosen if domain is not Domain.GENERAL or chosen[0] is Domain.GENERAL)


def _route(domains: tuple[Domain, ...], scores: Row, reason: str) -> Route:
    return Route(domains, {domain: float(scores[i]) for i, domain in enumerate(DOMAINS)}, reason)
