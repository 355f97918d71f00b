"""Says in one sentence why a question went where it went.

Promise: every clause of the sentence is true of the route: a term is named only if it stands in the question and
points at the domain that was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from agents.evidence import Domain

# A reason is read at a glance: three terms are enough to recognise why.
MAX_TERMS = 3


@dataclass(frozen=True, slots=True)
class Grounds:
    """What spoke for a route: strong terms per domain, the leading domain of the findings, kinds, who was talking."""

    mentions: Mapping[Domain, tuple[str, ...]]
    findings: Domain | None = None
    kinds: frozenset[Domain] = field(default_factory=frozenset)
    current: Domain | None = None
    forced: Domain | None = None
    several: bool = False

    def named(self, *, forced: Domain | None, several: bool) -> Grounds:
        """The same grounds, with the user's own choice and whether the question asks several things."""
        return replace(self, forced=forced, several=several)


def sentence(domains: tuple[Domain, ...], grounds: Grounds) -> str:
    """One sentence for the user, with a capital and a full stop."""
    if grounds.forced:
        return f"You chose {grounds.forced.value}."
    if len(domains) > 1:
        each = " and ".join(_because(domain, grounds, brief=True) for domain in domains)
        if grounds.several:
            return f"The question asks about more than one subject: {each}."
        return f"It could be about more than one subject, so each is consulted: {each}."
    return f"{_because(domains[0], grounds, brief=False)}."


def _because(domain: Domain, grounds: Grounds, *, brief: bool) -> str:
    terms = grounds.mentions.get(domain, ())[:MAX_TERMS]
    clauses: list[str] = []
    if terms:
        clauses.append(f"{'' if brief else 'the question '}mentions {_listed(terms)}".strip())
    if grounds.findings is domain:
        clauses.append(f"the findings in scope are about {domain.value}")
    if domain in grounds.kinds and not terms:
        clauses.append(f"the objects in scope belong to {domain.value}")
    if grounds.current is domain and not terms:
        clauses.append(f"the conversation stays with {domain.value}")
    if brief:
        return f"{domain.value} ({'; '.join(clauses)})" if clauses else domain.value
    if not clauses:
        return f"It reads like a {domain.value} question"
    text = "; ".join(clauses)
    return text[0].upper() + text[1:]


def _listed(terms: tuple[str, ...]) -> str:
    quoted = [f'"{term}"' for term in terms]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
