"""NetworkPolicies: the effective rules, and which of them cut what is needed."""

from __future__ import annotations

import pytest

from agents.analyzers.network_policies import blocked_calls, blocked_dns, selecting_nothing
from agents.analyzers.policy_edges import blocked_outside, blocked_publishing
from agents.analyzers.policy_model import Door, Peer, allowed
from agents.cluster.objects import K8sObject
from agents.cluster.view import ClusterView
from agents.evidence import Finding, Severity
from tests.support.views import view_of

DNS = """
{kind: Namespace, apiVersion: v1, metadata: {name: kube-system, labels: {kubernetes.io/metadata.name: kube-system}}}
---
kind: Service
apiVersion: v1
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: 10.96.0.10
  selector: {k8s-app: kube-dns}
  ports: [{name: dns, port: 53, protocol: UDP, targetPort: dns}, {name: dns-tcp, port: 53, targetPort: dns-tcp}]
---
kind: Pod
apiVersion: v1
metadata: {name: coredns-1, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  containers:
  - {name: coredns, ports: [{name: dns, containerPort: 53, protocol: UDP}, {name: dns-tcp, containerPort: 53}]}
status: {phase: Running, podIP: 10.244.0.2, conditions: [{type: Ready, status: "True"}]}
"""
NAMESPACES = """
{kind: Namespace, apiVersion: v1, metadata: {name: shop, labels: {kubernetes.io/metadata.name: shop}}}
---
{kind: Namespace, apiVersion: v1, metadata: {name: edge, labels: {kubernetes.io/metadata.name: edge}}}
"""


def pod(name: str, app: str, ready: bool, env: str = "[]", namespace: str = "shop") -> str:
    state = "True" if ready else "False"
    return f"""
kind: Pod
apiVersion: v1
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {app}}}}}
spec: {{containers: [{{name: app, env: {env}, ports: [{{name: http, containerPort: 8080}}]}}]}}
status:
  phase: Running
  podIP: 10.244.1.9
  conditions: [{{type: Ready, status: "{state}"}}]
  containerStatuses: [{{name: app, ready: {str(ready).lower()}, state: {{running: {{}}}}}}]
"""


def policy(spec: str, name: str = "rules", namespace: str = "shop") -> str:
    return f"""
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "2026-05-04T11:00:00Z"}}
spec: {spec}
"""


SERVICE = """
kind: Service
apiVersion: v1
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, clusterIP: 10.96.7.7, ports: [{port: 80, targetPort: http}]}
"""
NO_DNS = "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: 8080}]}]}"
Logs = dict[tuple[str, str, str] | tuple[str, str, str, bool], str]
RESOLVE: Logs = {("shop", "web-1", "app"): "lookup api.shop on 10.96.0.10:53: read udp: i/o timeout"}


def one(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [f.message for f in findings]
    return findings[0]


def test_egress_rules_without_dns_are_found_by_the_log() -> None:
    view = view_of(DNS, NAMESPACES, pod("web-1", "web", False), policy(NO_DNS), logs=RESOLVE)
    hit = one(list(blocked_dns(view)))
    assert (hit.code, hit.severity) == ("policy-blocks-dns", Severity.ERROR)
    assert "port 53" in hit.message
    assert "TCP 8080" in hit.message
    assert "web-1" in [r.name for r in hit.related]


@pytest.mark.parametrize(
    "rule",
    [
        "{ports: [{port: 53, protocol: UDP}]}",
        "{to: [{namespaceSelector: {}}]}",
        (
            "{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: "
            "{matchLabels: {k8s-app: kube-dns}}}], ports: [{port: dns, protocol: UDP}]}"
        ),
        "{to: [{ipBlock: {cidr: 10.244.0.0/16}}], ports: [{port: 50, endPort: 60, protocol: UDP}]}",
        "{}",
    ],
)
def test_any_rule_that_lets_dns_through_is_enough(rule: str) -> None:
    spec = f"{{podSelector: {{}}, policyTypes: [Egress], egress: [{rule}]}}"
    view = view_of(DNS, NAMESPACES, pod("web-1", "web", False), policy(NO_DNS), policy(spec, "dns"), logs=RESOLVE)
    assert list(blocked_dns(view)) == []


def test_dns_rule_for_a_namespace_label_that_nobody_has_is_named() -> None:
    spec = (
        "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {name: "
        "kube-system}}}],"
        " ports: [{port: 53, protocol: UDP}]}]}"
    )
    view = view_of(DNS, NAMESPACES, pod("web-1", "web", False), policy(spec), logs=RESOLVE)
    assert "does not match the DNS pods" in one(list(blocked_dns(view))).message


def test_pods_that_are_content_without_dns_are_left_alone() -> None:
    assert list(blocked_dns(view_of(DNS, NAMESPACES, pod("web-1", "web", True), policy(NO_DNS)))) == []


def test_policy_that_does_not_speak_of_egress_does_not_cut_dns() -> None:
    view = view_of(DNS, NAMESPACES, pod("web-1", "web", False), policy("{podSelector: {}, ingress: []}"), logs=RESOLVE)
    assert list(blocked_dns(view)) == []


def call(spec: str, line: str = "GET http://api/: dial tcp 10.96.7.7:80: i/o timeout") -> ClusterView:
    return view_of(
        NAMESPACES,
        SERVICE,
        pod("web-1", "web", True, "[{name: API_URL, value: 'http://api'}]"),
        pod("api-1", "api", True),
        policy(spec),
        logs={("shop", "web-1", "app"): line},
    )


def test_client_that_the_called_side_does_not_let_in() -> None:
    spec = "{podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: www}}}]}]}"
    hit = one(list(blocked_calls(call(spec))))
    assert hit.code == "policy-blocks-ingress"
    assert "app=www" in hit.message
    assert "app=web" in hit.message


def test_client_that_may_not_call_out() -> None:
    spec = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{ports: [{port: 5432}]}]}"
    hit = one(list(blocked_calls(call(spec))))
    assert hit.code == "policy-blocks-egress"
    assert "TCP 8080" in hit.message


@pytest.mark.parametrize(
    "spec",
    [
        "{podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}",
        "{podSelector: {matchLabels: {app: api}}, ingress: [{ports: [{port: http}]}]}",
        "{podSelector: {matchLabels: {app: other}}, ingress: []}",
    ],
)
def test_client_that_is_let_in_is_silent(spec: str) -> None:
    assert list(blocked_calls(call(spec))) == []


def test_cut_that_nobody_feels_is_silent() -> None:
    spec = "{podSelector: {matchLabels: {app: api}}, ingress: []}"
    assert list(blocked_calls(call(spec, "GET /healthz 200"))) == []


INGRESS = """
kind: Ingress
apiVersion: networking.k8s.io/v1
metadata: {name: site, namespace: shop}
spec: {rules: [{host: a.example, http: {paths: [{path: /, backend: {service: {name: api, port: {number: 80}}}}]}}]}
"""
CONTROLLER = pod("ctl-1", "ingress-nginx", True, namespace="edge")


def test_ingress_controller_that_may_not_reach_what_it_publishes() -> None:
    rules = "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {name: edge}}}]}]}"
    hit = one(
        list(
            blocked_publishing(
                view_of(NAMESPACES, SERVICE, INGRESS, CONTROLLER, pod("api-1", "api", True), policy(rules))
            )
        )
    )
    assert hit.code == "policy-blocks-ingress"
    assert "kubernetes.io/metadata.name=edge" in hit.message


@pytest.mark.parametrize(
    ("image", "count"), [("registry.k8s.io/ingress-nginx/controller:v1.13", 1), ("quay.example/edge/web:1", 0)]
)
def test_an_ingress_controller_is_known_by_its_image_too(image: str, count: int) -> None:
    renamed = CONTROLLER.replace("app: ingress-nginx", "app: edge")
    renamed = renamed.replace("{name: app,", f"{{name: app, image: '{image}',")
    rules = "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {name: edge}}}]}]}"
    view = view_of(NAMESPACES, SERVICE, INGRESS, renamed, pod("api-1", "api", True), policy(rules))
    assert len(list(blocked_publishing(view))) == count


def test_ingress_controller_that_is_let_in_is_silent() -> None:
    peer = "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: edge}}}"
    rules = f"{{podSelector: {{}}, ingress: [{{from: [{peer}]}}]}}"
    view = view_of(NAMESPACES, SERVICE, INGRESS, CONTROLLER, pod("api-1", "api", True), policy(rules))
    assert list(blocked_publishing(view)) == []


def outside(port: int) -> ClusterView:
    rule = f"{{to: [{{ipBlock: {{cidr: 0.0.0.0/0}}}}], ports: [{{port: {port}}}]}}"
    spec = f"{{podSelector: {{}}, policyTypes: [Egress], egress: [{rule}]}}"
    return view_of(
        NAMESPACES,
        pod("web-1", "web", True, "[{name: SMTP, value: 'smtps://mail.provider.com:465'}]"),
        policy(spec),
        logs={("shop", "web-1", "app"): "mail.provider.com:465: connect timed out"},
    )


def test_external_host_that_no_rule_allows() -> None:
    hit = one(list(blocked_outside(outside(443))))
    assert hit.code == "policy-blocks-egress"
    assert "mail.provider.com:465" in hit.message


def test_external_host_that_is_allowed_is_not_the_policy_s_fault() -> None:
    assert list(blocked_outside(outside(465))) == []


def test_policy_that_selects_nothing_is_worth_knowing() -> None:
    view = view_of(NAMESPACES, pod("web-1", "web", True), policy("{podSelector: {matchLabels: {app: wep}}}"))
    found = one(list(selecting_nothing(view)))
    assert (found.code, found.severity) == ("policy-selects-nothing", Severity.INFO)
    view = view_of(NAMESPACES, pod("web-1", "web", True), policy("{podSelector: {matchLabels: {app: web}}}"))
    assert list(selecting_nothing(view)) == []


@pytest.mark.parametrize(
    ("block", "address", "expected"),
    [
        ({"cidr": "10.0.0.0/8"}, "10.1.2.3", True),
        ({"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, "10.1.2.3", False),
        ({"cidr": "not a network"}, "10.1.2.3", False),
        ({"cidr": "2001:db8::/32"}, "10.1.2.3", False),
    ],
)
def test_address_blocks(block: dict[str, object], address: str, expected: bool) -> None:
    rule = K8sObject({"metadata": {"namespace": "a"}, "spec": {"egress": [{"to": [{"ipBlock": block}]}]}})
    assert allowed([rule], "egress", Peer(addresses=(address,)), Door(443)) is expected
