"""Judges code: commands and manifests are proposals, so their values are free and their targets have to exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from agents.claims.cited import Cited
from agents.claims.facts import flat
from agents.claims.naming import Known
from agents.claims.remarks import code
from agents.claims.sentences import COMMAND
from agents.claims.words import KINDS, words

MAX_LINES = 400

_OUTPUT = frozenset(("text", "txt", "log", "logs", "output", "console-output", "plaintext"))
_PLACEHOLDER = re.compile(r"[<>{}$*…]|\.\.\.|^[A-Z_]+$|^(?:my|your|some|new|example)-")
_NAMESPACE_FLAG = re.compile(r"(?:^|\s)(?:-n|--namespace)[ =]([^\s'\"]+)")
_NAMESPACE_FIELD = re.compile(r"^\s*namespace:\s*[\"']?([a-z0-9-]+)", re.MULTILINE)
_MAKING = frozenset(
    (
        "create",
        "apply",
        "run",
        "kustomize",
        "diff",
        "replace",
        "config",
        "version",
        "explain",
        "api-resources",
        "auth",
        "expose",
    )
)
_ACTING = words(
    """
get describe logs log set scale rollout patch edit delete exec label annotate top port-forward cordon uncordon drain
debug wait attach cp taint autoscale
"""
)
_POD_VERBS = words("logs log exec port-forward debug attach")
_TYPED_VERBS = words("get describe delete edit")
_NODE_VERBS = words("cordon uncordon drain")
_SUBCOMMANDS = words(
    """
status history undo restart pause resume image resources env selector serviceaccount pod node pods nodes
"""
)
_VALUE_FLAGS = words(
    """
-n --namespace -c --container -l --selector -o --output -p --patch --type --replicas --tail --since -f
--field-selector --sort-by --context --for --timeout --to-revision --limits --requests --image --overrides
"""
)


def judge_block(unit: str, cited: Cited, known: Known) -> str:
    """Why a code block is not backed, "" when it is.

    Commands have to act on objects and namespaces that were seen, asked for or are known; so has the namespace of a
    manifest. Names that a command or manifest makes, and all values, are free. A block marked as output or log is a
    quotation: each line has to stand in the evidence.
    """
    lines = unit.strip().split("\n")
    info = lines[0].strip().lstrip("-*+0123456789.) \t`~").strip().lower()
    body = lines[1:-1] if len(lines) > 1 and set(lines[-1].strip()) <= {"`", "~"} else lines[1:]
    if len(body) > MAX_LINES:
        return f"the block has more than {MAX_LINES} lines"
    if info in _OUTPUT and not any(COMMAND.match(line) for line in body):
        return _judge_output(body, cited)
    for line in _joined(body):
        reason = judge_command(line, cited, known)
        if reason:
            return reason
    for space in _NAMESPACE_FIELD.findall("\n".join(body)):
        if not _space_known(space, cited, known):
            return f"nothing that was seen is in a namespace {code(space)}"
    return ""


def _judge_output(lines: list[str], cited: Cited) -> str:
    for line in lines:
        if flat(line).strip(" .…") and not cited.backs_quote(line):
            return f"the line {code(line.strip())} is not in the evidence"
    return ""


def _joined(lines: list[str]) -> Iterator[str]:
    """Lines with those that a backslash continues."""
    whole = ""
    for line in lines:
        if line.rstrip().endswith("\\"):
            whole += line.rstrip()[:-1] + " "
            continue
        yield whole + line
        whole = ""
    if whole:
        yield whole


def judge_command(line: str, cited: Cited, known: Known) -> str:
    """Why a command does not fit the cluster, "" when it does or when it is none that acts on objects."""
    if not COMMAND.match(line):
        return ""
    for space in _NAMESPACE_FLAG.findall(line):
        if not _space_known(space, cited, known):
            return f"nothing that was seen is in a namespace {code(space)}"
    for name in _targets(line):
        if not (known.has(name) or cited.backs_name(name)):
            return f"nothing that was seen has the name {code(name)}"
    return ""


def _space_known(space: str, cited: Cited, known: Known) -> bool:
    if _PLACEHOLDER.search(space) or space in ("default", "kube-system", "kube-public"):
        return True
    return space.lower() in known.namespaces or cited.backs_name(space)


def _targets(line: str) -> Iterator[str]:
    """The names of the objects that a kubectl command acts on."""
    if not re.match(r"\s*(?:\$ )?(?:sudo )?(?:kubectl|k|oc)\s", line):
        return
    command = re.split(r"\s(?:\||&&|\|\||>|;|--\s)", line)[0]
    try:
        parts = shlex.split(command, comments=True)
    except ValueError:
        parts = command.split()
    verb = next((w for w in parts if w in _ACTING or w in _MAKING), "")
    if verb not in _ACTING:
        return
    rest = _positional(parts[parts.index(verb) + 1 :])
    while rest and rest[0] in _SUBCOMMANDS and (verb in ("set", "rollout", "top")):
        rest = rest[1:]
    if verb in ("set", "label", "annotate", "taint"):
        rest = [w for w in rest if "=" not in w and not w.endswith("-")]
    typed = bool(rest) and (rest[0].lower().split(".")[0] in KINDS or "," in rest[0] or verb in _TYPED_VERBS)
    bare_name = verb in _POD_VERBS or verb in _NODE_VERBS
    for number, word in enumerate(rest[: 1 if verb in _POD_VERBS else 6]):
        if _PLACEHOLDER.search(word):
            continue
        if "/" in word:
            yield word.split("/", 1)[1]
        elif (typed and number > 0 and "/" not in rest[0]) or (number == 0 and bare_name):
            yield word


def _positional(parts: list[str]) -> list[str]:
    found, skip = [], False
    for word in parts:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in _VALUE_FLAGS
        else:
            found.append(word)
    return found
