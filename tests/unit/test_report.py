"""The engineer's note without a model: nothing without its mark, nothing twice, nothing beyond the diagnosis."""

import re
from pathlib import Path

from agents.evidence import (
    Diagnosis,
    Domain,
    Evidence,
    Explained,
    Finding,
    Healthy,
    NotChecked,
    ObjectRef,
    RootCause,
    Severity,
)
from agents.report import closing, details, heading, opening, part_blocks, shares
from agents.scope import Scope, Unknown
from tests.support.turns import turn_over
from ui.container import DEMO_SNAPSHOT

WEB = ObjectRef("apps/v1", "Deployment", "shop", "web")
API = ObjectRef("apps/v1", "Deployment", "shop", "api")


def _evidence(number: int, excerpt: str = "384Mi", obj: ObjectRef = WEB) -> Evidence:
    return Evidence(id=f"E{number}", kind="field", object=obj, locator="spec.x", excerpt=excerpt)


def _cause(number: int, **fields: object) -> RootCause:
    base = {
        "id": f"R{number}",
        "code": f"code-{number}",
        "severity": Severity.ERROR,
        "domain": Domain.PERFORMANCE,
        "object": WEB,
        "cause": f"Cause number {number}.",
        "remedy": "Raise it: `kubectl set …`\nWatch it.",
        "evidence": (_evidence(number),),
        "confidence": 0.9,
    }
    return RootCause.model_validate(base | fields)


def _finding(number: int, **fields: object) -> Finding:
    base = {
        "id": f"F{number}",
        "code": f"note-{number}",
        "severity": Severity.WARNING,
        "domain": Domain.PERFORMANCE,
        "object": WEB,
        "message": f"Note number {number}.",
        "remedy": "Change it.",
        "evidence": (_evidence(100 + number),),
        "confidence": 0.9,
    }
    return Finding.model_validate(base | fields)


def _text(diagnosis: Diagnosis, scope: Scope | None = None, *domains: Domain) -> str:
    speakers = domains or (Domain.PERFORMANCE,)
    scope = scope or Scope()
    return "".join(b for d in speakers for b in (heading(d), *part_blocks(diagnosis, scope, d, speakers)))


def test_a_cause_is_told_with_marks_evidence_and_remedy() -> None:
    text = _text(Diagnosis(root_causes=(_cause(1),)))
    assert "**Error.** Cause number 1. [E1]" in text
    assert "- [E1] Deployment shop/web, spec.x: `384Mi`" in text
    assert "- Raise it: `kubectl set …`\n- Watch it." in text
    assert "Confidence" not in text


def test_doubt_is_said() -> None:
    assert "_Confidence 60%: confirm it" in _text(Diagnosis(root_causes=(_cause(1, confidence=0.6),)))


def test_the_order_of_the_diagnosis_is_kept_and_numbered() -> None:
    text = _text(Diagnosis(root_causes=(_cause(1), _cause(2, object=API))))
    assert text.index("#### 1. Deployment shop/web") < text.index("#### 2. Deployment shop/api")
    assert "**2 things need a change; the most important first.**" in text


def test_of_two_speakers_each_tells_its_own_and_the_first_what_is_nobodys() -> None:
    diagnosis = Diagnosis(
        root_causes=(_cause(1), _cause(2, domain=Domain.SECURITY), _cause(3, domain=Domain.STORAGE)),
        findings=(_finding(1), _finding(2, domain=Domain.NETWORKING)),
    )
    found = shares(diagnosis, (Domain.SECURITY, Domain.PERFORMANCE))
    assert [c.id for c in found[Domain.SECURITY][0]] == ["R2", "R3"]
    assert [c.id for c in found[Domain.PERFORMANCE][0]] == ["R1"]
    assert [f.id for f in found[Domain.SECURITY][1]] == ["F2"]
    text = _text(diagnosis, None, Domain.SECURITY, Domain.PERFORMANCE)
    for told in ("Cause number 1", "Cause number 2", "Cause number 3", "Note number 1", "Note number 2"):
        assert text.count(told) == 1


def test_what_a_cause_already_says_or_explains_is_no_further_finding() -> None:
    said = _finding(1, code="code-1")
    explained = _finding(2)
    cause = _cause(1, explains=(Explained(finding="F2", object=API, how="api needs web"),))
    text = _text(Diagnosis(root_causes=(cause,), findings=(said, explained)))
    assert "Note number" not in text
    assert "- Deployment shop/api: api needs web" in text


def test_what_is_elsewhere_is_mentioned_apart() -> None:
    text = _text(Diagnosis(root_causes=(_cause(1), _cause(2, object=API, in_focus=False))))
    assert "**Elsewhere in the cluster**\n\n- Error: Cause number 2. [E2]" in text
    assert "#### Deployment shop/api" not in text


def test_nothing_wrong_is_said_and_limited_by_what_was_not_checked() -> None:
    gaps = (NotChecked(what="Secret", reason="forbidden", detail="may not be listed"),)
    healthy = (Healthy(object=WEB, detail="2 of 2 pods ready"),)
    assert "**Nothing is broken in the whole cluster now.** All checks ran" in _text(Diagnosis())
    assert "as far as could be checked" in _text(Diagnosis(not_checked=gaps))
    end = "".join(closing(Diagnosis(not_checked=gaps, healthy=healthy)))
    assert "**Healthy:** Deployment shop/web (2 of 2 pods ready)." in end
    assert "- Secret: forbidden (may not be listed)" in end


def test_long_lists_are_cut_and_the_rest_is_counted() -> None:
    findings = tuple(_finding(n) for n in range(1, 13))
    gaps = tuple(NotChecked(what=f"kind {n}", reason="capped") for n in range(11))
    text = _text(Diagnosis(findings=findings)) + "".join(closing(Diagnosis(not_checked=gaps)))
    assert "- … and 4 more" in text
    assert "- … and 3 more" in text


def test_text_from_the_cluster_cannot_break_out_of_its_code() -> None:
    log = Evidence(id="E9", kind="log", object=WEB, locator="log", excerpt="a ``` b\n```\n# Heading\n[x](http://evil)")
    end = "".join(details([log]))
    fence = re.search(r"^(`{4,})text\n", end, re.MULTILINE)
    assert fence
    assert end.rstrip().endswith(fence[1])
    text = _text(Diagnosis(root_causes=(_cause(1, evidence=(_evidence(1, "x` **y** ``z"),)),)))
    assert "``` x` **y** ``z ```" in text or "```x` **y** ``z```" in text


def test_names_that_do_not_exist_open_the_answer() -> None:
    scope = Scope(unknown=(Unknown("Pod", "wbe-1", ("web-1",)), Unknown("Namespace", "shp", ())))
    assert list(opening(scope)) == [
        "There is no Pod named wbe-1. Similar: web-1.\n\n",
        "There is no Namespace named shp.\n\n",
    ]


def test_a_general_question_is_not_answered_in_free_words() -> None:
    scope = Scope(needs_cluster=False)
    plain = "".join(part_blocks(Diagnosis(), scope, Domain.GENERAL, [Domain.GENERAL]))
    failed = "".join(part_blocks(Diagnosis(), scope, Domain.GENERAL, [Domain.GENERAL], model_failed=True))
    page = Evidence(id="E1", kind="document", object=WEB, locator="networking/x.md", excerpt="A headless Service …")
    end = "".join(closing(Diagnosis(), [page]))
    assert "No model is configured" in plain
    assert "No model is configured" not in failed
    assert "A headless Service …\n\n_From the runbook networking/x.md_ [E1]" in end


async def test_every_line_about_the_demo_cluster_rests_on_evidence_of_its_diagnosis() -> None:
    work = await turn_over(Path(DEMO_SNAPSHOT), "Is anything broken?")
    known = {e.id for e in work.diagnosis.all_evidence()}
    text = _text(work.diagnosis, work.scope, Domain.TROUBLESHOOTING)
    assert set(re.findall(r"\[(E\d+)\]", text)) <= known
    statements = [line for line in text.splitlines() if line.startswith(("**Critical.", "**Error.", "- Warning:"))]
    assert len(statements) >= 5
    assert all(re.search(r"\[E\d+\]$", line) for line in statements)
