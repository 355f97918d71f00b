"""The claim check: is what a unit of an answer says in the evidence that it cites.

Promise: a unit that cites evidence this conversation does not have, or claims a name, number, time, quotation or
state that the cited evidence (or the question) does not bear out, is not backed, and the verdict says why. Linear in
the unit's length; about 0.3 ms for a sentence. It judges words, not truth: two names of one excerpt that have changed
places pass. Raises nothing; what is too long to be checked is not backed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from agents.claims.blocks import judge_block, judge_command
from agents.claims.cited import Cited, Question
from agents.claims.facts import Facts, flat
from agents.claims.marks import marks_of
from agents.claims.naming import Known, claimed_names, judge_names, said_to_be_missing, unknown_name
from agents.claims.predicates import judge_measures, judge_states
from agents.claims.remarks import BACKED, Verdict, code
from agents.claims.sentences import Clause, Sentence, read
from agents.claims.words import KINDS, NAME_NEIGHBOURS
from agents.evidence import Evidence, ObjectRef

MAX_CHECKED = 20_000  # characters of a unit
MAX_MARKS = 40  # of a unit
MAX_POOL = 300  # pieces of evidence that a heading or a code block may rest on

_FENCED = re.compile(r"^[ \t]*(?:(?:[-*+]|\d{1,4}[.)])[ \t]+)*(?:`{3,}|~{3,})")
_RULE = re.compile(r"^[\s|:\-–—=*_]*$")


class ClaimChecker:
    """Checks the units of an answer (see `SentenceBuffer`) against the evidence of a conversation.

    What needs a mark: a sentence, list item or table row that names an object, number, time or quotation that is not
    in the question, or says a state of a particular thing. What needs none: advice, explanations of concepts,
    questions, and what only repeats the question. A heading or a line that ends in a colon may stand without a mark
    when all the evidence together backs it. In advice, and in commands and manifests, names have to be ones that were
    seen, asked for or are known; values are proposals and free, but an old value ("from 256Mi") is a claim.
    """

    def __init__(
        self, evidence: Mapping[str, Evidence], question: str, *, known_names: Iterable[ObjectRef] = ()
    ) -> None:
        """`evidence` by its id; `known_names`: every object that was read, to tell names from words."""
        self._evidence = dict(evidence)
        self._question = Question(question)
        self._facts: dict[str, Facts] = {}
        self._conclusions: dict[str, list[str]] = {}
        self._known = Known(known_names)
        for item in self._evidence.values():
            self._known.add(item.object)

    def add(self, evidence: Evidence) -> None:
        """Takes evidence that came up during the turn; the same id again replaces what it stood for."""
        if self._evidence.get(evidence.id) == evidence:
            return
        self._evidence[evidence.id] = evidence
        self._facts.pop(evidence.id, None)
        self._known.add(evidence.object)

    def conclude(self, statement: str, evidence_ids: Iterable[str]) -> None:
        """Takes what a deterministic check of ours says about pieces of evidence (a finding's message, a root cause):
        it backs sentences that cite one of them, since the model was given both together."""
        for mark in evidence_ids:
            if mark in self._evidence:
                self._conclusions.setdefault(mark, []).append(statement)
                self._facts.pop(mark, None)

    def check(self, unit: str) -> Verdict:
        """Whether one unit is backed, and if not, why."""
        if _RULE.match(unit):
            return BACKED
        if len(unit) > MAX_CHECKED:
            return Verdict(False, "it is too long to be checked")
        if _FENCED.match(unit):
            return _verdict(judge_block(unit, self._everything(), self._known))
        marks = marks_of(unit)
        for mark in marks:
            if mark not in self._evidence:
                return Verdict(False, f"{code(mark)} is no evidence of this conversation")
        if len(marks) > MAX_MARKS:
            return Verdict(False, f"it cites more than {MAX_MARKS} pieces of evidence")
        sentence = read(unit)
        for command in sentence.commands:
            reason = judge_command(command, self._everything(), self._known)
            if reason:
                return Verdict(False, reason)
        if sentence.question:
            return BACKED
        if marks:
            return _verdict(self._marked(sentence, Cited([self._fact(m) for m in marks], self._question)))
        if sentence.heading:
            return _verdict(self._marked(sentence, self._everything()))
        return _verdict(self._unmarked(sentence))

    def _fact(self, mark: str) -> Facts:
        facts = self._facts.get(mark)
        if facts is None:
            facts = self._facts[mark] = Facts(self._evidence[mark], tuple(self._conclusions.get(mark, ())))
        return facts

    def _everything(self) -> Cited:
        return Cited([self._fact(mark) for mark in list(self._evidence)[-MAX_POOL:]], self._question)

    def _marked(self, sentence: Sentence, cited: Cited) -> str:
        for quote in sentence.quotes:
            if not cited.backs_quote(quote) and not _is_concept(quote):
                return f"the quotation {code(quote)} is not in the cited evidence"
        advice = bool(sentence.clauses) and all(c.advice for c in sentence.clauses)
        for span in sentence.code:
            if advice or _span_backed(span, sentence, cited):
                continue
            if not said_to_be_missing(span, sentence.text, self._known):
                return f"{code(span)} is neither in the cited evidence nor in the question"
        return (
            judge_names(sentence, cited, self._known)
            or judge_measures(sentence, cited)
            or judge_states(sentence, cited)
        )

    def _unmarked(self, sentence: Sentence) -> str:
        claim = ""
        everything: Cited | None = None
        for clause in sentence.clauses:
            if clause.advice or sentence.hypothetical:
                everything = everything or self._everything()
                for name in claimed_names(clause, self._known):
                    objective = name.shape == "name" and re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)+", name.text)
                    if objective and unknown_name(name.text, everything, self._known):
                        return f"nothing that was seen has the name {code(name.text)}"
            else:
                claim = claim or self._first_claim(sentence, clause)
        if not claim and not sentence.hypothetical:
            claim = next((q for q in sentence.quotes if flat(q) not in self._question.text and not _is_concept(q)), "")
        return f"it says {code(claim)} and cites no evidence" if claim else ""

    def _first_claim(self, sentence: Sentence, clause: Clause) -> str:
        """What in a clause without a mark needs one, "" when nothing does."""
        asked = Cited((), self._question)
        concrete = False
        for name in claimed_names(clause, self._known):
            concrete = concrete or name.shape in ("name", "word")
            if name.shape in ("camel", "field") or asked.backs_name(name.text):
                continue
            if name.shape == "pair" and not self._known.has(name.text):
                continue
            return name.text
        for measure in clause.measures:
            if not sentence.explains and not asked.backs_measure(measure):
                return measure.text
        for clock in clause.clocks:
            if not asked.backs_clock(clock):
                return clock.text
        if sentence.explains:
            return ""
        for said in clause.states:
            particular = said.strict or said.family in ("ready", "exists", "phase", "bound", "firing", "available")
            if particular and (concrete or (sentence.definite and _speaks_of_objects(clause))):
                return said.text
        return ""


def _verdict(reason: str) -> Verdict:
    return Verdict(False, reason) if reason else BACKED


def _is_concept(quote: str) -> bool:
    """A term in quotation marks, such as "headless", is not a quotation of anything seen."""
    return quote.lower().strip(" .,") in KINDS


def _speaks_of_objects(clause: Clause) -> bool:
    return any(w.text.lower() in NAME_NEIGHBOURS or w.text.lower() in ("rollout", "it") for w in clause.words)


def _span_backed(span: str, sentence: Sentence, cited: Cited) -> bool:
    """Whether a code span stands in the evidence, or is put together from words that do, or is judged as a name,
    number or state by its parts."""
    if cited.backs_quote(span) and len(span) > 2:
        return True
    if any(len(part) > 1 and "\\" in part for part in span.split()):
        return cited.backs_quote(span)
    parts = [p.strip("-") for p in re.split(r"[\s=:,/(){}\[\]\"'|&]+", span) if p.strip(".-*_$<>")]
    judged = {m.text.lower() for c in sentence.clauses for m in c.measures}
    judged |= {s.text.lower() for c in sentence.clauses for s in c.states}
    judged |= {"true", "false", "unknown"}
    clocks = " ".join(c.text.lower() for clause in sentence.clauses for c in clause.clocks)
    return all(
        p.lower() in KINDS
        or p.lower() in judged
        or p.lower() in clocks
        or cited.backs_name(p)
        or any(p.lower().strip(".") in f.text for f in cited.facts if len(p) > 3 and re.search(r"[A-Z.\[]", p))
        for p in parts
    )
