"""Reads a sentence: its clauses, and in each the names, numbers, times, states and quotations that it claims."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from agents.claims.marks import without_marks
from agents.claims.measures import Clock, Measure, blanked, clocks, measures
from agents.claims.states import Said, states
from agents.claims.words import HYPOTHETICAL, IMPERATIVE, KINDS, LEAD_INS, NUMBERED_THINGS, is_english

_MARKER = re.compile(r"^[ \t]*(?:(?:[-*+]|\d{1,4}[.)])[ \t]+|>[ \t]?|#{1,6}[ \t]+)+(?:\[[ xX]\][ \t]+)?")
_CODE = re.compile(r"(`{1,3})([^`\n]{1,400}?)\1(?!`)")
COMMAND = re.compile(
    r"\s*(?:\$ )?(?:sudo )?(?:kubectl|k|oc|helm|kustomize|flux|argocd|istioctl|curl|wget|dig|nslookup"
    r"|docker|crictl|systemctl|journalctl"
    r"|openssl|psql|nc|ping|ssh|az|aws|gcloud|velero|etcdctl|calicoctl|cilium|jq|grep|cat|echo|export)\s+\S"
)
_QUOTE = re.compile(r'(?<![\w=])"([^"\n]{1,600})"(?![\w])|“([^”\n]{1,600})”')
_LINK = re.compile(r"(?<!!)\[([^\]\n]{1,200})\]\((?:https?:)?[^)\s]{1,400}\)")
_TOKEN = re.compile(r"[A-Za-z0-9_$<{][\w./:@=\-+~%$<>{}\[\]]*")
_TRAILING = re.compile(r"(?:'s|’s|[.,:;!?/=\-+%\]>}]+)+$")
_CLAUSE = re.compile(
    r"(?<=[.!?])\s+|[;—–]\s*|,\s+(?:and|but|while|whereas|so|which|who|because|since|as|with|it|its|the"
    r"|that|therefore|yet|although|though|only)\b"
    r"|\s(?:while|whereas|because|although|though|therefore|but|which|so that|hence)\s|:\s",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"^[<{$]|[<>{}]|^(?:xxx+|\.\.\.|NAME|NAMESPACE|POD|POD_NAME)$")
_CAMEL = re.compile(r"^[A-Z]+[a-z0-9]+(?:[A-Z]+[a-z0-9]*)+$|^[A-Z]{2,}[a-z]\w+$")
_FIELD = re.compile(r"^[a-z]+(?:[A-Z][a-z0-9]*)+$")
_FIELD_PATH = re.compile(
    r"^\.?(?:spec|status|metadata|data|rules|subjects|roleRef|template|resources|securityContext)[.\[][\w.\[\]*/\-]*$"
)
_WORDS_WITH_DIGITS = re.compile(
    r"^(?:i\.e|e\.g|a\.k\.a|etc|vs|cf|ipv?[46]|http/?[123](?:\.\d)?|k[38]s|s3|ec2|l[2347]|layer|x86(?:_64)?|arm64|amd64|utf-?8|base64"
    r"|sha256|oauth2|24/7|md5|x509|tls1\.[23]"
    r"|\d+x|\d+(?:st|nd|rd|th)|[45]xx|v1|v1beta1|v2|e\d+|r\d+|p\d\d|rev\d+|i18n|\d+-\w+)$",
    re.IGNORECASE,
)
_BARE_UNIT = re.compile(r"^(?:[KMGTP]i?B?|[KMGTP]i?[Bb]/s|vCPUs?|CPUs?|mCPU)$")
_SLASHED_WORDS = re.compile(r"^[A-Za-z]+(?:/[A-Za-z]+)+$")
_DEFINITE = re.compile(
    r"\b(?:the|this|that|its|their|these|those|it|they|all|both|none|neither|each|every|one|currently|now"
    r"|still|already|here|two|three)\b",
    re.IGNORECASE,
)
_EXPLAINS = re.compile(
    r"^(?:(?:note(?: that)?|remember|in short|in other words|background|for context)[:,]?\s+)?"
    r"(?:an?|any|pods?|containers?|kubernetes|when(?:ever)?|in general|generally|usually|typically"
    r"|by default|normally|often|such|"
    r"that (?:is|means)|this means|it means|note that (?:a|an|kubernetes)|to|for|because (?:a|an))\b"
    r"|\bmeans (?:that )?(?:the|a|an)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Name:
    """A token that names something. `marked_up`: it stands in a code span; `shape`: see `shape_of`."""

    text: str
    start: int
    shape: str = "name"
    marked_up: bool = False


@dataclass
class Clause:
    """A part of a sentence with one subject; positions are those of the whole sentence's text."""

    text: str
    start: int
    advice: bool
    names: list[Name] = field(default_factory=list)
    words: list[Name] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    clocks: list[Clock] = field(default_factory=list)
    states: list[Said] = field(default_factory=list)


@dataclass
class Sentence:
    """A unit of prose as claims. `text` has neither marks nor markup, and a code span's content in its place;
    commands in code spans are in `commands` alone."""

    text: str
    commands: list[str]
    clauses: list[Clause]
    quotes: list[str]
    code: list[str]
    heading: bool
    question: bool
    hypothetical: bool
    explains: bool
    definite: bool  # it speaks of particular things, not of how things are in general


def read(unit: str) -> Sentence:
    """What a unit of prose claims. Linear in its length."""
    body = without_marks(unit)
    heading = bool(re.match(r"[ \t]*#", body))
    body = _MARKER.sub("", body, count=1)
    body = _LINK.sub(r"\1", body)
    quotes = [a or b for a, b in _QUOTE.findall(_CODE.sub(lambda m: " " * len(m[0]), body))]
    commands = [m[2] for m in _CODE.finditer(body) if COMMAND.match(m[2])]
    body = _CODE.sub(lambda m: " command " if COMMAND.match(m[2]) else m[0], body)
    code = [m[2].strip() for m in _CODE.finditer(body)]
    text, spans = _plain(body)
    marked = _Marked(spans)
    clauses = [_clause(text, start, end, marked) for start, end in _cuts(text)]
    bare = text.strip()
    advice = bool(clauses) and all(c.advice for c in clauses)
    explains = bool(_EXPLAINS.search(bare))
    return Sentence(
        text=text,
        commands=commands,
        clauses=clauses,
        quotes=[q for q in quotes if q.strip(" .…")],
        code=code,
        heading=heading or bare.endswith(":"),
        question=bare.endswith("?"),
        hypothetical=advice or bool(HYPOTHETICAL.search(bare)),
        explains=explains,
        definite=not explains and bool(_DEFINITE.search(bare)),
    )


class _Marked:
    """Which positions of a text stand in code spans."""

    def __init__(self, spans: list[tuple[int, int]]) -> None:
        self._spans = spans
        self._at = 0

    def __contains__(self, position: int) -> bool:
        while self._at < len(self._spans) and self._spans[self._at][1] <= position:
            self._at += 1
        return self._at < len(self._spans) and self._spans[self._at][0] <= position


def _plain(body: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without markup, and where code spans stand in it."""
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    length = last = 0
    for found in _CODE.finditer(body):
        before = _unemphasised(body[last : found.start()])
        parts += [before, found[2]]
        length += len(before)
        spans.append((length, length + len(found[2])))
        length += len(found[2])
        last = found.end()
    parts.append(_unemphasised(body[last:]))
    return "".join(parts), spans


def _unemphasised(text: str) -> str:
    return re.sub(r"(?<!\w)_(?=\w)|(?<=\w)_(?!\w)", "", text.replace("*", "").replace("|", " ; ")).replace("\n", " ")


def _cuts(text: str) -> Iterator[tuple[int, int]]:
    last = 0
    for found in _CLAUSE.finditer(text):
        if found.start() - last < 3:
            continue
        yield last, found.start()
        last = found.start()
    yield last, len(text)


def _clause(text: str, start: int, end: int, marked: _Marked) -> Clause:
    part = text[start:end]
    stripped = part.lstrip(" ,;:—–.")
    bare = LEAD_INS.sub("", stripped)
    found = re.match(r"[A-Za-z-]+", bare)
    first = found[0] if found else ""
    modal = bare != stripped and bool(
        re.match(r"(?:you|we|i|one|it|they)\b|.*\b(?:should|would|could|can)\b", stripped[:60], re.I)
    )
    advice = first.lower() in IMPERATIVE and (bare != stripped or first[0].isupper() or modal)
    clause = Clause(part, start, advice)
    clause.clocks = list(clocks(part))
    rest = blanked(part, [(c.start, c.end) for c in clause.clocks])
    taken: list[tuple[int, int]] = []
    for token in _TOKEN.finditer(rest):
        raw = _TRAILING.sub("", token[0])
        if not raw:
            continue
        inside = (start + token.start()) in marked
        shape = shape_of(raw, inside)
        if shape:
            clause.names.append(Name(raw, start + token.start(), shape, inside))
            if shape != "word":
                taken.append((token.start(), token.start() + len(raw)))
        elif raw.isascii() and raw.replace("-", "").isalpha():
            clause.words.append(Name(raw, start + token.start(), "word", inside))
    clause.measures = [m for m in measures(blanked(rest, taken)) if not _is_discourse(rest, m)]
    clause.states = list(states(part))
    return clause


def _is_discourse(text: str, measure: Measure) -> bool:
    """Whether a number counts the text's own things: "two ways", "step 3"."""
    after = re.match(r"[\s*_]*(?:\w+\s+)?([a-z]+)", text[measure.end :], re.I)
    near = re.match(r"[\s*_]*([a-z]+)", text[measure.end :], re.I)
    if any(m and m[1].lower() in NUMBERED_THINGS - {"of"} for m in (near, after)):
        return True
    return bool(
        re.search(
            r"(?:step|option|point|item|number|phase|layer|variant|part)\s$",
            text[max(0, measure.start - 10) : measure.start],
            re.I,
        )
    )


def shape_of(token: str, marked_up: bool) -> str:
    """ "name", "camel", "field", "path" for a token in a name's shape; "" for a word or a number."""
    if (
        _PLACEHOLDER.search(token)
        or _BARE_UNIT.match(token)
        or token.lower() in KINDS
        or _WORDS_WITH_DIGITS.match(token)
    ):
        return ""
    if _FIELD_PATH.match(token):
        return "field"
    if _CAMEL.match(token):
        return "camel"
    if _FIELD.match(token):
        return "field"
    if token.isalpha():
        return ""
    if token.isdigit() or (
        token[0].isdigit() and not re.search(r"[A-Za-z]{2}.*\d|\d[A-Za-z]+\d|-[a-z]|\.\d+\.|:\d", token)
    ):
        return ""
    if re.fullmatch(r"\d+(?:\.\d+)?[A-Za-z%]{0,3}(?:/\d+(?:\.\d+)?[A-Za-z%]{0,3})?", token):
        return ""
    if measures(token, words=False) and re.fullmatch(r"[\d.,/x]+-?[A-Za-z]*", token):
        return ""
    if _SLASHED_WORDS.match(token) and not marked_up:
        return "pair"
    if "-" in token and not marked_up and re.fullmatch(r"[A-Za-z0-9]+(?:-[A-Za-z]+)+", token) and is_english(token):
        return ""
    if token.endswith("-") or re.fullmatch(r"[A-Z][a-z]+(?:-[a-z]+)+", token):
        return "" if not marked_up else "name"
    return "name"
