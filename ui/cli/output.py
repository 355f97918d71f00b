"""What commands print: JSON for programs on standard output, sentences for people, errors on standard error."""

from __future__ import annotations

import json
import sys
from typing import Any

from agents.evidence import Answer, ClusterIdentity, Diagnosis, public_json
from assistant.errors import KubeChatError
from ui.cli.terminal import printable


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(public_json(value), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_error(error: KubeChatError, as_json: bool) -> None:
    """The error, as JSON on standard output or as a sentence on standard error."""
    if as_json:
        print_json({"error": error.as_json()})
    else:
        sys.stderr.write(f"kubechat: {printable(error.message)} [{error.code}]\n")  # it may name what a file names


def cluster_json(identity: ClusterIdentity) -> dict[str, Any]:
    """The cluster in JSON answers."""
    return {"id": identity.id, "name": identity.name, "context": identity.context, "source": identity.source}


def diagnosis_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Findings, root causes, what is healthy and what could not be checked."""
    return {
        "findings": public_json(diagnosis.findings),
        "root_causes": public_json(diagnosis.root_causes),
        "healthy": public_json(diagnosis.healthy),
        "not_checked": public_json(diagnosis.not_checked),
    }


def answer_json(answer: Answer) -> dict[str, Any]:
    """A whole answer, in the shape that `kubechat ask --json` promises."""
    return {
        "thread_id": answer.thread_id,
        "turn_id": answer.turn_id,
        "mode": answer.mode.value,
        "cluster": cluster_json(answer.cluster),
        "route": public_json(answer.route),
        **diagnosis_json(answer.diagnosis),
        "answer": answer.text,
        "documents": public_json(answer.documents),
        "unbacked": list(answer.unbacked),
        "model": answer.model,
        "text_went_to": answer.text_went_to,
        "usage": public_json(answer.usage),
        "cost": answer.cost,
    }
