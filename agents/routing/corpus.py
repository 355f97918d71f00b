"""The training texts of the router: read, expanded, and hashed, always the same way.

`texts/<domain>.txt` holds one text a line. `{a|b}` stands for one of its choices, `@app` for a name of `names.txt`,
`## style, also x` opens a section and names domains that are as right as the file's own; `[also x, y]` at the end of
a line does so for that line. Expansion is deterministic:
the choices of a line come from a generator seeded with the line itself, so editing one line changes no other.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agents.evidence import Domain

TEXTS = Path(__file__).resolve().parent / "texts"
# More variants of one line teach nothing new and would drown the lines that have no choices.
MAX_VARIANTS = 8

_CHOICE = re.compile(r"\{([^{}]*\|[^{}]*)\}")
_ALSO = re.compile(r"\s*\[also ([a-z, ]+)\]$")
_NAME = re.compile(r"@(app|ns|pod|node|image|db)\b")


@dataclass(frozen=True, slots=True)
class Example:
    """One training text. `group` is the line it came from: variants of a line never part between folds.

    `also` are domains that count as right too; `weight` shares one line's say among its variants.
    """

    text: str
    domain: Domain
    also: tuple[Domain, ...]
    style: str
    group: int
    weight: float


def read_examples(folder: Path = TEXTS) -> list[Example]:
    """Every expanded text in a fixed order; raises `ValueError` for a domain that does not exist."""
    names = _read_names(folder / "names.txt")
    examples: list[Example] = []
    group = 0
    for domain in Domain:
        for line, style, also in _lines(folder / f"{domain.value}.txt"):
            variants = _variants(line, names)
            # The square root: a template says more than one plain line, but not eight times as much.
            weight = len(variants) ** -0.5
            examples += [Example(text, domain, also, style, group, weight) for text in variants]
            group += 1
    return examples


def corpus_hash(folder: Path = TEXTS) -> str:
    """SHA-256 over the names and contents of the text files; stored in the model that was trained on them."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.txt")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _lines(path: Path) -> Iterator[tuple[str, str, tuple[Domain, ...]]]:
    style = "faq"
    also: tuple[Domain, ...] = ()
    for raw in path.read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if line.startswith("## "):
            style, _, others = line[3:].partition(", also ")
            also = _domains(others)
        elif line and not line.startswith("#"):
            own = _ALSO.search(line)
            yield _ALSO.sub("", line), style, tuple(dict.fromkeys((*also, *_domains(own[1] if own else ""))))


def _domains(names: str) -> tuple[Domain, ...]:
    return tuple(Domain(name.strip()) for name in names.split(",") if name.strip())


def _read_names(path: Path) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            key, _, values = line.partition(":")
            names[key.strip()] = [value.strip() for value in values.split("|")]
    return names


def _variants(line: str, names: dict[str, list[str]]) -> list[str]:
    chooser = random.Random(hashlib.sha256(line.encode()).digest())
    if not _CHOICE.search(line) and not _NAME.search(line):
        return [line]
    wanted = MAX_VARIANTS if _CHOICE.search(line) else 3
    found: dict[str, None] = {}
    # Three draws for each wanted variant: enough to meet most choices, and bounded where there are few.
    for _ in range(wanted * 3):
        found.setdefault(_draw(line, names, chooser))
        if len(found) == wanted:
            break
    return list(found)


def _draw(line: str, names: dict[str, list[str]], chooser: random.Random) -> str:
    text = line
    while match := _CHOICE.search(text):
        text = text[: match.start()] + chooser.choice(match[1].split("|")) + text[match.end() :]
    text = _NAME.sub(lambda match: chooser.choice(names[match[1]]), text)
    return re.sub(r" {2,}", " ", text).replace(" ?", "?").strip()
