"""Faults of rights, security reviews and monitoring."""
# ruff: noqa: E501  # messages of kubelet, scheduler and controllers stand as they are written, in one piece
# A state reads as a table, one fact a line:
# fmt: off

from __future__ import annotations

from collections.abc import Callable

from tests.support.judging import Expected
from tests.support.kubelet import crash, unready
from tests.support.scene import Scene
from tests.support.simulation import Raw

RBAC = "rbac.authorization.k8s.io/v1"


def _account(s: Scene, name: str) -> str:
    s.sim.add("v1", "ServiceAccount", name, s.ns)
    return f"system:serviceaccount:{s.ns}:{name}"


def _role(s: Scene, name: str, *rules: Raw, cluster: bool = False) -> None:
    s.sim.add(RBAC, "ClusterRole" if cluster else "Role", name, "" if cluster else s.ns, rules=list(rules))


def _bind(s: Scene, name: str, role: str, account: str, *, cluster: bool = False, namespace: str = "") -> None:
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole" if cluster else "Role", "name": role}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace or s.ns}
    s.sim.add(RBAC, "ClusterRoleBinding" if cluster else "RoleBinding", name, "" if cluster else s.ns, roleRef=ref, subjects=[subject])


def _runs_as(account: str) -> Callable[[Raw], None]:
    return lambda p: p.update(serviceAccountName=account, serviceAccount=account)


def verb_missing(s: Scene) -> Expected:
    user = _account(s, "job-runner")
    _role(s, "job-runner", {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list"]})
    _bind(s, "job-runner", "job-runner", "job-runner")
    for pod in s.release(_runs_as("job-runner"), kinds=("Deployment",)):
        crash(s.sim, pod, 1, s.log("starting", f'jobs.batch is forbidden: User "{user}" cannot create resource "jobs" in API group "batch" in the namespace "{s.ns}"').replace('\\"', '"'))
    return s.cause("jobs", "create", "forbidden|permission|not allowed", of=(f"Role/{s.ns}/job-runner", f"RoleBinding/{s.ns}/job-runner", f"ServiceAccount/{s.ns}/job-runner", s.ref(s.work)))


def binding_wrong_namespace(s: Scene) -> Expected:
    user = _account(s, "node-watcher")
    _role(s, "node-watcher", {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}, cluster=True)
    _bind(s, "node-watcher", "node-watcher", "node-watcher", cluster=True, namespace="default")
    for pod in s.release(_runs_as("node-watcher"), kinds=("Deployment",)):
        unready(s.sim, pod, "HTTP probe failed with statuscode: 500", log=f'E0611 07:17:02.1 1 reflector.go:200] "Failed to watch" err="failed to list *v1.Node: nodes is forbidden: User \\"{user}\\" cannot list resource \\"nodes\\" in API group \\"\\" at the cluster scope"')
    return s.cause("nodes", "node-watcher", of=("ClusterRoleBinding//node-watcher", "ClusterRole//node-watcher", f"ServiceAccount/{s.ns}/node-watcher", s.ref(s.work)))


def no_role_at_all(s: Scene) -> Expected:
    for pod in s.container(lambda c: c.update(args=["--leader-elect"]), kinds=("Deployment",)):
        crash(s.sim, pod, 1, f'error retrieving resource lock {s.ns}/leader: leases.coordination.k8s.io "leader" is forbidden: User "system:serviceaccount:{s.ns}:default" cannot get resource "leases" in API group "coordination.k8s.io" in the namespace "{s.ns}"')
    return s.cause("leases", "default", of=(s.ref(s.work), f"ServiceAccount/{s.ns}/default"))


def cluster_admin_to_workload(s: Scene) -> Expected:
    _account(s, "deploy-bot")
    s.workload(("Deployment",), pod={"serviceAccountName": "deploy-bot", "serviceAccount": "deploy-bot"})
    s.sim.add(RBAC, "ClusterRole", "cluster-admin", rules=[{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])
    _bind(s, "deploy-bot-admin", "cluster-admin", "deploy-bot", cluster=True)
    s.expected.risk = True
    return s.cause("cluster-admin", "deploy-bot", of=("ClusterRoleBinding//deploy-bot-admin", f"ServiceAccount/{s.ns}/deploy-bot"))


def secret_reader(s: Scene) -> Expected:
    _account(s, "report-bot")
    s.workload(("Deployment",), pod={"serviceAccountName": "report-bot", "serviceAccount": "report-bot"})
    _role(s, "all-secrets", {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}, cluster=True)
    _bind(s, "report-bot-secrets", "all-secrets", "report-bot", cluster=True)
    s.expected.risk = True
    return s.cause("secrets", "all-secrets", of=("ClusterRoleBinding//report-bot-secrets", "ClusterRole//all-secrets", f"ServiceAccount/{s.ns}/report-bot"))


def docker_socket(s: Scene) -> Expected:
    s.workload(("DaemonSet",), pod={"volumes": [{"name": "sock", "hostPath": {"path": "/var/run/docker.sock"}}]})
    s.expected.risk = True
    return s.cause("/var/run/docker.sock", "hostPath")


def privileged(s: Scene) -> Expected:
    s.workload(("Deployment",), container={"securityContext": {"privileged": True}})
    s.expected.risk = True
    return s.cause("privileged")


def host_network(s: Scene) -> Expected:
    s.workload(("Deployment",), pod={"hostNetwork": True, "hostPID": True})
    s.expected.risk = True
    return s.cause("hostPID|hostNetwork")


def password_in_variable(s: Scene) -> Expected:
    s.workload(("Deployment",), container={"env": [{"name": "SMTP_PASSWORD", "value": "Jx9!kq2vL0zz"}]})
    s.expected.risk = True
    return s.cause("SMTP_PASSWORD")


def runs_as_root(s: Scene) -> Expected:
    s.workload(("Deployment",), pod={"securityContext": {"runAsUser": 0}})
    s.expected.risk = True
    return s.cause("root|runAsUser|runAsNonRoot")


def _monitor(s: Scene, **spec: object) -> Raw:
    endpoints = [{"port": "http", "path": "/metrics", "interval": "30s"}]
    body = {"endpoints": endpoints, "selector": {"matchLabels": dict(s.work.labels)}}
    return s.sim.add("monitoring.coreos.com/v1", "ServiceMonitor", s.work.name, s.ns, spec=body | spec)


def monitor_port_wrong(s: Scene) -> Expected:
    s.workload(("Deployment",))
    s.sim.get("Service", s.ns, s.work.name)["metadata"]["labels"] = dict(s.work.labels)
    _monitor(s, endpoints=[{"port": "metrics-http", "interval": "30s"}])
    return s.cause("metrics-http", "http", of=(f"ServiceMonitor/{s.ns}/{s.work.name}",))


def monitor_selects_nothing(s: Scene) -> Expected:
    s.workload(("Deployment",))
    s.sim.get("Service", s.ns, s.work.name)["metadata"]["labels"] = dict(s.work.labels)
    _monitor(s, selector={"matchLabels": {"app": s.work.name + "-metrics"}})
    return s.cause(s.work.name + "-metrics", "select|match", of=(f"ServiceMonitor/{s.ns}/{s.work.name}",))


def rule_does_not_parse(s: Scene) -> Expected:
    s.workload(("Deployment",))
    rules = [{"alert": "HighErrors", "expr": "sum(rate(http_requests_total{status=~'5..'}[5m]) by (job) > 3"}]
    s.sim.add("monitoring.coreos.com/v1", "PrometheusRule", "alerts", s.ns, spec={"groups": [{"name": "a", "rules": rules}]})
    s.expected.risk = True
    return s.cause("HighErrors", of=(f"PrometheusRule/{s.ns}/alerts",))


def custom_resource_fails(s: Scene) -> Expected:
    s.workload(("Deployment",))
    condition = {"type": "Ready", "status": "False", "reason": "SecretSyncedError", "lastTransitionTime": s.sim.ago(44),
        "message": "could not get secret data from provider: ClusterSecretStore \"vault-prod\" is not ready"}  # fmt: skip
    s.sim.add("external-secrets.io/v1", "ExternalSecret", "planner-login", s.ns, age=50, status={"conditions": [condition]},
        spec={"secretStoreRef": {"kind": "ClusterSecretStore", "name": "vault-prod"}, "target": {"name": "planner-login"}})  # fmt: skip
    return s.cause("vault-prod", of=(f"ExternalSecret/{s.ns}/planner-login",))


MUTATIONS: tuple[Callable[[Scene], Expected], ...] = (
    verb_missing, binding_wrong_namespace, no_role_at_all, cluster_admin_to_workload, secret_reader, docker_socket,
    privileged, host_network, password_in_variable, runs_as_root, monitor_port_wrong, monitor_selects_nothing,
    rule_does_not_parse, custom_resource_fails,
)  # fmt: skip
