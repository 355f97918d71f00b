"""The cluster's own parts, and what stands in the way of every write."""

from __future__ import annotations

import pytest

from agents.analyzers.admission import api_services, namespaces, webhooks
from agents.analyzers.control_plane import components, daemons, dns, dns_service
from agents.evidence import Severity
from tests.support.views import codes_of, view_of

COREDNS = """
kind: Deployment
apiVersion: apps/v1
metadata: {name: coredns, namespace: kube-system}
spec: {replicas: 1, template: {metadata: {labels: {k8s-app: kube-dns}}}}
---
kind: ConfigMap
apiVersion: v1
metadata: {name: coredns, namespace: kube-system}
data: {Corefile: ".:53 { kubernets cluster.local }"}
"""
KUBE_DNS = """
kind: Service
apiVersion: v1
metadata: {name: kube-dns, namespace: kube-system}
spec: {selector: {k8s-app: kube-dns}, ports: [{port: 53, protocol: UDP}]}
"""


def pod(name: str, ready: bool, owner: str = "", labels: str = "{}", node: str = "n1") -> str:
    kind, _, owner_name = owner.partition("/")
    refs = f"ownerReferences: [{{kind: {kind}, name: {owner_name}, controller: true}}]," if owner else ""
    state = "running: {}" if ready else "waiting: {reason: CrashLoopBackOff}"
    return f"""
kind: Pod
apiVersion: v1
metadata: {{name: {name}, namespace: kube-system, {refs} labels: {labels}, creationTimestamp: "2026-05-04T10:00:00Z"}}
spec: {{nodeName: {node}, containers: [{{name: main}}]}}
status:
  phase: Running
  conditions: [{{type: Ready, status: "{ready}", lastTransitionTime: "2026-05-04T11:00:00Z"}}]
  containerStatuses: [{{name: main, ready: {str(ready).lower()}, state: {{{state}}}}}]
"""


def test_dns_without_a_ready_pod() -> None:
    view = view_of(COREDNS, pod("dns-1", False, "Deployment/coredns"))
    (hit,) = dns(view)
    assert (hit.code, hit.severity) == ("coredns-unhealthy", Severity.CRITICAL)
    assert "CrashLoopBackOff" in hit.message
    assert codes_of(dns, view_of(COREDNS, pod("dns-1", True, "Deployment/coredns"))) == []


def test_dns_scaled_to_zero_is_never_on_purpose() -> None:
    (hit,) = dns(view_of(COREDNS.replace("replicas: 1", "replicas: 0")))
    assert "scaled to zero" in hit.message


def test_broken_corefile_is_the_config_map_s_fault() -> None:
    said = "/etc/coredns/Corefile:1 - Error during parsing: Unknown directive 'kubernets'"
    view = view_of(
        COREDNS, pod("dns-1", False, "Deployment/coredns"), logs={("kube-system", "dns-1", "main", True): said}
    )
    hit = next(f for f in dns(view) if f.code == "coredns-config-broken")
    assert str(hit.object) == "ConfigMap kube-system/coredns"
    assert "kubernets" in hit.message


def test_dns_that_gets_no_answer_from_outside_is_a_warning() -> None:
    line = "[ERROR] plugin/errors: 2 api.example.com. A: read udp 10.0.0.1:1->10.0.0.2:53: i/o timeout\n"
    documents = COREDNS, pod("dns-1", True, "Deployment/coredns")
    (hit,) = dns(view_of(*documents, logs={("kube-system", "dns-1", "main"): line * 6}))
    assert (hit.code, hit.severity) == ("coredns-upstream-failing", Severity.WARNING)
    assert codes_of(dns, view_of(*documents, logs={("kube-system", "dns-1", "main"): line})) == []


def test_no_service_leads_to_the_dns_pods() -> None:
    running = pod("dns-1", True, "Deployment/coredns", "{k8s-app: kube-dns}")
    assert codes_of(dns_service, view_of(COREDNS, running)) == ["cluster-dns-service-missing"]
    assert codes_of(dns_service, view_of(COREDNS, running, KUBE_DNS)) == []


@pytest.mark.parametrize(("name", "code"), [("kube-proxy", "kube-proxy-unhealthy"), ("calico-node", "cni-unhealthy")])
def test_daemons_that_nodes_are_without(name: str, code: str) -> None:
    daemon = f"{{kind: DaemonSet, apiVersion: apps/v1, metadata: {{name: {name}, namespace: kube-system}}, spec: {{}}}}"
    well = pod(f"{name}-1", True, f"DaemonSet/{name}")
    unwell = pod(f"{name}-2", False, f"DaemonSet/{name}", node="n2")
    (hit,) = daemons(view_of(daemon, well, unwell))
    assert (hit.code, hit.severity) == (code, Severity.ERROR)
    assert "1 of 2 nodes (n2)" in hit.message
    assert codes_of(daemons, view_of(daemon, well)) == []
    dead = "{kind: Node, apiVersion: v1, metadata: {name: n2}, status: {conditions: [{type: Ready, status: Unknown}]}}"
    assert codes_of(daemons, view_of(daemon, well, unwell, dead)) == []


def test_control_plane_component_that_is_down() -> None:
    (hit,) = components(view_of(pod("kube-scheduler-cp", False, labels="{component: kube-scheduler}")))
    assert (hit.code, hit.severity) == ("control-plane-component-unhealthy", Severity.CRITICAL)
    assert "Pending" in hit.message
    assert codes_of(components, view_of(pod("etcd-cp", True, labels="{component: etcd}"))) == []


def hook(policy: str = "Fail") -> str:
    return f"""
kind: ValidatingWebhookConfiguration
apiVersion: admissionregistration.k8s.io/v1
metadata: {{name: guard}}
webhooks:
- name: guard.example.io
  failurePolicy: {policy}
  clientConfig: {{service: {{namespace: kube-system, name: guard}}}}
  rules: [{{operations: [CREATE], resources: [pods]}}]
"""


GUARD = """
kind: Service
apiVersion: v1
metadata: {name: guard, namespace: kube-system}
spec: {selector: {app: guard}, ports: [{port: 443}]}
"""
CALL = """
kind: Event
apiVersion: v1
metadata: {name: e1, namespace: shop}
involvedObject: {kind: ReplicaSet, namespace: shop, name: web-1}
type: Warning
reason: FailedCreate
message: 'Error creating: Internal error occurred: failed calling webhook "guard.example.io": certificate has expired'
lastTimestamp: "2026-05-04T11:58:00Z"
"""


def test_webhook_whose_service_does_not_exist() -> None:
    (hit,) = webhooks(view_of(hook()))
    assert (hit.code, hit.severity) == ("webhook-service-missing", Severity.ERROR)
    assert "CREATE pods" in hit.message
    assert [f.severity for f in webhooks(view_of(hook("Ignore")))] == [Severity.INFO]


def test_webhook_whose_pods_are_not_ready() -> None:
    unwell, well = pod("guard-1", False, labels="{app: guard}"), pod("guard-1", True, labels="{app: guard}")
    (hit,) = webhooks(view_of(hook(), GUARD, unwell, CALL))
    assert (hit.code, hit.severity) == ("webhook-backend-down", Severity.CRITICAL)
    assert "web-1" in [r.name for r in hit.related]
    assert codes_of(webhooks, view_of(hook(), GUARD, well)) == []


def test_webhook_whose_calls_fail_though_its_pods_are_well() -> None:
    (hit,) = webhooks(view_of(hook(), GUARD, pod("guard-1", True, labels="{app: guard}"), CALL))
    assert hit.code == "webhook-call-fails"
    assert "certificate has expired" in hit.message


def api(group: str, status: str) -> str:
    return f"""
kind: APIService
apiVersion: apiregistration.k8s.io/v1
metadata: {{name: v1.{group}}}
spec: {{group: {group}, service: {{namespace: infra, name: ext}}}}
status: {{conditions: [{{type: Available, status: "{status}", reason: MissingEndpoints, message: no endpoints}}]}}
"""


def test_extension_api_that_does_not_answer() -> None:
    (hit,) = api_services(view_of(api("ext.example.io", "False")))
    assert hit.code == "apiservice-unavailable"
    assert "MissingEndpoints" in hit.message
    assert codes_of(api_services, view_of(api("ext.example.io", "True"), api("metrics.k8s.io", "False"))) == []


def test_namespace_that_cannot_go() -> None:
    stuck = """
    kind: Namespace
    apiVersion: v1
    metadata: {name: old, deletionTimestamp: "2026-05-04T11:00:00Z"}
    status:
      phase: Terminating
      conditions: [{type: NamespaceFinalizersRemaining, status: "True", message: "x.example.io/done in 2 instances"}]
    """
    (hit,) = namespaces(view_of(stuck))
    assert hit.code == "namespace-termination-stuck"
    assert "x.example.io/done" in hit.message
    assert codes_of(namespaces, view_of(stuck.replace("11:00", "11:58"))) == []
