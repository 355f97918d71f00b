"""Who may do what: service accounts, the roles bound to them, and the workloads that run with them, as one index.

Promise: linear in the number of bindings and workloads; a binding whose role was not read keeps its reference with no
rules, except that the rules of the built-in `cluster-admin`, `admin` and `edit` are known without reading them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.analyzers.ownership import account_name, deployed_workloads
from agents.cluster.objects import K8sObject, mapping, mappings, strings, text
from agents.cluster.view import ClusterView
from agents.evidence import ObjectRef

RBAC_VERSION = "rbac.authorization.k8s.io/v1"
ACCOUNT_PREFIX = "system:serviceaccount:"
READ_VERBS = frozenset({"get", "list", "watch"})
WRITE_VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection", "*"})

_EDITED = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "pods/exec",
    "pods/portforward",
    "secrets",
    "serviceaccounts",
]
_EDIT_RULES: list[Mapping[str, Any]] = [
    {"apiGroups": [""], "resources": _EDITED, "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
]
_BUILT_IN_RULES: Mapping[str, list[Mapping[str, Any]]] = {
    "cluster-admin": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
    "admin": _EDIT_RULES,
    "edit": _EDIT_RULES,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject of a binding. `kind` is ServiceAccount, User or Group; `namespace` only for accounts."""

    kind: str
    namespace: str
    name: str
    path: str

    @property
    def account(self) -> tuple[str, str] | None:
        """(namespace, name) when this names a ServiceAccount, also written as a user name."""
        if self.kind == "ServiceAccount":
            return (self.namespace, self.name)
        if self.kind == "User" and self.name.startswith(ACCOUNT_PREFIX):
            namespace, _, name = self.name.removeprefix(ACCOUNT_PREFIX).partition(":")
            return (namespace, name)
        return None

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Grant:
    """One binding with its role. `scope` is "" for the whole cluster, else the one namespace where it holds."""

    binding: K8sObject
    role_ref: ObjectRef
    role: K8sObject | None
    rules: tuple[Mapping[str, Any], ...]
    subjects: tuple[Subject, ...]
    scope: str

    @property
    def where(self) -> str:
        return f"in namespace {self.scope}" if self.scope else "in the whole cluster"


@dataclass(frozen=True, slots=True)
class Permission:
    """One thing that a caller wants to do. `scope` is "" at the cluster scope; `path` is set for non-resource URLs."""

    verb: str
    group: str
    resource: str
    scope: str = ""
    name: str = ""
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"{self.verb} {self.path}"
        group = f" (API group {self.group})" if self.group else ""
        return f"{self.verb} {self.resource}{group}"


def is_built_in(role: str) -> bool:
    """Whether a role comes with the cluster or its provider: not in every record, and not for a user to change."""
    return role in {"cluster-admin", "admin", "edit", "view"} or ":" in role


def rule_allows(rule: Mapping[str, Any], wanted: Permission) -> bool:
    """Whether one rule permits this, as the API server's RBAC authorizer decides."""
    verbs = strings(rule, "verbs")
    if wanted.verb not in verbs and "*" not in verbs:
        return False
    if wanted.path:
        urls = strings(rule, "nonResourceURLs")
        return any(u == "*" or u == wanted.path or (u.endswith("*") and wanted.path.startswith(u[:-1])) for u in urls)
    groups = strings(rule, "apiGroups")
    if wanted.group not in groups and "*" not in groups:
        return False
    names = strings(rule, "resourceNames")
    if names and wanted.name not in names:
        return False
    return resource_in(wanted.resource, strings(rule, "resources"))


def resource_in(resource: str, resources: Sequence[str]) -> bool:
    """Whether a rule's `resources` cover this resource (`pods`, or `pods/log` with its subresource)."""
    if resource in resources or "*" in resources:
        return True
    _, slash, sub = resource.partition("/")
    return bool(slash) and f"*/{sub}" in resources


def describe_rule(rule: Mapping[str, Any]) -> str:
    """A rule in one line, as a person reads it: `verbs [get list] on [pods] in API groups [""]`."""
    urls = strings(rule, "nonResourceURLs")
    if urls:
        return f"verbs [{' '.join(strings(rule, 'verbs'))}] on URLs [{' '.join(urls)}]"
    groups = " ".join(g or '""' for g in strings(rule, "apiGroups"))
    names = strings(rule, "resourceNames")
    only = f", only those named [{' '.join(names)}]" if names else ""
    return (
        f"verbs [{' '.join(strings(rule, 'verbs'))}] on resources [{' '.join(strings(rule, 'resources'))}] "
        f"in API groups [{groups}]{only}"
    )


class AccessIndex:
    """Grants and workloads by service account, over one view."""

    def __init__(self, view: ClusterView) -> None:
        self.grants: tuple[Grant, ...] = tuple(_grants(view))
        self._by_account: dict[tuple[str, str], list[Grant]] = defaultdict(list)
        for grant in self.grants:
            for key in dict.fromkeys(s.account for s in grant.subjects):
                if key is not None:
                    self._by_account[key].append(grant)
        self._by_group: dict[str, list[Grant]] = defaultdict(list)
        for grant in self.grants:
            for subject in grant.subjects:
                if subject.kind == "Group":
                    self._by_group[subject.name].append(grant)
        self._workloads: dict[tuple[str, str], list[K8sObject]] = defaultdict(list)
        for workload in deployed_workloads(view):
            self._workloads[(workload.namespace, account_name(workload))].append(workload)

    def direct_grants(self, namespace: str, account: str) -> tuple[Grant, ...]:
        """The bindings that name this account itself."""
        return tuple(self._by_account.get((namespace, account), ()))

    def all_grants(self, namespace: str, account: str) -> Iterator[Grant]:
        """Every binding that holds for this account, also through its groups."""
        yield from self.direct_grants(namespace, account)
        for group in ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"):
            yield from self._by_group.get(group, ())

    def allows(self, namespace: str, account: str, wanted: Permission) -> bool:
        """Whether the rules that were read permit this to the account."""
        return any(
            grant_allows(grant, wanted)
            for grant in self.all_grants(namespace, account)
            if grant.scope in ("", wanted.scope)
        )

    def workloads_of(self, namespace: str, account: str) -> tuple[K8sObject, ...]:
        """The deployed workloads whose pods run with this account."""
        return tuple(self._workloads.get((namespace, account), ()))

    def workloads_in(self, namespace: str) -> list[K8sObject]:
        """The deployed workloads of a namespace, whatever their account; "" for all namespaces."""
        return [w for (ns, _), found in self._workloads.items() if not namespace or ns == namespace for w in found]


def grant_allows(grant: Grant, wanted: Permission) -> bool:
    """Whether the role of this grant permits it; where the grant holds is not looked at."""
    return any(rule_allows(rule, wanted) for rule in grant.rules)


def _grants(view: ClusterView) -> Iterator[Grant]:
    for binding in view.of_kind("ClusterRoleBinding", "RoleBinding"):
        reference = mapping(binding.raw, "roleRef")
        kind, name = text(reference, "kind"), text(reference, "name")
        namespace = binding.namespace if kind == "Role" else ""
        role = view.get(kind, namespace, name)
        rules = mappings(role.raw, "rules") if role is not None else list(_BUILT_IN_RULES.get(name, []))
        yield Grant(
            binding=binding,
            role_ref=role.ref if role is not None else ObjectRef(RBAC_VERSION, kind, namespace, name),
            role=role,
            rules=tuple(rules),
            subjects=tuple(_subjects(binding)),
            scope=binding.namespace,
        )


def _subjects(binding: K8sObject) -> Iterator[Subject]:
    for index, raw in enumerate(mappings(binding.raw, "subjects")):
        kind = text(raw, "kind")
        namespace = (text(raw, "namespace") or binding.namespace) if kind == "ServiceAccount" else ""
        yield Subject(kind, namespace, text(raw, "name"), f"subjects[{index}]")
