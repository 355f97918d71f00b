"""Judges the numbers, times and states of a sentence against the evidence that it cites."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agents.claims.cited import Cited
from agents.claims.facts import Facts
from agents.claims.measures import PLAIN, Measure, agrees
from agents.claims.remarks import code
from agents.claims.sentences import Clause, Sentence
from agents.claims.states import NO, YES, Said

# What a number is said to be (the words before, the words behind) -> the keys under which the evidence has it.
_ROLE_ROWS = (
    (r"", r"^\s*(?:restarts?\b|times? restarted)", r"restartcount"),
    (r"restart(?:ed|s|ing)?(?: count)?(?: of| is|:|=| already| so far)?\s*$", r"", r"restartcount"),
    (r"exit(?:ed|s)? (?:status |with )?(?:code )?(?:of |is |was |=|:)?\s*$", r"", r"exitcode"),
    (r"forwards?(?: \w+){0,3} to (?:port )?\s*$", r"", r"targetport"),
    (r"target ?port (?:is |of |=|:)?\s*$", r"", r"targetport"),
    (r"(?:peak(?:ed|s)?|maximum)(?: at| of| was| is|:)?\s*$", r"", r"peak"),
    (
        r"",
        r"^\s*(?:(?:of|out of) (?:the )?(?:\w+ )?\w+ )?(?:replicas?|pods?)?\s*(?:is |are |was |were )?unavailable\b",
        r"unavailable",
    ),
    (
        r"",
        r"^\s*(?:(?:of|out of|/) ?(?:the )?\w+ )?(?:replicas?|pods?|of them)?\s*(?:is |are |was |were )?available\b",
        r"\bavailablereplicas|numberavailable",
    ),
    (
        r"",
        r"^\s*(?:(?:of|out of|/) ?(?:the )?\w+ )?(?:replicas?|pods?|of them)?\s*(?:is |are |was |were )?ready\b",
        r"readyreplicas|numberready",
    ),
    (r"limit(?:ed)?(?: of| to| is| at|:|=)?(?: only)?\s*$", r"^\s*(?:memory |cpu )?limit\b", r"limits?\b"),
    (r"request(?:s|ed)?(?: of| is| for|:|=)?(?: only)?\s*$", r"", r"requests?\b"),
)
_ROLES = tuple(
    (re.compile(before, re.I) if before else None, re.compile(behind, re.I) if behind else None, re.compile(keys))
    for before, behind, keys in _ROLE_ROWS
)
_WHOLE = re.compile(r"(?:/|\bof|\bout of)\s*(?:the |its |all )?$", re.IGNORECASE)
_RATIO = re.compile(r"\s*(?:[a-z]+ ){0,3}(?:/|of|out of)\s*(?:[a-z]+ ){0,2}", re.IGNORECASE)
_SHARE = re.compile(
    r"(?<![\w.\-])(?:\d+|zero|one|two|three|four|five|six|seven|eight|nine|ten)\s*(?:(?:/|of"
    r"|out of)\s*(?:the |its )?\w+\s+)?"
    r"(?:\w+\s+){0,2}(?:is |are |was |were )?$",
    re.IGNORECASE,
)
_SUBORDINATE = re.compile(
    r"\b(?:until|when|whenever|if|once|unless|before|as soon as|as long as|in case|to (?:be|become|get)"
    r"|has to be|have to be)\b[^,;]*$",
    re.IGNORECASE,
)
_ALL = re.compile(r"\b(?:all|both|every|each)\b", re.IGNORECASE)
_NONE = re.compile(r"\b(?:none|neither|no|nothing)\b", re.IGNORECASE)
_COPULA = re.compile(
    r"\b(?:is|are|was|were|been|be|looks?|remains?|stays?|keeps?|[a-z]+'s)\s+(?:\w+\s+){0,2}$", re.IGNORECASE
)
_TRUTH = re.compile(r"\b(true|false|unknown)\b", re.IGNORECASE)
# Families in which a claim needs evidence that speaks of them; in the others only a contradiction counts.
_OWED = frozenset(("ready", "bound", "firing", "suspend", "privilege", "phase"))
_OWED_VALUES = frozenset((YES, NO, "running", "pending", "succeeded", "terminating"))
_SAME = {
    ("phase", "crashing"): {"crashing", "oom", "failed"},
    ("phase", "failed"): {"failed", "crashing", "oom", "image", "config", "evicted"},
    ("phase", "running"): {"running"},
}


def about(clause: Clause, cited: Cited) -> Sequence[Facts]:
    """Of several pieces of evidence those about what the clause names; all of them when it names nothing of theirs."""
    if len(cited.facts) < 2:
        return cited.facts
    tokens = {t.text.lower() for t in (*clause.names, *clause.words)}
    tokens |= {part for token in list(tokens) if "/" in token for part in token.split("/")}
    own = [f for f in cited.facts if f.own_names & tokens]
    exact = [f for f in own if f.evidence.object.name.lower() in tokens]
    return exact if exact and len(exact) == len(own) else own or cited.facts


def judge_measures(sentence: Sentence, cited: Cited) -> str:
    """Why a number or time of a sentence is not backed, "" when all are."""
    for clause in sentence.clauses:
        previous: Measure | None = None
        for measure in sorted(clause.measures, key=lambda m: m.start):
            if clause.advice and not _is_from(clause, measure):
                continue
            reason = _judge_measure(measure, clause, cited, sentence)
            if not reason and previous is not None:
                reason = _judge_ratio(previous, measure, clause, cited)
            if reason:
                return reason
            previous = measure
        for clock in clause.clocks:
            if not clause.advice and not cited.backs_clock(clock):
                return f"the time {code(clock.text)} is not in the cited evidence"
    return ""


def _is_from(clause: Clause, measure: Measure) -> bool:
    """In advice the old value is a claim, the new one a proposal: "raise it from 256Mi to 512Mi"."""
    return bool(
        re.search(
            r"\b(?:from|currently|instead of|now at)\s+(?:the\s+)?$",
            clause.text[max(0, measure.start - 30) : measure.start],
            re.I,
        )
    )


def _judge_measure(measure: Measure, clause: Clause, cited: Cited, sentence: Sentence) -> str:
    if (
        measure.spelled
        and any(v == 2.0 for v, of in measure.readings if of == PLAIN)
        and _names_two(measure, clause, sentence)
    ):
        return ""
    before = clause.text[max(0, measure.start - 40) : measure.start]
    behind = clause.text[measure.end : measure.end + 60]
    for left, right, keys in _ROLES:
        # "of two replicas is available": what is available is the number before the "of".
        if not ((left and left.search(before)) or (right and right.match(behind) and not _WHOLE.search(before))):
            continue
        under = cited.numbers_under(keys)
        if under and not any(agrees(measure, n.value, n.dimension) for n in under):
            return f"the cited evidence has another number there than {code(measure.text)}"
    if not cited.backs_measure(measure):
        return f"{code(measure.text)} is neither in the cited evidence nor in the question"
    return _of_another(measure, clause, cited)


def _names_two(measure: Measure, clause: Clause, sentence: Sentence) -> bool:
    """ "both a and b": the two are named."""
    names = {n.text.lower() for c in sentence.clauses for n in c.names}
    return measure.text.lower() == "both" and len(names) >= 2


def _of_another(measure: Measure, clause: Clause, cited: Cited) -> str:
    """A number that stands in another object's evidence under a key that this object's evidence has as well."""
    own = about(clause, cited)
    if len(own) == len(cited.facts) or any(agrees(measure, n.value, n.dimension) for f in own for n in f.numbers):
        return ""
    keys = {n.key for f in cited.facts if f not in own for n in f.numbers if agrees(measure, n.value, n.dimension)}
    keys -= {"", "#"}
    if keys and keys <= {n.key for f in own for n in f.numbers}:
        return f"{code(measure.text)} is another object's number in the cited evidence"
    return ""


def _judge_ratio(part: Measure, whole: Measure, clause: Clause, cited: Cited) -> str:
    """ "6 of 20": both numbers have to belong together, under one key or in one object of the evidence."""
    if not _RATIO.fullmatch(clause.text[part.end : whole.start]):
        return ""
    for facts in cited.facts:
        parts = [n for n in facts.numbers if agrees(part, n.value, n.dimension)]
        wholes = [n for n in facts.numbers if agrees(whole, n.value, n.dimension)]
        for a in parts:
            for b in wholes:
                if not a.key or not b.key or a.parent == b.parent or a.key == b.key:
                    return ""
    separate = any(
        agrees(part, a.value, a.dimension) and agrees(whole, b.value, b.dimension)
        for one in cited.facts
        for other in cited.facts
        if one is not other
        for a in one.numbers
        for b in other.numbers
    )
    if separate or not any(agrees(part, n.value, n.dimension) for f in cited.facts for n in f.numbers):
        return ""
    return f"{code(clause.text[part.start : whole.end])} puts numbers together that the cited evidence has apart"


def judge_states(sentence: Sentence, cited: Cited) -> str:
    """Why a state of a sentence is not backed, "" when none is wrong."""
    if sentence.hypothetical and not any(not c.advice and c.states for c in sentence.clauses):
        return ""
    earlier: set[str] = set()
    for clause in sentence.clauses:
        if clause.advice:
            continue
        facts = about(clause, cited)
        names = {t.text.lower() for t in (*clause.names, *clause.words)}
        reason = _judge_conditions(clause, cited) or _judge_absence(clause, names, earlier, cited)
        earlier |= names
        if reason:
            return reason
        for said in _grouped(clause.states):
            reason = _judge_state(said, clause, facts, cited)
            if reason:
                return reason
    return ""


def _grouped(found: Sequence[Said]) -> list[list[Said]]:
    """The meanings of each word together: one of them suffices."""
    groups: dict[tuple[int, str], list[Said]] = {}
    for said in found:
        groups.setdefault((said.start, said.text), []).append(said)
    return list(groups.values())


def _judge_state(group: Sequence[Said], clause: Clause, facts: Sequence[Facts], cited: Cited) -> str:
    counted = group[0].family in ("ready", "available")
    if counted and _SHARE.search(clause.text[max(0, group[0].start - 60) : group[0].start]):
        return ""  # "2 of 3 replicas available" is judged by its numbers
    if _SUBORDINATE.search(clause.text[max(0, group[0].start - 60) : group[0].start]):
        return ""  # "until a new one is ready" says of nothing that it is
    conflicts, silent = 0, 0
    # Of a term of Kubernetes the phase counts: ImagePullBackOff is as bad as CrashLoopBackOff, and another state.
    judged = [s for s in group if s.family == "phase"] if group[0].strict else []
    for said in judged or group:
        values = _values(said.family, facts)
        quantified = _quantified(said, clause, facts, values)
        if quantified is False:
            return f"the cited evidence does not show {code(said.text)} of all that the sentence says it of"
        if quantified or values & ({said.value} if said.strict else _SAME.get((said.family, said.value), {said.value})):
            return ""
        # That something exists or does not is judged by `_judge_absence`; beyond it a sentence may say so of anything.
        conflicts += bool(values) and (said.family != "exists" or _one_absence(facts))
        silent += not values
    said = group[0]
    literal = said.text.lower() in (cited.question.text if not said.strict else "") or any(
        _literally(said, f) for f in facts
    )
    if literal:
        return ""
    if conflicts:
        return f"the cited evidence shows another state than {code(said.text)}"
    if said.strict or (silent and said.family in _OWED and said.value in _OWED_VALUES and _predicated(said, clause)):
        return f"the cited evidence does not show {code(said.text)}"
    return ""


def _one_absence(facts: Sequence[Facts]) -> bool:
    """Whether all that is cited is a field that is not set."""
    return all(f.evidence.kind == "absence" and "list" not in f.evidence.locator for f in facts)


def _literally(said: Said, facts: Facts) -> bool:
    """Whether the very term stands in the evidence: of a term of Kubernetes, since a plain word may stand negated."""
    return said.strict and said.text.lower() in facts.text


def _values(family: str, facts: Sequence[Facts]) -> set[str]:
    found: set[str] = set()
    for item in facts:
        found |= item.states.get(family, frozenset())
    if family == "health" and not found:
        for other, good in (
            ("ready", YES),
            ("bound", YES),
            ("phase", "running"),
            ("phase", "succeeded"),
            ("available", YES),
        ):
            if any(good in f.states.get(other, ()) for f in facts):
                found.add("good")
    return found


def _quantified(said: Said, clause: Clause, facts: Sequence[Facts], values: set[str]) -> bool | None:
    """For "all are ready" and "none is": whether the evidence shows it of all; None where nothing is quantified."""
    if said.family not in ("ready", "available"):
        return None
    near = clause.text[max(0, said.start - 60) : said.start]
    whole = {v for f in facts for v in f.states.get(f"all:{said.family}", ())}
    if said.value == YES and _ALL.search(near):
        if whole:
            return NO not in whole
        return NO not in values if values else None
    if said.value == NO and _NONE.search(near):
        return YES not in values if values else None
    return None


def _predicated(said: Said, clause: Clause) -> bool:
    return bool(_COPULA.search(clause.text[max(0, said.start - 60) : said.start]))


def _judge_conditions(clause: Clause, cited: Cited) -> str:
    """ "Progressing is False": the condition or field of that name has to have that value."""
    for found in _TRUTH.finditer(clause.text):
        before = re.findall(r"[A-Za-z]\w*", clause.text[max(0, found.start() - 60) : found.start()])
        for word in reversed(before[-5:]):
            values = {f.conditions[word.lower()] for f in cited.facts if word.lower() in f.conditions}
            if values:
                if found[1].lower() not in values:
                    return f"{code(word)} is {' and '.join(sorted(values))} in the cited evidence"
                break
    return ""


def _judge_absence(clause: Clause, names: set[str], earlier: set[str], cited: Cited) -> str:
    """That something does not exist can be said of what was not listed alone, that it does of everything else."""
    said = {s.value for s in clause.states if s.family == "exists"}
    if not said:
        return ""
    for facts in cited.facts:
        if facts.evidence.kind != "absence" or "list" not in facts.evidence.locator:
            continue
        absent = facts.evidence.object.name.lower()
        _, _, others = facts.evidence.excerpt.lower().partition("there are: ")
        present = {other.strip(" .;") for other in others.split(",")} - {""}
        # A clause such as "which does not exist" speaks of what the one before it named.
        meant = names if names & (present | {absent}) else names | earlier
        if NO in said and YES not in said and meant & present and absent not in meant:
            return f"the cited evidence shows that {code(min(meant & present))} exists"
        if said == {YES} and absent in meant and not meant & present:
            return f"the cited evidence shows that {code(absent)} does not exist"
    return ""
