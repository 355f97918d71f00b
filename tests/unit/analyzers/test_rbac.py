"""Rights wider than needed: what is a finding, on which object, and what is left alone."""

from __future__ import annotations

import pytest

from agents.analyzers.base import Analyzer
from agents.analyzers.rbac import default_account_rights, powerful_roles, wide_bindings
from agents.analyzers.rbac_bindings import bound_to_everyone, dangling_bindings
from tests.support.views import codes_of, view_of

WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: crawler, namespace: shop}
spec: {replicas: 1, template: {spec: {serviceAccountName: crawler, containers: [{name: app, image: a:1}]}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: crawler, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: shop}
"""


def role(rules: str, kind: str = "ClusterRole", name: str = "reach") -> str:
    namespace = ", namespace: shop" if kind == "Role" else ""
    return f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: {kind}
metadata: {{name: {name}{namespace}}}
rules: {rules}
"""


def binding(
    subject: str = "{kind: ServiceAccount, name: crawler, namespace: shop}",
    *,
    kind: str = "ClusterRoleBinding",
    role: str = "reach",
    role_kind: str = "ClusterRole",
) -> str:
    namespace = ", namespace: shop" if kind == "RoleBinding" else ""
    return f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: {kind}
metadata: {{name: grant{namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {role_kind}, name: {role}}}
subjects: [{subject}]
"""


ALL = "[{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]"
DEFAULT = "{kind: ServiceAccount, name: default, namespace: shop}"


def test_a_wildcard_role_bound_to_the_default_account_names_role_account_and_workloads() -> None:
    anonymous_workload = WORKLOAD.replace("serviceAccountName: crawler, ", "")
    view = view_of(anonymous_workload, role(ALL), binding(DEFAULT))
    (found,) = wide_bindings(view)
    assert found.code == "wildcard-role-bound"
    assert str(found.object) == "ClusterRoleBinding grant"
    for word in ("reach", "shop/default", "*", "crawler"):
        assert word in found.message
    assert {r.kind for r in found.related} >= {"ClusterRole", "ServiceAccount", "Deployment"}


def test_the_built_in_cluster_admin_is_known_without_having_been_read() -> None:
    assert codes_of(wide_bindings, view_of(WORKLOAD, binding(role="cluster-admin"))) == [
        "cluster-admin-bound-to-account"
    ]


def test_everything_in_one_namespace_is_a_warning_when_pods_run_with_it() -> None:
    pipeline = "{kind: ServiceAccount, name: pipeline, namespace: shop}"
    unused = view_of(WORKLOAD, role(ALL), binding(pipeline, kind="RoleBinding"))
    used = view_of(WORKLOAD, role(ALL), binding(kind="RoleBinding"))
    assert [(f.code, f.severity) for f in wide_bindings(unused)] == [("namespace-admin-bound-to-account", "info")]
    assert [f.severity for f in wide_bindings(used)] == ["warning"]


@pytest.mark.parametrize(
    "subject",
    [
        "{kind: Group, name: 'system:masters'}",
        "{kind: User, name: jane@example.com}",
        "{kind: ServiceAccount, name: operator, namespace: kube-system}",
        "{kind: ServiceAccount, name: controller, namespace: argocd}",
    ],
)
def test_people_and_the_clusters_own_operators_may_be_administrators(subject: str) -> None:
    assert codes_of(wide_bindings, view_of(WORKLOAD, binding(subject, role="cluster-admin"))) == []


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ("[{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], verbs: [bind]}]", "role-can-escalate"),
        ("[{apiGroups: [''], resources: [users], verbs: [impersonate]}]", "role-can-escalate"),
        ("[{apiGroups: [''], resources: [serviceaccounts/token], verbs: [create]}]", "role-can-escalate"),
        ("[{apiGroups: [''], resources: [secrets], verbs: [get, list]}]", "secrets-readable-cluster-wide"),
        ("[{apiGroups: [''], resources: [pods/exec], verbs: [create]}]", "role-can-exec-everywhere"),
    ],
)
def test_a_role_that_gives_the_cluster_away_is_reported_on_the_role(rules: str, code: str) -> None:
    view = view_of(WORKLOAD, role(rules), binding())
    (found,) = powerful_roles(view)
    assert (found.code, str(found.object), found.severity) == (code, "ClusterRole reach", "warning")
    assert "crawler" in found.message


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        ("[{apiGroups: [''], resources: [secrets], resourceNames: [mine], verbs: [get]}]", "ClusterRoleBinding"),
        ("[{apiGroups: [''], resources: [secrets], verbs: [get]}]", "RoleBinding"),
        ("[{apiGroups: [''], resources: [pods], verbs: [get, list, watch]}]", "ClusterRoleBinding"),
    ],
)
def test_narrow_rights_are_no_finding(rules: str, kind: str) -> None:
    assert codes_of(powerful_roles, view_of(WORKLOAD, role(rules), binding(kind=kind))) == []


def test_rights_of_the_default_account_are_a_warning_only_when_they_write() -> None:
    read = view_of(WORKLOAD, role("[{apiGroups: [''], resources: [pods], verbs: [get]}]"), binding(DEFAULT))
    write = view_of(WORKLOAD, role("[{apiGroups: [''], resources: [pods], verbs: [delete]}]"), binding(DEFAULT))
    assert [(f.code, f.severity) for f in default_account_rights(read)] == [("default-account-has-rights", "info")]
    assert [f.severity for f in default_account_rights(write)] == ["warning"]
    assert codes_of(default_account_rights, view_of(WORKLOAD, role("[]"), binding())) == []


@pytest.mark.parametrize(
    ("subject", "bound", "expected"),
    [
        ("{kind: User, name: 'system:anonymous'}", "cluster-admin", ("anonymous-cluster-admin", "error")),
        ("{kind: Group, name: 'system:unauthenticated'}", "reach", ("anonymous-access-granted", "warning")),
        ("{kind: Group, name: 'system:authenticated'}", "cluster-admin", ("every-account-bound", "warning")),
        ("{kind: Group, name: 'system:serviceaccounts:shop'}", "reach", ("every-account-bound", "info")),
    ],
)
def test_rights_of_everybody(subject: str, bound: str, expected: tuple[str, str]) -> None:
    view = view_of(role("[{apiGroups: [''], resources: [pods], verbs: [get]}]"), binding(subject, role=bound))
    assert [(f.code, f.severity) for f in bound_to_everyone(view)] == [expected]


def test_discovery_for_everybody_is_as_the_cluster_makes_it() -> None:
    view = view_of(binding("{kind: Group, name: 'system:unauthenticated'}", role="system:public-info-viewer"))
    assert codes_of(bound_to_everyone, view) == []


def test_a_binding_to_a_role_that_does_not_exist_names_the_near_one() -> None:
    view = view_of(WORKLOAD, role("[]", name="reach-reader"), binding(role="reach-raeder"))
    (found,) = dangling_bindings(view)
    assert found.code == "binding-to-missing-role"
    assert "reach-reader" in found.message


@pytest.mark.parametrize("name", ["view", "cluster-admin", "system:node-reader"])
def test_built_in_roles_that_a_record_leaves_out_are_not_missing(name: str) -> None:
    assert codes_of(dangling_bindings, view_of(WORKLOAD, binding(role=name))) == []


def test_roles_that_were_not_listed_are_not_missing() -> None:
    view = view_of(WORKLOAD, binding(), listed=frozenset({"ServiceAccount"}))
    assert codes_of(dangling_bindings, view) == []


def test_a_binding_to_an_account_that_does_not_exist() -> None:
    view = view_of(WORKLOAD, role("[]"), binding("{kind: ServiceAccount, name: crawlr, namespace: shop}"))
    (found,) = dangling_bindings(view)
    assert (found.code, found.severity) == ("binding-to-missing-account", "info")
    assert "crawler" in found.message


@pytest.mark.parametrize(
    "analyzer", [wide_bindings, powerful_roles, bound_to_everyone, default_account_rights, dangling_bindings]
)
def test_malformed_bindings_are_survived(analyzer: Analyzer) -> None:
    broken = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: odd}
roleRef: null
subjects: [null, 3, {kind: ServiceAccount}]
"""
    list(analyzer(view_of(broken, role("null"), binding(subject="null"))))
