"""Judges the names of a sentence: are they in the cited evidence, of the right kind, in the right namespace."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise

from agents.claims.cited import Cited, Question, stands_in
from agents.claims.facts import Facts, flat, pieces, stems
from agents.claims.remarks import code
from agents.claims.sentences import Clause, Name, Sentence
from agents.claims.states import states
from agents.claims.words import ADJECTIVAL, ENUM_VALUES, GENERIC, KINDS, NAME_NEIGHBOURS, POD_MAKERS, words
from agents.evidence import ObjectRef

_NAMESPACE = re.compile(
    r"\b[Nn]amespaces?\s+(?:named\s+|called\s+)?`?([a-z0-9][a-z0-9-]*)\b"
    r"|(?<![\w-])([a-z0-9][a-z0-9-]{0,62})`?\s+namespace\b"
)
_NO_NAMESPACE = words(
    """
of is has itself the that and with in same other this another whole entire own its their target right wrong each
every any which where label labels selector level scope quota does do are was were or to for from on they it there
but because so name names called named single separate different dedicated a an new old one two both all no
selectors wide lists list only carries may can must should whose your our you policy policies also does allows
blocks still given affected
"""
)
_NEAR_PLACE = re.compile(
    r"[\s`(,]*(?:(?:is|are|was|lives?|belongs?|sits?|stands?)\s+)?(?:to\s+)?"
    r"(?:(?:in|of|from|inside|within)\s+)?(?:the\s+)?(?:namespace\s+)?[`\s]*"
)
_THE_WORKLOAD = re.compile(r"\b[Tt]he (Deployment|StatefulSet|DaemonSet|CronJob)\b")
# Kinds whose lower-case words are ordinary English: "the checkout service" need not be a Service.
_LOOSE_KINDS = frozenset(
    ("Service", "Job", "Node", "Role", "Secret", "Gateway", "Certificate", "Endpoints", "Namespace", "Pod")
)


_PLACE_WORDS = frozenset(("in", "inside", "within", "from"))
_SUBJECT_VERBS = frozenset(("is", "has", "was", "runs", "uses", "fails", "selects", "cannot", "restarted", "stays"))
# Names that namespaces bear everywhere: claimed of a cluster, they have to be there.
_ENVIRONMENTS = frozenset(("staging", "production", "prod", "preprod", "dev", "qa", "uat", "sandbox"))
_NOT_THERE = re.compile(
    r"\b(?:not|never|n't|n’t|no|nor|without|neither)\s+(?:\w+\s+){0,2}(?:mention|let|includ|list|contain|select"
    r"|nam|allow|admit|cover|match|have|defin|set|"
    r"tolerat|referenc|know|point|permit|grant|carr|target|us|in|for|from|on)\w*\b",
    re.IGNORECASE,
)


class Known:
    """Every name of the cluster and of the conversation: which kinds and namespaces it is known in."""

    def __init__(self, refs: Iterable[ObjectRef]) -> None:
        self.kinds: defaultdict[str, set[str]] = defaultdict(set)
        self.spaces: defaultdict[str, set[str]] = defaultdict(set)
        self.namespaces: set[str] = set()
        self.names: set[str] = set()
        for ref in refs:
            self.add(ref)

    def add(self, ref: ObjectRef) -> None:
        low = ref.name.lower()
        self.kinds[low].add(ref.kind)
        if ref.namespace:
            self.spaces[low].add(ref.namespace.lower())
            self.namespaces.add(ref.namespace.lower())
            self.names.add(ref.namespace.lower())
        if ref.kind == "Namespace":
            self.namespaces.add(low)
        self.names.add(low)
        if ref.kind in POD_MAKERS:
            for stem in stems(low):
                self.names.add(stem)
                self.spaces[stem].add(ref.namespace.lower())

    def has(self, name: str) -> bool:
        """Whether an object or namespace, or each part of a composed name, is known."""
        low = name.lower()
        return low in self.names or (
            all(p in self.names or p in KINDS for p in pieces(low) if p != low and "." not in p) and ("/" in low)
        )


def claimed_names(clause: Clause, known: Known) -> Iterator[Name]:
    """The names that a clause claims: tokens in a name's shape, and plain words that the cluster has as names."""
    for name in clause.names:
        if name.shape == "pair" and not any(part.lower() in known.names for part in name.text.split("/")):
            continue  # "CPU/memory", "and/or"
        yield name
    for word in clause.words:
        low = word.text.lower()
        if word.text in ENUM_VALUES and (
            word.marked_up or (word.start > 0 and clause.text[: word.start - clause.start].strip())
        ):
            yield Name(word.text, word.start, "camel", word.marked_up)
        if low in _ENVIRONMENTS and _after_place(clause, word):
            yield word
        if low not in known.names or (low in KINDS and low != "gateway"):
            continue
        if low not in GENERIC or word.marked_up or _in_names_place(clause, word, known):
            yield word


def _after_place(clause: Clause, word: Name) -> bool:
    at = word.start - clause.start
    return bool(re.search(r"\b(?:in|from|inside|within)\s+`?$", clause.text[max(0, at - 12) : at]))


def _in_names_place(clause: Clause, word: Name, known: Known) -> bool:
    """Whether a word that is English as well stands where a name does: beside a kind, as a namespace, or as the
    subject in lower case at the very beginning."""
    low = word.text.lower()
    at = word.start - clause.start
    before = re.findall(r"[A-Za-z]+", clause.text[max(0, at - 40) : at])[-1:]
    after = re.match(r"[\s`]*([A-Za-z]+)", clause.text[at + len(word.text) : at + len(word.text) + 40])
    neighbours = [*before, *([after[1]] if after else [])]
    kinds = [KINDS.get(n.lower(), n.lower()) for n in neighbours]
    if "Namespace" in kinds or any(n.lower() in ("named", "called") for n in before):
        return True
    if low in known.namespaces and not after and any(n.lower() in _PLACE_WORDS for n in before):
        return True
    if low in ADJECTIVAL:
        return "account" in kinds or "ServiceAccount" in kinds
    if not word.start and word.text.islower() and after is not None and after[1] in _SUBJECT_VERBS:
        return True
    return any(n.lower() in NAME_NEIGHBOURS for n in neighbours)


def judge_names(sentence: Sentence, cited: Cited, known: Known) -> str:
    """Why the names of a sentence are not backed, "" when they are."""
    for clause in sentence.clauses:
        for name in claimed_names(clause, known):
            reason = _judge(name, clause, cited, known)
            if reason:
                return reason
        reason = (
            _wrong_kind(clause, cited, known)
            or _other_workload(clause, cited)
            or _wrong_namespace(clause, cited, known)
        )
        if reason:
            return reason
    return _beside_the_point(sentence, cited, known)


def _judge(name: Name, clause: Clause, cited: Cited, known: Known) -> str:
    if clause.advice:
        found = cited.backs_name(name.text) or known.has(name.text) or name.shape in ("camel", "field", "pair")
        return "" if found or not _object_like(name.text) else f"nothing that was seen has the name {code(name.text)}"
    if name.shape == "camel" and (name.text.lower() in KINDS or any(True for _ in states(name.text))):
        return ""
    if name.shape == "field" and any(_field_in(name.text, f) for f in cited.facts):
        return ""
    if name.shape == "camel" and any(name.text.lower() in f.text.replace(" ", "") for f in cited.facts):
        return ""
    if not cited.backs_name(name.text):
        if said_to_be_missing(name.text, clause.text, known):
            return ""
        return f"{code(name.text)} is neither in the cited evidence nor in the question"
    parts = name.text.lower().split("/")
    if len(parts) == 2 and parts[0] in known.namespaces and known.spaces.get(parts[1]):
        stated = any(stands_in(f.text, name.text.lower()) for f in cited.facts)
        if parts[0] not in known.spaces[parts[1]] and not stated:
            return f"{code(parts[1])} was not seen in namespace {code(parts[0])}"
    return ""


def said_to_be_missing(name: str, text: str, known: Known) -> bool:
    """Whether a text says of a known name that something does not list it: then the evidence cannot have it."""
    at = text.find(name)
    return at >= 0 and known.has(name) and bool(_NOT_THERE.search(text[max(0, at - 60) : at]))


def _object_like(name: str) -> bool:
    """Whether a name in advice must be one of an object that exists (not a version, image, value or field)."""
    return bool(re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)+", name))


def _field_in(field: str, facts: Facts) -> bool:
    low = field.lower().strip(".")
    last = re.sub(r"\[\w*\]", "", low).rsplit(".", 1)[-1]
    return low in facts.text or last in facts.names or stands_in(facts.text, last) or last in facts.text


def _wrong_kind(clause: Clause, cited: Cited, known: Known) -> str:
    """A kind beside a name of which no such object is known, or of which the evidence does not speak."""
    if clause.advice:
        return ""
    tokens = list(re.finditer(r"[A-Za-z0-9][\w.\-/]*", clause.text))
    for left, right in pairwise(tokens):
        if clause.text[left.end() : right.start()].strip(" `"):
            continue
        first, second = left[0], right[0]
        for kind_word, name in ((first, second), (second, first)):
            kind = KINDS.get(kind_word.lower(), "Namespace")
            kinds = known.kinds.get(name.lower().rstrip("."))
            if kind == "Namespace" or not kinds or name.lower() in KINDS or name.lower() in ADJECTIVAL:
                continue
            loose = kind in _LOOSE_KINDS and kind_word[0].islower()
            if name.lower() in GENERIC and loose:
                continue
            reason = _judge_kind(kind, name.rstrip("."), kinds, loose, cited)
            if reason:
                return reason
    return ""


def _other_workload(clause: Clause, cited: Cited) -> str:
    """ "the StatefulSet", where the evidence is about a Deployment and nothing in it speaks of a StatefulSet."""
    if clause.advice:
        return ""
    kinds = {f.evidence.object.kind for f in cited.facts} & (POD_MAKERS - {"Pod", "ReplicaSet"})
    for found in _THE_WORKLOAD.finditer(clause.text):
        kind = KINDS[found[1].lower()]
        low = kind.lower()
        if not kinds or kind in kinds or low in cited.question.names or any(low in f.text for f in cited.facts):
            continue
        return f"the cited evidence is about a {' and a '.join(sorted(kinds))}, not a {kind}"
    return ""


def _judge_kind(kind: str, name: str, kinds: set[str], loose: bool, cited: Cited) -> str:
    low = kind.lower()
    if any(f.evidence.object.kind == kind or low in f.names for f in cited.facts) or low in cited.question.names:
        return ""
    makers = kind in POD_MAKERS and any(
        f.evidence.object.kind in POD_MAKERS and name.lower() in f.own_names for f in cited.facts
    )
    if makers and (kind in kinds or kind == "Pod"):
        return ""
    if loose and (kind == "Pod" or kind not in kinds):
        return ""
    if kind not in kinds:
        return f"{code(name)} is a {' and a '.join(sorted(kinds))}, not a {kind}"
    return f"the cited evidence is not about the {kind} {code(name)}"


def _wrong_namespace(clause: Clause, cited: Cited, known: Known) -> str:
    for found in _NAMESPACE.finditer(clause.text):
        space = (found[1] or found[2]).lower()
        if space in _NO_NAMESPACE or (found[2] and not found[1] and clause.text[found.end() :].startswith("s")):
            continue
        if clause.advice and (space in known.namespaces or not known.namespaces):
            continue
        seen = any(space == f.evidence.object.namespace.lower() or space in f.names for f in cited.facts)
        if not seen and space not in cited.question.names and not said_to_be_missing(space, clause.text, known):
            return f"the cited evidence is not from namespace {code(space)}"
    return _name_in_other_namespace(clause, known)


def _name_in_other_namespace(clause: Clause, known: Known) -> str:
    """ "X in Y", where X is only known in other namespaces."""
    tokens = list(re.finditer(r"[A-Za-z0-9][\w.\-]*", clause.text))
    for number, token in enumerate(tokens):
        space = token[0].lower().rstrip(".")
        if space not in known.namespaces:
            continue
        for earlier in tokens[max(0, number - 6) : number]:
            name = earlier[0].lower().rstrip(".")
            between = clause.text[earlier.end() : token.start()]
            if (
                not known.spaces.get(name)
                or name == space
                or not _NEAR_PLACE.fullmatch(between)
                or not re.search(r"\b(?:in|of|from|inside|within|namespace)\b", between)
            ):
                continue
            if space not in known.spaces[name]:
                return f"{code(earlier[0])} was not seen in namespace {code(space)}"
    return ""


def _beside_the_point(sentence: Sentence, cited: Cited, known: Known) -> str:
    """The question's names alone, with a number or a state that the evidence shows of something else."""
    if sentence.hypothetical or sentence.heading:
        return ""
    names = [
        n.text
        for c in sentence.clauses
        if not c.advice
        for n in claimed_names(c, known)
        if n.shape in ("name", "word") and n.text.lower() in known.names
    ]
    claims = any(c.measures or c.states for c in sentence.clauses)
    if not names or not claims or any(cited.names_it(n) for n in names):
        return ""
    return f"the cited evidence is not about {code(names[0])}"


def unknown_name(text: str, cited: Cited, known: Known) -> bool:
    """Whether nothing seen, asked or known has this name."""
    return not (cited.backs_name(text) or known.has(text))


__all__ = ["Known", "Question", "claimed_names", "flat", "judge_names", "unknown_name"]
