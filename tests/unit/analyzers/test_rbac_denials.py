"""Refusals of the API server: parsed from logs, compared with roles, blamed on what has to change."""

from __future__ import annotations

import pytest

from agents.analyzers.api_tokens import missing_tokens, mounted_tokens
from agents.analyzers.denials import parse_denial
from agents.analyzers.rbac_denials import refused_permissions
from tests.support.views import codes_of, view_of

Logs = dict[tuple[str, str, str] | tuple[str, str, str, bool], str]
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: lister-1, namespace: shop}}
spec: {{serviceAccountName: {account}, containers: [{{name: app, image: a:1}}]}}
status:
  phase: Running
  conditions: [{{type: Ready, status: '{ready}'}}]
  containerStatuses: [{{name: app, ready: {flag}, restartCount: 0, state: {{running: {{}}}}}}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {account}, namespace: shop}}
"""
ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: {kind}
metadata: {{name: lister, namespace: {ns}}}
rules: {rules}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {binding}
metadata: {{name: lister, namespace: {binding_ns}}}
roleRef: {{kind: {kind}, name: lister}}
subjects: [{{kind: ServiceAccount, name: {account}, namespace: {account_ns}}}]
"""
PODS = "[{apiGroups: [''], resources: [pods], verbs: [get, list, watch]}]"
NODES = (
    r"E0101 reflector.go:1] failed to list *v1.Node: nodes is forbidden: User \"system:serviceaccount:shop:lister\" "
    r"cannot list resource \"nodes\" in API group \"\" at the cluster scope"
)
JOBS = (
    'jobs.batch is forbidden: User "system:serviceaccount:shop:lister" cannot create resource "jobs" in '
    'API group "batch" in the namespace "shop"'
)
POD_LOG = (
    'pods "x" is forbidden: User "system:serviceaccount:a:b" cannot get resource "pods/log" in API group "" '
    'in the namespace "c"'
)


def pod(account: str = "lister", *, ready: bool = False) -> str:
    return POD.format(account=account, ready=ready, flag=str(ready).lower())


def cluster_role(rules: str = PODS, **over: str) -> str:
    values = {"kind": "ClusterRole", "ns": '""', "binding": "ClusterRoleBinding", "binding_ns": '""'}
    return ROLE.format(**{**values, "account": "lister", "account_ns": "shop", "rules": rules, **over})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (NODES, "list nodes"),
        (JOBS, "create jobs (API group batch)"),
        ('forbidden: User "system:serviceaccount:a:b" cannot get path "/metrics"', "get /metrics"),
        (POD_LOG, "get pods/log"),
    ],
)
def test_a_denial_is_read_from_the_api_servers_words(line: str, expected: str) -> None:
    parsed = parse_denial(line)
    assert parsed is not None
    assert str(parsed[1]) == expected


def test_other_refusals_are_no_denials() -> None:
    assert parse_denial('User "jane" cannot list resource "pods" in API group "" at the cluster scope') is None
    assert parse_denial("403 Forbidden: cannot open the bucket") is None


def test_the_role_without_the_rule_is_to_blame_and_the_rule_is_in_the_remedy() -> None:
    view = view_of(pod(), cluster_role(), logs={("shop", "lister-1", "app"): NODES})
    (found,) = refused_permissions(view)
    assert (found.code, str(found.object), found.severity) == ("rbac-permission-missing", "ClusterRole lister", "error")
    assert "forbidden to list nodes" in found.message
    assert 'resources: ["nodes"]\n  verbs: [get, list, watch]' in found.remedy


def test_a_ready_workload_gets_no_error() -> None:
    view = view_of(pod(ready=True), cluster_role(), logs={("shop", "lister-1", "app"): NODES})
    assert [f.severity for f in refused_permissions(view)] == ["info"]


def test_a_ready_workload_that_was_asked_about_and_is_refused_again_and_again_cannot_do_its_work() -> None:
    lines: Logs = {("shop", "lister-1", "app"): "\n".join([NODES] * 6)}
    asked = view_of(pod(ready=True), cluster_role(), logs=lines, focus=frozenset({"shop"}))
    passed = view_of(pod(ready=True), cluster_role(), logs=lines)
    assert [f.severity for f in refused_permissions(asked)] == ["error"]
    assert [f.severity for f in refused_permissions(passed)] == ["warning"]


def test_a_run_that_has_ended_well_is_not_searched_for_refusals() -> None:
    done = pod().replace("phase: Running", "phase: Succeeded")
    assert codes_of(refused_permissions, view_of(done, cluster_role(), logs={("shop", "lister-1", "app"): NODES})) == []


def test_a_refusal_that_the_present_role_would_permit_is_history() -> None:
    mended = "[{apiGroups: [''], resources: [nodes], verbs: ['*']}]"
    view = view_of(pod(), cluster_role(mended), logs={("shop", "lister-1", "app"): NODES})
    assert codes_of(refused_permissions, view) == []


def test_a_rule_for_the_wrong_api_group_is_named() -> None:
    wrong = "[{apiGroups: [''], resources: [jobs], verbs: [create]}]"
    view = view_of(pod(), cluster_role(wrong), logs={("shop", "lister-1", "app"): JOBS})
    (found,) = refused_permissions(view)
    assert 'names jobs in API group "", and they are in "batch"' in found.message


def test_a_cluster_wide_call_through_a_namespaced_binding_blames_the_binding() -> None:
    rules = "[{apiGroups: [''], resources: [nodes], verbs: [list]}]"
    role = cluster_role(rules, binding="RoleBinding", binding_ns="shop")
    (found,) = refused_permissions(view_of(pod(), role, logs={("shop", "lister-1", "app"): NODES}))
    assert (found.code, str(found.object)) == ("rbac-binding-too-narrow", "RoleBinding shop/lister")
    assert "kubectl create clusterrolebinding" in found.remedy


def test_a_binding_for_the_account_of_another_namespace_is_to_blame() -> None:
    rules = "[{apiGroups: [''], resources: [nodes], verbs: [list]}]"
    role = cluster_role(rules, account_ns="shop-old")
    (found,) = refused_permissions(view_of(pod(), role, logs={("shop", "lister-1", "app"): NODES}))
    assert (found.code, str(found.object)) == ("rbac-binding-wrong-subject", "ClusterRoleBinding lister")


def test_a_workload_with_the_default_account_beside_one_that_has_the_rights() -> None:
    rules = "[{apiGroups: [''], resources: [nodes], verbs: [list]}]"
    account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: lister, namespace: shop}\n"
    log = NODES.replace("shop:lister", "shop:default")
    view = view_of(pod("default"), account, cluster_role(rules), logs={("shop", "lister-1", "app"): log})
    (found,) = refused_permissions(view)
    assert (found.code, str(found.object)) == ("workload-uses-wrong-account", "Pod shop/lister-1")


def test_a_binding_to_a_role_that_does_not_exist_is_to_blame() -> None:
    only_binding = cluster_role().partition("---")[2]
    (found,) = refused_permissions(view_of(pod(), only_binding, logs={("shop", "lister-1", "app"): NODES}))
    assert str(found.object) == "ClusterRoleBinding lister"
    assert "does not exist" in found.message


def test_an_account_without_any_binding_is_the_object() -> None:
    (found,) = refused_permissions(view_of(pod(), logs={("shop", "lister-1", "app"): NODES}))
    assert str(found.object) == "ServiceAccount shop/lister"
    assert "no role is bound" in found.message


TOKEN_LOG = "open /var/run/secrets/kubernetes.io/serviceaccount/token: no such file or directory"


def test_a_missing_token_counts_when_mounting_is_switched_off() -> None:
    off = pod().replace(
        "serviceAccountName: lister,", "serviceAccountName: lister, automountServiceAccountToken: false,"
    )
    log: Logs = {("shop", "lister-1", "app"): TOKEN_LOG}
    (found,) = missing_tokens(view_of(off, logs=log))
    assert found.code == "api-token-not-mounted"
    assert "automountServiceAccountToken is false" in found.message
    assert codes_of(missing_tokens, view_of(pod(), logs=log)) == []


def test_mounted_tokens_are_said_only_where_the_cluster_switches_them_off_elsewhere() -> None:
    other = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: strict}
automountServiceAccountToken: false
"""
    assert codes_of(mounted_tokens, view_of(pod("default"), other)) == ["api-token-automounted"]
    assert codes_of(mounted_tokens, view_of(pod("default"))) == []
