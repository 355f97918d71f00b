"""States and their opposites: what a text says about how something is, so that two texts can be found to disagree.

A state is a pair (family, value) such as ("ready", "no"). A family has exclusive values: a claim disagrees with
evidence that speaks of the same family and nowhere has the claimed value. Words that are in no family are not judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

YES, NO = "yes", "no"


@dataclass(frozen=True, slots=True)
class Said:
    """One state as a text says it; `strict` where it is a term of Kubernetes that the evidence has to have."""

    family: str
    value: str
    text: str
    start: int
    strict: bool = False


# family | value | words (a regular expression, whole words, case as written when it begins with an upper-case term)
_TABLE = r"""
ready     | yes | ready
ready     | no  | un-?ready|not-?ready|ContainersNotReady
exists    | yes | exists?|present|is set|are set|is defined|is configured
exists    | no  | missing|absent|non-?existent|NotFound|is gone|unset|lacks?
phase     | running     | running|up and running
phase     | running     | runs(?=\s*(?:[,.;)]|$|fine\b|well\b|normally\b|again\b|now\b|on\b))
phase     | pending     | pending|Pending
phase     | succeeded   | succeeded|succeeds|complete|completed|completes|completed successfully|Completed
phase     | succeeded   | finished normally|completed normally
phase     | failed      | failed|failing|fails|Failed|BackoffLimitExceeded
phase     | terminating | terminating|Terminating
phase     | crashing    | CrashLoopBackOff|crash-?loops?|crash-?looping|crashing|crashes|crashed
phase     | image       | ImagePullBackOff|ErrImagePull|InvalidImageName
phase     | creating    | ContainerCreating|PodInitializing
phase     | config      | CreateContainerConfigError|CreateContainerError|RunContainerError
phase     | evicted     | evicted|Evicted
phase     | oom         | OOMKilled|oom-?killed|out of memory|OutOfMemory\w*
bound     | yes | bound
bound     | no  | unbound
health    | good | healthy|works?|working|fine|okay|in order|normally|successful|successfully|passes|passed
health    | bad  | unhealthy|broken|down|stuck|failed|failing|fails|failure|crash\w*|OOMKilled|oom-?killed|timed out
health    | bad  | degraded|CrashLoopBackOff|ImagePullBackOff|ErrImagePull|BackoffLimitExceeded|ProgressDeadlineExceeded
allowed   | yes | allows?|allowed|permits?|permitted|admits?|admitted|grants?|granted|can
allowed   | no  | blocks?|blocked|denies|denied|forbids?|forbidden|refuses?|refused|rejects?|rejected|drops?|dropped
allowed   | no  | unable
available | yes | available|is up|are up
available | no  | unavailable
scheduled | yes | scheduled|schedulable
scheduled | no  | unschedulable|FailedScheduling
matches   | yes | match|matches|matched
matches   | no  | mismatch|mismatched|mismatches|differs?|different
firing    | yes | firing|fires
firing    | no  | resolved|silenced
suspend   | yes | suspended|paused
suspend   | no  | unsuspended|resumed
privilege | yes | privileged
privilege | no  | unprivileged
enabled   | yes | enabled|switched on|turned on
enabled   | no  | disabled|switched off|turned off
valid     | yes | valid
valid     | no  | invalid|expired
reachable | yes | reachable|reached
reachable | no  | unreachable|unresolvable|connection refused|no route
mounted   | yes | mounted|attached
mounted   | no  | unmounted|detached|FailedMount|FailedAttachVolume
writable  | yes | writable|writeable|read-write
writable  | no  | read-only|readonly
trend     | yes | rising|increased|increasing|grew|growing|rose|scaled up
trend     | no  | falling|decreased|decreasing|shrank|shrinking|fell|scaled down
root      | yes | as root
root      | no  | non-?root|RunAsNonRoot|runAsNonRoot
encrypted | yes | encrypted
encrypted | no  | unencrypted|plain ?text
exposed   | yes | public|publicly|exposed
exposed   | no  | private|internal-only
exceeds   | yes | exceeds?|exceeded|exceeding|above|beyond|greater than|more than|higher than|larger than
exceeds   | no  | below|beneath|lower than|smaller than|fewer than|under its|within its
started   | yes | started|starts
started   | no  | stopped|stops
"""

# Terms that Kubernetes writes this way: claimed, they have to stand in the evidence (or a name of the same state).
_STRICT_CASE = re.compile(r"^(?:[A-Z]\w*[a-z][A-Z]\w*|OOMKilled|Pending|Running|Terminating|Evicted|Completed)$")
_OPPOSITE = {YES: NO, NO: YES, "good": "bad", "bad": "good", "running": "not-running"}

_NEGATORS = (
    r"not a single|not one|not|no|never|neither|nor|without|none|nothing|nobody|cannot|can't|can’t"
    r"|isn't|isn’t|aren't|aren’t"
    r"|wasn't|wasn’t|weren't|doesn't"
    r"|doesn’t|don't|don’t|didn't|didn’t|hasn't|haven't|won't|couldn't|unable|longer|yet to|hardly|barely|stopped being"
)
_NEGATION = re.compile(rf"(?<![\w-])(?:{_NEGATORS})(?![\w-])", re.IGNORECASE)
# A negation reaches over words such as these to the state: "is not yet ready", "cannot be scheduled".
_REACHED_OVER = re.compile(
    r"[\s*_`]*(?:(?:yet|be|been|being|get|become|any|a|an|the|currently|actually|longer|really|even|of|to"
    r"|its|it|them|one|all|both|two"
    r"|three|four|these|those|fully|properly|correctly|\d+|pods?|replicas?|endpoints?|pod is|thing|single"
    r"|have|has|having|come|go|in|is|are"
    r"|nodes?|containers?)[\s*_`]+){0,4}",
    re.IGNORECASE,
)
_NONE = re.compile(r"(?:no|none|neither|nothing|nobody|never|not a single|not one)\Z", re.IGNORECASE)
_ANY_WORDS = re.compile(r"(?:[\s*_`]+[\w`'/-]{1,60}(?:\.\w{1,60}){0,4}){0,5}[\s*_`]+")
_CANNOT = re.compile(
    r"(?<![\w-])(?:can't|can’t|cannot|couldn't|can not|could not|may not|nothing may|nobody may)(?![\w-])", re.I
)
_ALLOWS_NONE = re.compile(r"\b(?:allow|permit|admit|grant)\w*\s+(?:no|nothing|nobody|none)\b", re.IGNORECASE)
_HAS_NONE = re.compile(
    r"\b(?:ha[sd]|have|having|with|carr(?:y|ies)|defines?|sets?|there (?:is|are|was|were)|finds?|found"
    r"|names?|exists?)\s+(?:no|neither)\b"
    r"|(?:^|[.;:,(]\s*|\band\s+|\bbecause\s+|\bsince\s+|\bas\s+)no (?:such )?(?=[A-Za-z])"
    r"|\bwithout (?:an? |any )?(?=[a-zA-Z])"
    r"|\bis missing\b|\bare missing\b|\bnone (?:is|was|were|are) (?:listed|found|set)\b|\bdoes not have\b"
    r"|\bdoesn[’']t have\b"
    r"|\b(?:is|are|was|were) not (?:set|found|defined|configured|listed)\b|\bnot found\b|\bnot set\b"
    r"|\bnothing sets\b|\bno longer (?:exists|there)\b",
    re.IGNORECASE,
)


def _compile() -> re.Pattern[str]:
    alternatives = [row.split("|", 2)[2].strip() for row in _TABLE.strip().splitlines()]
    return re.compile(rf"(?<![\w\-/.])(?:{'|'.join(alternatives)})(?![\w/]|-[A-Za-z])", re.IGNORECASE)


def _families() -> list[tuple[str, str, re.Pattern[str]]]:
    rows = []
    for row in _TABLE.strip().splitlines():
        family, value, words = (part.strip() for part in row.split("|", 2))
        rows.append((family, value, re.compile(rf"(?:{words})\Z", re.IGNORECASE)))
    return rows


_ANY = _compile()
_ROWS = _families()


@lru_cache(maxsize=2_000)
def _meanings(word: str) -> tuple[tuple[str, str], ...]:
    """The (family, value) pairs of a word; texts use few of them."""
    return tuple((family, value) for family, value, words in _ROWS if words.match(word))


def states(text: str) -> Iterator[Said]:
    """What a text says, negation taken into account: "is not ready" is ("ready", "no")."""
    negations = [m.end() for m in _NEGATION.finditer(text)]
    for found in _ANY.finditer(text):
        word = found[0]
        negated = _negated(text, found.start(), negations)
        for family, value in _meanings(word):
            said = value
            if negated:
                opposite = _OPPOSITE.get(value)
                if opposite is None or (family == "allowed" and word.lower() == "can"):
                    continue
                said = opposite
            if said == "not-running":
                continue
            if family == "allowed" and word.lower() == "can" and _CANNOT.match(text, found.start()):
                continue
            strict = not negated and bool(_STRICT_CASE.match(word))
            yield Said(family, said, word, found.start(), strict)
    for family, pattern in (("allowed", _CANNOT), ("allowed", _ALLOWS_NONE), ("exists", _HAS_NONE)):
        for found in pattern.finditer(text):
            yield Said(family, NO, found[0].strip(" ,.;:("), found.start())


def _negated(text: str, start: int, negations: list[int]) -> bool:
    for end in reversed(negations):
        if end > start:
            continue
        if start - end > 48:
            return False
        reach = _ANY_WORDS if _NONE.search(text, max(0, end - 12), end) else _REACHED_OVER
        gap = reach.match(text, end, start)
        if gap is not None and gap.end() == start:
            return True
    return False
