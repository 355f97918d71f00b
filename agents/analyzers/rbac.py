"""Rights that are wider than a workload needs: what a compromise of one pod would give away.

Only rights that are handed to service accounts of ordinary workloads, or to everybody, are reported; the cluster's own
roles (`system:*`, `kubeadm:*`, the providers' roles with a colon) and the accounts of platform namespaces are not. A
role that could not be read is judged by its name alone where that is known (`cluster-admin`, `admin`, `edit`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agents.analyzers.accounts import (
    WRITE_VERBS,
    AccessIndex,
    Grant,
    describe_rule,
    is_built_in,
    resource_in,
)
from agents.analyzers.base import Analyzer, Code, Role, finding, seen_field
from agents.analyzers.grants import (
    DISCOVERY_ROLES,
    MAX_NAMES,
    account_refs,
    binds,
    full_rule,
    grant_evidence,
    is_built_in_binding,
    named,
    ordinary_accounts,
    reads_secrets,
    remedy_facts,
    rule_evidence,
)
from agents.analyzers.ownership import account_path
from agents.cluster.objects import K8sObject, mapping, strings
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, Severity

_NARROW = (
    "Find out what {accounts} really asks for, write a Role with only that, bind it, then take this binding away:\n"
    "`kubectl auth can-i --list --as=system:serviceaccount:{account_ns}:{account}`\n"
    "`kubectl get {name_kind} {name}{in_ns} -o yaml`{gitops}"
)

WILDCARD_BOUND = Code(
    "wildcard-role-bound", Domain.SECURITY, Severity.WARNING, Role.RISK,
    "A service account may do everything in the cluster (wildcard role)", _NARROW, 0.97,
)  # fmt: skip
ADMIN_BOUND = Code(
    "cluster-admin-bound-to-account", Domain.SECURITY, Severity.WARNING, Role.RISK,
    "A service account is cluster-admin", _NARROW, 0.97,
)  # fmt: skip
NAMESPACE_WILDCARD = Code(
    "namespace-admin-bound-to-account", Domain.SECURITY, Severity.INFO, Role.RISK,
    "A service account may do everything in a namespace", _NARROW, 0.9,
)  # fmt: skip
ESCALATE = Code(
    "role-can-escalate", Domain.SECURITY, Severity.WARNING, Role.RISK,
    "A role lets a workload widen its own rights",
    "Take the verbs or resources named out of the role unless the workload is a controller that must have them:\n"
    "`kubectl edit {kind} {name}{in_ns}`\n"
    "Check who is bound to it: `kubectl get clusterrolebindings,rolebindings -A -o wide | grep {name}`{gitops}", 0.92,
)  # fmt: skip
READS_SECRETS = Code(
    "secrets-readable-cluster-wide", Domain.SECURITY, Severity.WARNING, Role.RISK,
    "A workload may read the Secrets of all namespaces",
    "Bind the role in the namespaces that need it with RoleBindings, or name the Secrets with resourceNames:\n"
    "`kubectl edit {kind} {name}`\n"
    "Afterwards `kubectl auth can-i get secrets -A --as=system:serviceaccount:{account_ns}:{account}` says no.{gitops}",
    0.93,
)  # fmt: skip
EXEC = Code(
    "role-can-exec-everywhere", Domain.SECURITY, Severity.WARNING, Role.RISK,
    "A workload may run commands in the pods of all namespaces",
    "Bind the role with RoleBindings in the namespaces concerned instead of a ClusterRoleBinding, or take pods/exec\n"
    "and pods/attach out of it: `kubectl edit {kind} {name}`{gitops}", 0.9,
)  # fmt: skip
DEFAULT_HAS_RIGHTS = Code(
    "default-account-has-rights", Domain.SECURITY, Severity.INFO, Role.RISK,
    "The default account of a namespace has rights, so every pod there has them",
    "Make an account for the workload that needs the rights, bind the role to it, and let the workload use it:\n"
    "`kubectl -n {account_ns} create serviceaccount NEW-ACCOUNT`\n"
    "`kubectl -n {account_ns} set serviceaccount deployment/NAME NEW-ACCOUNT`, then take `default` out of the binding.",
    0.9,
)  # fmt: skip


# (what it permits, API groups, resources, verbs): each lets its holder get rights that the role does not list
_ESCALATIONS: tuple[tuple[str, str, tuple[str, ...], frozenset[str]], ...] = (
    ("grant itself any role", "rbac.authorization.k8s.io", ("roles", "clusterroles"), frozenset({"escalate", "bind"})),
    ("act as anybody else", "", ("users", "groups", "serviceaccounts"), frozenset({"impersonate"})),
    ("make tokens of other accounts", "", ("serviceaccounts/token",), frozenset({"create"})),
    ("run commands through any kubelet", "", ("nodes/proxy",), frozenset({"create", "get"})),
    (
        "approve client certificates",
        "certificates.k8s.io",
        ("certificatesigningrequests/approval", "signers"),
        frozenset({"update", "patch", "approve"}),
    ),
)


def _escalation(rules: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], str, str] | None:
    """(rule, verb, what it permits) of the first rule with which a holder can widen its rights."""
    for rule in rules:
        groups, verbs = strings(rule, "apiGroups"), strings(rule, "verbs")
        for permits, group, resources, wanted in _ESCALATIONS:
            named = [r for r in resources if resource_in(r, strings(rule, "resources"))]
            if not named or (group not in groups and "*" not in groups) or strings(rule, "resourceNames"):
                continue
            verb = next((v for v in verbs if v in wanted or v == "*"), "")
            if verb:
                return rule, f"{verb} {named[0]}", permits
    return None


def _execs(rules: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    for rule in rules:
        named, in_core = strings(rule, "resources"), {"", "*"} & set(strings(rule, "apiGroups"))
        runs = any(resource_in(r, named) for r in ("pods/exec", "pods/attach"))
        if in_core and runs and {"create", "*"} & set(strings(rule, "verbs")):
            return rule
    return None


def _users(index: AccessIndex, accounts: Sequence[tuple[str, str]]) -> list[K8sObject]:
    return [w for key in accounts for w in index.workloads_of(*key)]


def _run_by(workloads: Sequence[K8sObject]) -> str:
    if not workloads:
        return "No workload that was read runs with it."
    names = ", ".join(f"{w.kind} {w.namespace}/{w.name}" for w in workloads[:MAX_NAMES])
    more = f" and {len(workloads) - MAX_NAMES} more" if len(workloads) > MAX_NAMES else ""
    return f"Pods of {names}{more} run with it."


def _bound_role_findings(grant: Grant, index: AccessIndex) -> Iterator[Finding]:
    """A binding that gives everything to service accounts."""
    rule = full_rule(grant.rules)
    subjects = ordinary_accounts(grant)
    if rule is None or not subjects or is_built_in_binding(grant.binding):
        return
    accounts = [key for _, key in subjects]
    workloads = _users(index, accounts)
    is_default = any(name == "default" for _, name in accounts)
    code = ADMIN_BOUND if grant.role_ref.name == "cluster-admin" else WILDCARD_BOUND
    severity = None
    if grant.scope:
        code, severity = NAMESPACE_WILDCARD, Severity.WARNING if workloads or is_default else None
    shared = " The default account is used by every pod of the namespace that names no other one." if is_default else ""
    yield finding(
        code,
        grant.binding,
        f"{binds(grant)} "
        f"({describe_rule(rule)}: a wildcard, every action on all resources) to ServiceAccount {named(accounts)}, "
        f"{grant.where}. {_run_by(workloads)}{shared}",
        [*grant_evidence(grant, subjects[0][0], rule), *_account_evidence(workloads)],
        severity=severity,
        related=[grant.role_ref, *account_refs(accounts), *(w.ref for w in workloads[:20])],
        **remedy_facts(grant.binding.ref, accounts, grant.binding),
    )


def _account_evidence(workloads: Sequence[K8sObject]) -> list[Evidence]:
    """Which account the first workload says it uses; nothing where it names none."""
    for workload in workloads[:1]:
        path = account_path(workload)
        named = mapping(workload.raw, *path.split(".")[:-1]).get("serviceAccountName")
        if named:
            return [seen_field(workload, path, named)]
        return [
            Evidence(
                kind="absence",
                object=workload.ref,
                locator=path,
                excerpt=f"{path} is not set, so the pods run with the account default",
            )
        ]
    return []


def wide_bindings(view: ClusterView) -> Iterator[Finding]:
    """Bindings that let a workload's account do everything, in the cluster or in a namespace."""
    index = view.derived(AccessIndex)
    for grant in index.grants:
        yield from _bound_role_findings(grant, index)


def powerful_roles(view: ClusterView) -> Iterator[Finding]:
    """Roles short of everything that still give the cluster away, bound to accounts of ordinary workloads."""
    index = view.derived(AccessIndex)
    by_role: dict[tuple[str, str, str], list[Grant]] = {}
    for grant in index.grants:
        if ordinary_accounts(grant) and not is_built_in_binding(grant.binding) and full_rule(grant.rules) is None:
            by_role.setdefault(grant.role_ref.key, []).append(grant)
    for grants in by_role.values():
        wide = [g for g in grants if not g.scope]
        if found := _escalation(grants[0].rules):
            rule, verb, permits = found
            yield _role_finding(
                ESCALATE, wide or grants, rule, f"may {verb}, that is {permits}", index, loud=bool(wide)
            )
        if wide and (secret_rule := reads_secrets(wide[0].rules)) is not None:
            yield _role_finding(READS_SECRETS, wide, secret_rule, "may read the secrets of all namespaces", index)
        if wide and (exec_rule := _execs(wide[0].rules)) is not None:
            yield _role_finding(EXEC, wide, exec_rule, "may run commands in pods (pods/exec) everywhere", index)


def _role_finding(
    code: Code, grants: Sequence[Grant], rule: Mapping[str, Any], may: str, index: AccessIndex, *, loud: bool = True
) -> Finding:
    first = grants[0]
    subjects = [pair for g in grants for pair in ordinary_accounts(g)]
    accounts = list(dict.fromkeys(key for _, key in subjects))
    workloads = _users(index, accounts)
    # a built-in role cannot be what has to change: then it is the binding
    holder: K8sObject = first.binding if first.role is None or is_built_in(first.role_ref.name) else first.role
    bindings = [g.binding.ref for g in grants if g.binding is not holder]
    return finding(
        code,
        holder,
        f"ServiceAccount {named(accounts)} {may}: {binds(first)} to it {first.where} "
        f"({describe_rule(rule)}). {_run_by(workloads)}",
        [*rule_evidence(first, rule), *grant_evidence(first, subjects[0][0], None), *_account_evidence(workloads)],
        severity=None if loud else Severity.INFO,
        related=[first.role_ref, *bindings, *account_refs(accounts), *(w.ref for w in workloads[:20])],
        **remedy_facts(holder.ref, accounts, holder),
    )


def default_account_rights(view: ClusterView) -> Iterator[Finding]:
    """Bindings that name the `default` account of a namespace, short of those that give it everything."""
    index = view.derived(AccessIndex)
    for grant in index.grants:
        if (
            full_rule(grant.rules) is not None
            or is_built_in_binding(grant.binding)
            or grant.role_ref.name in DISCOVERY_ROLES
        ):
            continue
        for subject, key in ordinary_accounts(grant):
            if key[1] != "default":
                continue
            writes = any(WRITE_VERBS & set(strings(r, "verbs")) for r in grant.rules)
            secrets = reads_secrets(grant.rules) is not None
            rule = next(iter(grant.rules), None)
            workloads = index.workloads_of(*key)
            yield finding(
                DEFAULT_HAS_RIGHTS,
                grant.binding,
                f"{binds(grant)} to the account default of namespace {key[0]}, {grant.where}: every pod "
                "that names no account of its own has these "
                f"rights. {_run_by(workloads)}",
                [*grant_evidence(grant, subject, rule), *_account_evidence(workloads)],
                severity=Severity.WARNING if writes or secrets else None,
                related=[grant.role_ref, *account_refs([key]), *(w.ref for w in workloads[:20])],
                **remedy_facts(grant.binding.ref, [key], grant.binding),
            )


ANALYZERS: tuple[Analyzer, ...] = (
    wide_bindings,
    powerful_roles,
    default_account_rights,
)
CODES: tuple[Code, ...] = (
    WILDCARD_BOUND,
    ADMIN_BOUND,
    NAMESPACE_WILDCARD,
    ESCALATE,
    READS_SECRETS,
    EXEC,
    DEFAULT_HAS_RIGHTS,
)
