"""The table of codes, the analyzers, the runbooks and the tests cannot drift apart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agents.analyzers import registry
from agents.analyzers.base import Code, Role
from agents.evidence import Domain, Severity

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "knowledge" / "corpus"
_TESTS = "\n".join(p.read_text() for p in Path(__file__).parent.glob("test_*.py") if p.name != Path(__file__).name)


def test_every_module_with_analyzers_is_registered() -> None:
    folder = ROOT / "agents" / "analyzers"
    found = {p.stem for p in folder.glob("*.py") if re.search(r"^ANALYZERS\b", p.read_text(), re.MULTILINE)}
    assert found - {"registry"} == set(registry._SUBJECTS)


def test_every_code_has_a_runbook_and_every_runbook_a_code() -> None:
    pages = {str(p.relative_to(CORPUS)) for p in CORPUS.rglob("*.md")}
    assert pages == {code.runbook for code in registry.CODES.values()}


def test_every_specialist_domain_has_codes() -> None:
    assert {c.domain for c in registry.CODES.values()} == set(Domain) - {Domain.GENERAL}


@pytest.mark.parametrize("code", registry.CODES.values(), ids=lambda c: c.name)
def test_a_row_of_the_table_is_sound(code: Code) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", code.name)
    assert 0.3 <= code.confidence <= 1.0
    assert not (code.role is Role.RISK and code.severity.rank >= Severity.ERROR.rank)
    assert code.title
    assert code.remedy
    page = (CORPUS / code.runbook).read_text()
    assert page.startswith("# ")
    for section in ("What it means", "How to confirm", "How to mend", "Often confused with"):
        assert f"## {section}" in page, section


@pytest.mark.parametrize("name", registry.CODES)
def test_a_code_is_tested(name: str) -> None:
    assert name in _TESTS
