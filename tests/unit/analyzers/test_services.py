"""Services on small views: what is wrong, what only looks wrong, and what is empty on purpose."""

from __future__ import annotations

from agents.analyzers.service_endpoints import endpoints
from agents.analyzers.service_reach import external_names, governing_services, load_balancers, stale_slices
from agents.analyzers.services import selectors, target_ports
from agents.cluster.view import ClusterView
from agents.evidence import Finding, Severity
from tests.support.views import codes_of, view_of

WEB = """
kind: Deployment
apiVersion: apps/v1
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, tier: front}}
    spec:
      containers:
      - {name: web, ports: [{name: http, containerPort: 8080}]}
"""
READY_POD = """
kind: Pod
apiVersion: v1
metadata: {name: web-1, namespace: shop, labels: {app: web, tier: front}, creationTimestamp: "2026-05-01T00:00:00Z"}
spec:
  containers:
  - {name: web, ports: [{name: http, containerPort: 8080}]}
status:
  phase: Running
  podIP: 10.1.0.7
  conditions: [{type: Ready, status: "True", lastTransitionTime: "2026-05-01T00:00:09Z"}]
  containerStatuses: [{name: web, ready: true, restartCount: 0, state: {running: {}}}]
"""
UNREADY_POD = READY_POD.replace('status: "True"', 'status: "False"').replace("ready: true", "ready: false")


def service(spec: str, name: str = "web") -> str:
    return f"""
kind: Service
apiVersion: v1
metadata: {{name: {name}, namespace: shop, creationTimestamp: "2026-05-01T00:00:00Z"}}
spec: {spec}
"""


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [f.code for f in findings]
    return findings[0]


def found(analyzer: object, *documents: str) -> list[Finding]:
    assert callable(analyzer)
    return list(analyzer(view_of(*documents)))


def test_selector_that_no_pod_has_names_the_label_that_differs() -> None:
    bad = service("{selector: {app: wep}, ports: [{port: 80}]}")
    hit = only(found(selectors, WEB, READY_POD, bad))
    assert hit.code == "service-selector-matches-nothing"
    assert hit.severity is Severity.ERROR
    assert "app=web, not app=wep" in hit.message
    assert [r.name for r in hit.related] == ["web"]


def test_selector_with_a_renamed_key_is_found_by_its_value() -> None:
    hit = only(found(selectors, WEB, READY_POD, service("{selector: {run: web}, ports: [{port: 80}]}")))
    assert "no label run (they have app=web)" in hit.message


def test_service_of_a_workload_scaled_to_zero_is_right_as_it_is() -> None:
    asleep = WEB.replace("replicas: 2", "replicas: 0")
    right = service("{selector: {app: web}, ports: [{port: 80, targetPort: http}]}")
    view = view_of(asleep, right)
    assert codes_of(selectors, view) == codes_of(endpoints, view) == []


def test_left_over_service_beside_a_working_one_is_only_worth_knowing() -> None:
    right = service("{selector: {app: web}, ports: [{port: 80, targetPort: http}]}")
    old = service("{selector: {app: web, track: old}, ports: [{port: 80}]}", "web-old")
    assert only(found(selectors, WEB, READY_POD, right, old)).severity is Severity.INFO


def test_service_without_selector_or_with_endpoints_by_hand_is_not_judged() -> None:
    by_hand = service("{selector: {role: main}, ports: [{port: 5432}]}", "db")
    manual = """
    kind: Endpoints
    apiVersion: v1
    metadata: {name: db, namespace: shop}
    subsets: [{addresses: [{ip: 10.9.9.9}], ports: [{port: 5432}]}]
    """
    assert found(selectors, WEB, READY_POD, service("{ports: [{port: 80}]}"), by_hand, manual) == []


def test_named_target_port_that_no_container_declares() -> None:
    hit = only(
        found(target_ports, WEB, READY_POD, service("{selector: {app: web}, ports: [{port: 80, targetPort: web}]}"))
    )
    assert hit.code == "service-target-port-missing"
    assert "targetPort web" in hit.message
    assert "http=8080" in hit.message
    assert '"value":"http"' in hit.remedy


def test_number_that_no_container_declares_is_an_error_when_a_declared_port_is_left_over() -> None:
    hit = only(
        found(target_ports, WEB, READY_POD, service("{selector: {app: web}, ports: [{port: 80, targetPort: 9090}]}"))
    )
    assert (hit.code, hit.severity) == ("service-target-port-missing", Severity.ERROR)


def test_undeclared_extra_port_is_only_worth_knowing() -> None:
    spec = "{selector: {app: web}, ports: [{name: a, port: 80, targetPort: http}, {name: m, port: 9113}]}"
    assert only(found(target_ports, WEB, READY_POD, service(spec))).severity is Severity.INFO


def test_containers_that_declare_no_ports_may_listen_anywhere() -> None:
    silent = READY_POD.replace(", ports: [{name: http, containerPort: 8080}]", "")
    assert found(target_ports, WEB, silent, service("{selector: {app: web}, ports: [{port: 9090}]}")) == []


def test_right_target_ports_by_name_and_number_are_silent() -> None:
    spec = (
        "{selector: {app: web}, ports: [{name: a, port: 80, targetPort: http}, {name: b, port: 81, targetPort: 8080}]}"
    )
    assert found(target_ports, WEB, READY_POD, service(spec)) == []


def test_protocol_that_the_container_port_does_not_speak() -> None:
    spec = "{selector: {app: web}, ports: [{port: 80, targetPort: 8080, protocol: UDP}]}"
    hit = only(found(target_ports, WEB, READY_POD, service(spec)))
    assert hit.code == "service-protocol-mismatch"
    assert "TCP only" in hit.message


def test_selector_that_also_takes_pods_of_another_workload() -> None:
    worker = READY_POD.replace("web-1", "worker-1").replace(
        "{name: http, containerPort: 8080}", "{containerPort: 9000}"
    )
    spec = "{selector: {tier: front}, ports: [{port: 80, targetPort: 8080}]}"
    hit = only(found(target_ports, READY_POD, worker, service(spec)))
    assert (hit.code, hit.severity) == ("service-selector-too-broad", Severity.ERROR)
    assert "worker-1" in hit.message


def test_no_ready_pod_behind_a_service_is_the_symptom() -> None:
    hit = only(found(endpoints, WEB, UNREADY_POD, service("{selector: {app: web}, ports: [{port: 80}]}")))
    assert (hit.code, hit.severity) == ("service-without-ready-endpoints", Severity.CRITICAL)
    assert "none of its 1 pods is ready" in hit.message


def test_one_ready_pod_is_enough() -> None:
    spec = "{selector: {app: web}, ports: [{port: 80}]}"
    assert found(endpoints, WEB, READY_POD, UNREADY_POD.replace("web-1", "web-2"), service(spec)) == []


def test_service_that_publishes_unready_pods_and_young_pods_are_no_news() -> None:
    publishing = service("{selector: {app: web}, publishNotReadyAddresses: true, ports: [{port: 80}]}")
    assert found(endpoints, WEB, UNREADY_POD, publishing) == []
    young = UNREADY_POD.replace("2026-05-01T00:00:00Z", "2026-05-04T11:59:00Z")
    assert found(endpoints, WEB, young, service("{selector: {app: web}, ports: [{port: 80}]}")) == []


STATEFUL = """
kind: StatefulSet
apiVersion: apps/v1
metadata: {name: db, namespace: shop}
spec:
  replicas: 1
  serviceName: db-headless
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db}]}}
"""


def test_stateful_set_whose_service_does_not_exist() -> None:
    other = service("{selector: {app: db}, clusterIP: None}", "db")
    hit = only(found(governing_services, STATEFUL, other))
    assert (hit.code, hit.severity) == ("statefulset-service-missing", Severity.WARNING)
    assert "db-headless" in hit.message
    assert "there: db" in hit.message


def test_stateful_set_with_its_service_is_silent() -> None:
    assert found(governing_services, STATEFUL, service("{selector: {app: db}, clusterIP: None}", "db-headless")) == []


def test_external_name_that_points_to_no_service() -> None:
    dangling = service("{type: ExternalName, externalName: pay.shopp.svc.cluster.local}", "pay")
    right = service("{type: ExternalName, externalName: api.provider.com}", "out")
    hit = only(found(external_names, "{kind: Namespace, apiVersion: v1, metadata: {name: shop}}", dangling, right))
    assert hit.code == "service-external-name-dangling"
    assert "no namespace shopp" in hit.message
    assert "shop" in hit.remedy


def test_load_balancer_without_an_address_quotes_its_controller() -> None:
    event = """
    kind: Event
    apiVersion: v1
    metadata: {name: e1, namespace: shop}
    involvedObject: {kind: Service, namespace: shop, name: web}
    type: Warning
    reason: SyncLoadBalancerFailed
    message: "Error syncing load balancer: quota exceeded"
    lastTimestamp: "2026-05-04T11:55:00Z"
    """
    hit = only(found(load_balancers, service("{type: LoadBalancer, ports: [{port: 80}]}"), event))
    assert hit.code == "load-balancer-pending"
    assert "quota exceeded" in hit.message


def test_load_balancer_with_an_address_or_just_made_is_silent() -> None:
    served = service("{type: LoadBalancer}") + "status: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}\n"
    new = service("{type: LoadBalancer}", "new").replace("2026-05-01T00:00:00Z", "2026-05-04T11:58:00Z")
    assert found(load_balancers, served, new) == []


SLICE = """
kind: EndpointSlice
apiVersion: discovery.k8s.io/v1
addressType: IPv4
metadata:
  name: web-abc
  namespace: shop
  labels:
    kubernetes.io/service-name: web
    endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io
endpoints: [{addresses: [10.1.0.3], conditions: {ready: true}, targetRef: {kind: Pod, name: web-0}}]
ports: [{port: 8080}]
"""


def test_slice_that_names_a_pod_of_the_past_is_stale() -> None:
    spec = service("{selector: {app: web}, ports: [{port: 80, targetPort: http}]}")
    hit = only(found(stale_slices, READY_POD, spec, SLICE))
    assert hit.code == "endpoint-slice-stale"
    assert "web-0" in hit.message
    assert "web-1" in hit.message


def test_slice_that_changed_while_it_was_read_is_not_stale() -> None:
    spec = service("{selector: {app: web}, ports: [{port: 80, targetPort: http}]}")
    trigger = 'annotations: {endpoints.kubernetes.io/last-change-trigger-time: "2026-05-04T11:59:30Z"}'
    assert found(stale_slices, READY_POD, spec, SLICE.replace("name: web-abc", f"name: web-abc\n  {trigger}")) == []


def test_slice_that_follows_its_pods_is_silent() -> None:
    spec = service("{selector: {app: web}, ports: [{port: 80, targetPort: http}]}")
    assert found(stale_slices, READY_POD, spec, SLICE.replace("name: web-0", "name: web-1")) == []


def test_nothing_is_said_of_pods_that_were_not_listed() -> None:
    view: ClusterView = view_of(WEB, service("{selector: {app: wep}}"), listed=frozenset({"Service"}))
    assert codes_of(selectors, view) == []
