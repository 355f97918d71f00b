"""The claim check: what is released as it is, what is marked, and that a model cannot talk its way past it."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from agents.claims import ClaimChecker, SentenceBuffer, Verdict, shown
from agents.claims.facts import Facts
from agents.claims.marks import marks_of
from agents.claims.measures import agrees, measures
from agents.evidence import Evidence, EvidenceKind, ObjectRef
from tests.benchmarks.bench_claims import SNAPSHOTS, figures, judge, load, reference


def seen(mark: str, kind: EvidenceKind, about: str, locator: str, excerpt: str) -> Evidence:
    return Evidence(id=mark, kind=kind, object=reference(about), locator=locator, excerpt=excerpt)


EVIDENCE = (
    seen(
        "E1",
        "field",
        "Pod store/cart-7d9f8c6b5-x2v4q",
        "status.containerStatuses[0]",
        'status.containerStatuses[0]: {"name":"cart","ready":false,"restartCount":7,'
        '"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled","finishedAt":"2026-05-04T11:20:00Z"}}}',
    ),
    seen("E2", "field", "Deployment store/cart", "spec.template.spec.containers[0].resources.limits.memory", "512Mi"),
    seen("E3", "field", "PersistentVolumeClaim store/data", "status.phase", "status.phase: Pending"),
    seen("E4", "field", "Pod store/till-0", "status.phase", "status.phase: Running"),
    seen(
        "E5",
        "log",
        "Pod store/cart-7d9f8c6b5-x2v4q",
        "log of container cart, line 12",
        'dial tcp 10.0.4.2:6379: connect: connection refused\nserver said "try later"',
    ),
    seen(
        "E6",
        "absence",
        "ConfigMap store/cart-config",
        "list of ConfigMap",
        "no ConfigMap named cart-config in namespace store was listed; there are: cart-settings",
    ),
    seen("E7", "field", "Pod store/till-1", "status.phase", "status.phase: Pending"),
)
NAMES = [
    reference(name)
    for name in (
        "Deployment store/cart",
        "Pod store/cart-7d9f8c6b5-x2v4q",
        "StatefulSet store/till",
        "Pod store/till-0",
        "Pod store/till-1",
        "PersistentVolumeClaim store/data",
        "Deployment office/printer",
        "Service office/web",
        "Namespace store",
        "Namespace office",
    )
]


@pytest.fixture
def checker() -> ClaimChecker:
    return ClaimChecker({e.id: e for e in EVIDENCE}, "Why is cart down since 09:30?", known_names=NAMES)


BACKED = (
    "The pod cart-7d9f8c6b5-x2v4q was OOMKilled and has restarted 7 times [E1].",
    "The cart container is killed at its limit of 0.5Gi. [E1] [E2]",
    "cart has restarted seven times, the last time at 11:20 UTC [E1].",
    "Its memory limit is 524288Ki [E2].",
    "The claim `data` is still Pending, so it is not bound [E3].",
    "till-0 is Running but till-1 is Pending [E4, E7].",
    'The log says "connection refused" for 10.0.4.2:6379 [E5].',
    'The server said "try later" [E5].',
    "There is no ConfigMap `cart-config` in `store`; `cart-settings` exists [E6].",
    "> The exit code was 137 [E1].",
    "| cart | 7 restarts | OOMKilled [E1] |",
    "- **cart**: out of memory, exit code 137【E1】",
    "Two pods of till are in the namespace store [E4-E7].",
    "You asked about cart.",
    "#### What to do",
    "A Pending claim means that no volume has been found for it yet.",
    "If the limit is too low, the kernel kills the process.",
    "Raise the memory limit of cart from 512Mi to 1Gi [E2].",
    "You should raise the limit to 1Gi and watch it for 30 minutes.",
    "Run `kubectl -n store rollout restart deployment/cart` to restart it.",
    "There are two ways to mend this:",
    "Is the cache of printer reachable at all?",
    "That is a common trap with read-only root file systems and in-cluster DNS.",
    "",
    "|---|:--|",
    "---",
)
MARKED = (
    ("The pod till-0 was OOMKilled and has restarted 7 times [E1].", "till-0"),
    ("The cart container is killed at its limit of 1Gi [E1][E2].", "1Gi"),
    ("cart has restarted nine times [E1].", "nine"),
    ("cart has restarted 137 times [E1].", "137"),
    ("The claim data is Bound [E3].", "Bound"),
    ("The claim data is bound [E3].", "bound"),
    ("till-0 is Pending but till-1 is Running [E4, E7].", "another state"),
    ('The log says "connection reset" [E5].', "connection reset"),
    ("There is no ConfigMap `cart-settings` in `store` [E6].", "exists"),
    ("The ConfigMap cart-config exists in store [E6].", "not exist"),
    ("The Deployment cart in namespace office is limited to 512Mi [E2].", "office"),
    ("The Deployment office/cart is limited to 512Mi [E2].", "office"),
    ("The StatefulSet cart is limited to 512Mi [E2].", "StatefulSet"),
    ("The Deployment printer is limited to 512Mi [E2].", "printer"),
    ("It was killed at 12:20 UTC [E1].", "12:20"),
    ("The cart pod is Ready [E1].", "Ready"),
    ("cart is healthy [E1].", "healthy"),
    ("The pod cart-7d9f8c6b5-x2v4q has restarted 7 times.", "cites no evidence"),
    ("The claim is Pending.", "cites no evidence"),
    ("It has restarted 7 times already.", "cites no evidence"),
    ('It says "try later".', "cites no evidence"),
    ("cart restarts [E999].", "E999"),
    ("cart restarts [E1, E998].", "E998"),
    ("cart uses 512Mi [E1].", "512Mi"),
    ("The claim data is limited to 512Mi [E3].", "512Mi"),
    ("cart is Pending [E3].", "not about"),
    ("Restart the pod cart-worker-2 now.", "cart-worker-2"),
    ("Run `kubectl -n warehouse get pods` to see it.", "warehouse"),
    ("Raise the memory limit of cart from 256Mi to 1Gi [E2].", "256Mi"),
)


@pytest.mark.parametrize("unit", BACKED)
def test_what_the_evidence_bears_out_and_advice_and_explanations_pass(checker: ClaimChecker, unit: str) -> None:
    assert checker.check(unit) == Verdict(True)


@pytest.mark.parametrize(("unit", "told"), MARKED)
def test_what_it_does_not_bear_out_is_marked_with_the_reason(checker: ClaimChecker, unit: str, told: str) -> None:
    verdict = checker.check(unit)
    assert not verdict.backed
    assert told in verdict.reason


def test_evidence_brought_during_the_turn_backs_what_follows(checker: ClaimChecker) -> None:
    unit = "printer has 3 restarts [E20]."
    assert not checker.check(unit).backed
    checker.add(seen("E20", "field", "Pod office/printer-6c5d7f8b9-zz8kq", "restartCount", "restartCount: 3"))
    assert checker.check(unit).backed
    checker.add(seen("E20", "field", "Pod office/printer-6c5d7f8b9-zz8kq", "restartCount", "restartCount: 4"))
    assert not checker.check(unit).backed


def test_what_our_own_checks_concluded_backs_sentences_that_cite_their_evidence(checker: ClaimChecker) -> None:
    unit = "Both pods of cart wait for redis-main [E5]."
    assert not checker.check(unit).backed
    checker.conclude("2 pods of Deployment cart wait for Service redis-main.", ["E5", "E404"])
    assert checker.check(unit).backed
    assert not checker.check("Both pods of cart wait for redis-other [E5].").backed


COMMANDS = (
    ("```bash\nkubectl -n store set resources deployment/cart --limits=memory=1Gi\n```", ""),
    ("```sh\nkubectl -n store logs till-0 -c app --previous\nkubectl get pods -A\n```", ""),
    ("```\nkubectl -n store describe pod <pod>\n```", ""),
    ("```yaml\nkind: NetworkPolicy\nmetadata:\n  name: allow-all-new\n  namespace: store\n```", ""),
    ("```sh\nkubectl -n store create configmap cart-config --from-literal=A=1\n```", ""),
    ("```sh\nkubectl -n store delete pod cart-0\n```", "cart-0"),
    ("```sh\nkubectl -n stores get pods\n```", "stores"),
    ("```sh\nkubectl -n store rollout undo deployment/basket\n```", "basket"),
    ("```yaml\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: shop\n```", "shop"),
    ("```text\ndial tcp 10.0.4.2:6379: connect: connection refused\n```", ""),
    ("```text\ndial tcp 10.0.4.2:6379: i/o timeout\n```", "i/o timeout"),
)


@pytest.mark.parametrize(("block", "told"), COMMANDS)
def test_commands_propose_freely_but_act_on_what_exists(checker: ClaimChecker, block: str, told: str) -> None:
    verdict = checker.check(block)
    assert verdict.backed == (not told)
    assert told in verdict.reason


def test_the_figure_is_reached_in_both_halves() -> None:
    judged = list(judge())
    assert len(judged) == 200
    caught, wronged = figures(judged)
    assert caught >= 0.95
    assert wronged <= 0.05
    for half in ("tuning", "held-out"):
        caught, wronged = figures([j for j in judged if j.half == half])
        assert caught >= 0.9
        assert wronged <= 0.08


def names_of(refs: Iterable[ObjectRef]) -> list[str]:
    return sorted({r.name for r in refs} | {r.namespace for r in refs if r.namespace})


@pytest.mark.parametrize("path", sorted(SNAPSHOTS.glob("*.yaml")), ids=lambda p: p.stem)
def test_swapping_a_name_or_number_of_a_true_sentence_is_noticed(path: Path) -> None:
    snapshot, checker = load(path)
    chance = random.Random(path.stem)
    names = names_of([reference(name) for name in snapshot["names"]])
    facts = {
        e["id"]: Facts(Evidence.model_validate({**e, "object": reference(e["object"])})) for e in snapshot["evidence"]
    }
    swapped, missed = 0, []
    for row in snapshot["sentences"]:
        text = row["says"]
        if "wrong" in row or not checker.check(text).backed:
            continue
        cited = [facts[mark] for mark in marks_of(text)]
        strange = [n for n in names if n not in snapshot["question"] and not any(n in f.names for f in cited)]
        false = [
            text[: found.start()] + chance.choice(strange) + text[found.end() :]
            for name in names
            for found in re.finditer(rf"(?<![\w\-./\[]){re.escape(name)}(?![\w\-/]|\.\w)", text)
            if strange
        ]
        false += [
            text[: found.start()] + str(7 * int(found[0]) + 13) + text[found.end() :]
            for found in re.finditer(r"(?<![\w\-./:\[])\d+(?![\w\-:\]]|\.\d)", text)
            if found.start() > 3
        ]
        swapped += len(false)
        missed += [f for f in false if checker.check(f).backed]
    assert swapped >= 4
    assert len(missed) <= max(2, 0.2 * swapped), missed


def test_quantities_are_compared_by_value() -> None:
    def same(left: str, right: str) -> bool:
        (claimed,) = measures(left)
        return any(agrees(claimed, value, of) for m in measures(right) for value, of in m.readings)

    for left, right in (
        ("0.5Gi", "512Mi"),
        ("half a core", "500m"),
        ("10 minutes", "600s"),
        ("1h30m", "90 min"),
        ("1 GB", "1Gi"),
    ):
        assert same(left, right), (left, right)
    for left, right in (
        ("512Mi", "512Ki"),
        ("500m", "50m"),
        ("10 minutes", "10s"),
        ("3", "30"),
        ("80%", "80Mi"),
        ("1Gi", "1.1Gi"),
    ):
        assert not same(left, right), (left, right)
    assert same("about 40 minutes", "38 min")


TEXT = """#### Why

The pod `cart-1` restarts, e.g. at night. It was killed at 384Mi [E2]. The claim is 3 Gi. [E1] [E3] Next one!
Soft wrap "a. b" here,
and on.

1. First item has 3 things. [E1]
   continued line
2. Second item (1.5 vs. 2) with a [link](http://x.y).
   ```yaml
   a: b. c
   ```
Intro:
- **x:** y [E1][E2], [E3].

| a | b |
|---|---|
| x | 3 |

```bash
kubectl get pods -n x
# c. d

```
Tail without end"""


def units_of(text: str, sizes: Iterable[int]) -> list[str]:
    buffer, units, at = SentenceBuffer(), [], 0
    for size in sizes:
        units += buffer.feed(text[at : at + size])
        at += size
        if at >= len(text):
            break
    return [*units, *buffer.flush()]


def test_units_are_sentences_items_rows_and_blocks_and_join_to_the_text() -> None:
    units = units_of(TEXT, [len(TEXT)])
    assert "".join(units) == TEXT
    assert [u.strip() for u in units if u.strip()][:6] == [
        "#### Why",
        "The pod `cart-1` restarts, e.g. at night. It was killed at 384Mi [E2].",
        "The claim is 3 Gi. [E1] [E3]",
        "Next one!",
        'Soft wrap "a. b" here,\nand on.',
        "1. First item has 3 things. [E1]",
    ]
    assert "   ```yaml\n   a: b. c\n   ```\n" in units
    assert "```bash\nkubectl get pods -n x\n# c. d\n\n```\n" in units


def test_units_do_not_depend_on_how_the_stream_was_cut() -> None:
    whole = units_of(TEXT, [len(TEXT)])
    chance = random.Random(5)
    for _ in range(200):
        assert units_of(TEXT, (chance.choice((1, 1, 2, 3, 7, 20)) for _ in TEXT)) == whole


def test_a_unit_is_given_out_as_soon_as_its_end_is_certain() -> None:
    buffer = SentenceBuffer()
    assert buffer.feed("Look at it first. ") == []
    assert buffer.feed("T") == ["Look at it first. "]
    assert buffer.feed("hen go on. [E") == []
    assert buffer.feed("1] A") == ["Then go on. [E1] "]


def test_a_sentence_without_a_mark_is_judged_with_the_mark_behind_the_next_one(checker: ClaimChecker) -> None:
    true = "The cart container was OOMKilled. Its exit code was 137 [E1]. "
    assert [checker.check(u).backed for u in units_of(true, [len(true)])] == [True]
    false = "The cart container was OOMKilled. Its exit code was 1 [E1]. "
    assert [checker.check(u).backed for u in units_of(false, [len(false)])] == [False]
    unmarked = "The claim data is Pending.\n\nIts pod till-0 is Running [E4]."
    assert [checker.check(u).backed for u in units_of(unmarked, [len(unmarked)]) if u.strip()] == [False, True]


NOT = Verdict(False, "`x` is not | there")
REMARK = "*(not backed by evidence: `x` is not | there)*"


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("It is so. ", f"It is so. {REMARK} "),
        ("- an item\n", f"- an item {REMARK}\n"),
        ("### Head\n", f"### Head {REMARK}\n"),
        ("| a | b |\n", "| a | b *(not backed by evidence: `x` is not / there)* |\n"),
        ("```sh\nls\n```\n", f"```sh\nls\n```\n\n{REMARK}\n\n"),
        ("```sh\nls", f"```sh\nls\n```\n\n{REMARK}\n\n"),
        ("Half a `span. ", "Half a `span. *(not backed by evidence: x is not | there)* "),
    ],
)
def test_the_remark_survives_markdown(unit: str, expected: str) -> None:
    assert shown(unit, NOT) == expected
    assert shown(unit, Verdict(True)) == unit


HOSTILE = (
    "a" * 100_000,
    "a. " * 33_000,
    "[E1]" * 10_000,
    "[" * 20_000,
    "[E1, " * 4_000,
    "`" * 20_000,
    "```\n" * 5_000,
    "a-b-" * 4_900,
    "ready " * 3_300,
    "no ready pods " * 1_400,
    '"a" ' * 4_900,
    "1," * 9_900,
    "[a](" * 4_900,
    "in namespace a " * 1_300,
    "both " * 3_900,
    " " * 19_000 + "x",
    "\n" * 50_000,
    "- " * 9_900,
)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda t: repr(t[:8]))
def test_hostile_text_takes_linear_time(checker: ClaimChecker, text: str) -> None:
    began = time.perf_counter()
    units = units_of(text, [1000] * 200)
    for unit in units:
        shown(unit, checker.check(unit))
    checker.check(text)
    checker.check(f"{text[:19_990]} [E1]")
    assert "".join(units) == text
    assert time.perf_counter() - began < 6.0  # 0.1 to 1 s on an idle machine; quadratic work would take minutes


@pytest.mark.parametrize(
    "excerpt", ["a" * 200_000, "a-1" * 60_000, "{" * 100_000, "a.b." * 50_000, '"a":' * 50_000, "no " * 60_000]
)
def test_hostile_evidence_takes_linear_time(excerpt: str) -> None:
    checker = ClaimChecker({"E1": seen("E1", "log", "Pod store/cart", "log", excerpt)}, "why?")
    began = time.perf_counter()
    checker.check("The pod q-77 is not ready, has 34 restarts and is Running at 33% after 14 minutes [E1].")
    assert time.perf_counter() - began < 3.0


def test_a_unit_of_ten_thousand_marks_is_not_backed(checker: ClaimChecker) -> None:
    checker.add(seen("E50", "log", "Pod store/cart", "log", "x"))
    many = " ".join(f"[E{n}]" for n in range(1, 10_001))
    assert not checker.check(f"cart is fine {many}").backed


def test_a_sentence_is_checked_in_a_millisecond(checker: ClaimChecker) -> None:
    units = [unit for unit, _ in MARKED] + list(BACKED)
    for unit in units:
        checker.check(unit)
    began = time.perf_counter()
    for unit in units:
        checker.check(unit)
    assert (time.perf_counter() - began) / len(units) < 0.003  # 0.3 ms on an idle machine
