"""How a grant is judged and shown: what its rules amount to, and the evidence and words for it.

Pure functions over `agents.analyzers.accounts.Grant`; nothing here decides whether something is reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.analyzers.accounts import READ_VERBS, Grant, Subject, describe_rule, resource_in
from agents.analyzers.base import seen_field
from agents.analyzers.ownership import is_platform_namespace, manual_change_note
from agents.analyzers.remedies import Composed, word
from agents.cluster.objects import K8sObject, mappings, strings
from agents.evidence import Evidence, ObjectRef

MAX_NAMES = 6
DISCOVERY_ROLES = frozenset({"system:discovery", "system:public-info-viewer", "system:basic-user"})
_ALL_WRITES = frozenset({"create", "update", "delete"})


def is_built_in_binding(binding: K8sObject) -> bool:
    """Whether the cluster or its provider made this binding."""
    return ":" in binding.name or binding.labels.get("kubernetes.io/bootstrapping") == "rbac-defaults"


def full_rule(rules: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The rule that permits (nearly) everything: all resources with all verbs, or with all that write."""
    for rule in rules:
        verbs, groups = set(strings(rule, "verbs")), strings(rule, "apiGroups")
        writes_all = "*" in verbs or verbs >= _ALL_WRITES
        if "*" in strings(rule, "resources") and writes_all and ("*" in groups or "" in groups):
            return rule
    return None


def reads_secrets(rules: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The rule that permits reading Secrets by any name."""
    for rule in rules:
        groups, verbs = strings(rule, "apiGroups"), set(strings(rule, "verbs"))
        if strings(rule, "resourceNames") or not ({"", "*"} & set(groups)):
            continue
        if resource_in("secrets", strings(rule, "resources")) and verbs & (READ_VERBS | {"*"}):
            return rule
    return None


def in_ns(ref: ObjectRef) -> Composed:
    """` -n NAMESPACE` for a command about this object, nothing for a cluster-scoped one."""
    return Composed(f" -n {word(ref.namespace)}" if ref.namespace else "")


def rule_evidence(grant: Grant, rule: Mapping[str, Any]) -> list[Evidence]:
    """Evidence of a rule as the role that was read has it."""
    if grant.role is None:
        return []
    index = next((i for i, r in enumerate(mappings(grant.role.raw, "rules")) if r is rule), 0)
    return [seen_field(grant.role, f"rules[{index}]", describe_rule(rule))]


def grant_evidence(grant: Grant, subject: Subject, rule: Mapping[str, Any] | None) -> list[Evidence]:
    """Evidence of a binding: its role, one subject, and the rule that matters."""
    found = [
        seen_field(grant.binding, "roleRef", f"{grant.role_ref.kind} {grant.role_ref.name}"),
        seen_field(grant.binding, subject.path, str(subject)),
    ]
    return found + (rule_evidence(grant, rule) if rule is not None else [])


def named(accounts: Sequence[tuple[str, str]]) -> str:
    """`ns/name, ns/name` of accounts, at most MAX_NAMES of them."""
    return ", ".join(f"{ns}/{name}" for ns, name in accounts[:MAX_NAMES])


def ordinary_accounts(grant: Grant) -> list[tuple[Subject, tuple[str, str]]]:
    """The service accounts among the subjects that do not belong to the cluster's own machinery."""
    return [(s, s.account) for s in grant.subjects if s.account is not None and not is_platform_namespace(s.account[0])]


def remedy_facts(ref: ObjectRef, accounts: Sequence[tuple[str, str]], holder: K8sObject | None) -> dict[str, Any]:
    """What the remedies of RBAC codes are filled with."""
    namespace, account = accounts[0] if accounts else ("", "")
    return {
        "accounts": named(accounts) or "the subject",
        "account_ns": namespace,
        "account": account,
        "name_kind": ref.kind.lower(),
        "in_ns": in_ns(ref),
        "gitops": manual_change_note(holder) if holder is not None else "",
    }


def account_refs(accounts: Sequence[tuple[str, str]]) -> list[ObjectRef]:
    """References to accounts, whether or not they were read."""
    return [ObjectRef("v1", "ServiceAccount", ns, name) for ns, name in accounts]


def binds(grant: Grant) -> str:
    """`ClusterRoleBinding x binds ClusterRole y`."""
    return f"{grant.binding.kind} {grant.binding.name} binds {grant.role_ref.kind} {grant.role_ref.name}"
