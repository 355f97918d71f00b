"""Tokens of service accounts in pods: missing where a program needs one, mounted where nothing needs it.

A missing token is reported only for a container that is not well and says so in its log while mounting is switched
off. Mounted tokens of accounts without rights are an info per namespace, and only in a cluster that switches mounting
off for other default accounts: everywhere else it is simply the default.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from agents.analyzers.accounts import AccessIndex
from agents.analyzers.base import Analyzer, Code, Role, clip, finding, missing_field, seen_field, seen_log
from agents.analyzers.denials import pods_with_logs
from agents.analyzers.ownership import account_name, deployed_workloads, is_platform_namespace, manual_change_note
from agents.analyzers.pods import Container, containers_of
from agents.cluster.objects import K8sObject, flag, pod_spec
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, Severity

TOKEN_NOT_MOUNTED = Code(
    "api-token-not-mounted", Domain.SECURITY, Severity.ERROR, Role.CAUSE,
    "A workload calls the Kubernetes API, but no service account token is mounted",
    "Set `automountServiceAccountToken: true` in the pod template of {kind} {name} (it outranks the account's own):\n"
    "`kubectl -n {ns} patch {kind} {name} --type=merge -p "
    "'{{\"spec\":{{\"template\":{{\"spec\":{{\"automountServiceAccountToken\":true}}}}}}}}'`{gitops}", 0.92,
)  # fmt: skip

TOKEN_MOUNTED = Code(
    "api-token-automounted", Domain.SECURITY, Severity.INFO, Role.RISK,
    "Pods carry a token of the default account that nothing was given to",
    "Switch mounting off for the account; a pod that needs a token can still ask for it:\n"
    "`kubectl -n {ns} patch serviceaccount {name} -p '{{\"automountServiceAccountToken\":false}}'`", 0.9,
)  # fmt: skip

_TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - a well-known path, not a secret


def missing_tokens(view: ClusterView) -> Iterator[Finding]:
    """Unwell pods whose log misses the token file while mounting it is switched off."""
    seen: set[tuple[str, str, str]] = set()
    for pod in pods_with_logs(view):
        for container in containers_of(pod):
            top = view.top_owner(pod)
            if container.ready or top.ref.key in seen:
                continue
            account = view.get("ServiceAccount", pod.namespace, account_name(pod))
            own = flag(pod_spec(pod), "automountServiceAccountToken")
            theirs = flag(account.raw, "automountServiceAccountToken") if account is not None else None
            if not (own is False or (own is None and theirs is False)):
                continue
            hit = _token_line(view, container)
            if hit is None:
                continue
            seen.add(top.ref.key)
            holder, where = (pod, "spec") if own is False or account is None else (account, "")
            path = f"{where}.automountServiceAccountToken".lstrip(".")
            yield finding(
                TOKEN_NOT_MOUNTED,
                top,
                f"Container {container.name} of {top.kind} {top.name} reads {_TOKEN_PATH}, which is not there: "
                f"automountServiceAccountToken is false in {holder.kind} {holder.name}.",
                [hit, seen_field(holder, path, value=False)],
                related=[pod.ref, *([account.ref] if account is not None else [])],
                gitops=manual_change_note(top),
            )


def _token_line(view: ClusterView, container: Container) -> Evidence | None:
    for previous in (False, True):
        lines = view.log(container.pod, container.name, previous=previous)
        for number in range(len(lines), 0, -1):
            line = lines[number - 1]
            if _TOKEN_PATH in line and ("no such file" in line or "not found" in line.lower()):
                return seen_log(container.pod, container.name, [clip(line)], previous=previous, number=number)
    return None


def mounted_tokens(view: ClusterView) -> Iterator[Finding]:
    """Namespaces where pods mount the default account's token although the account has no rights of its own."""
    defaults = [a for a in view.of_kind("ServiceAccount") if a.name == "default"]
    if all(flag(a.raw, "automountServiceAccountToken") is not False for a in defaults):
        return
    index = view.derived(AccessIndex)
    users: dict[str, list[K8sObject]] = defaultdict(list)
    for workload in deployed_workloads(view):
        mounts = flag(pod_spec(workload), "automountServiceAccountToken") is not False
        if mounts and account_name(workload) == "default" and not is_platform_namespace(workload.namespace):
            users[workload.namespace].append(workload)
    for namespace, workloads in users.items():
        account = view.get("ServiceAccount", namespace, "default")
        if account is None or flag(account.raw, "automountServiceAccountToken") is False:
            continue
        if index.direct_grants(namespace, "default"):
            continue  # another code: the account's rights are the matter
        names = ", ".join(w.name for w in workloads[:6])
        yield finding(
            TOKEN_MOUNTED,
            account,
            f"{len(workloads)} workload(s) of namespace {namespace} ({names}) mount a token of the account default, "
            "which was given no rights; other namespaces of this cluster switch that off.",
            [_not_switched_off(account)],
            related=[w.ref for w in workloads[:20]],
        )


def _not_switched_off(account: K8sObject) -> Evidence:
    value = flag(account.raw, "automountServiceAccountToken")
    if value is not None:
        return seen_field(account, "automountServiceAccountToken", value)
    return missing_field(account, "automountServiceAccountToken", "tokens are mounted by default")


ANALYZERS: tuple[Analyzer, ...] = (missing_tokens, mounted_tokens)
CODES: tuple[Code, ...] = (TOKEN_NOT_MOUNTED, TOKEN_MOUNTED)
