"""Ingresses and their certificates: each fault by itself, and the healthy neighbour of each."""

from __future__ import annotations

import pytest

from agents.analyzers.ingress import backends, classes, conflicts, rejections
from agents.analyzers.ingress_tls import certificates, covers
from agents.evidence import Finding, Severity
from tests.support.views import codes_of, view_of

CLASS = "{kind: IngressClass, apiVersion: networking.k8s.io/v1, metadata: {name: nginx}}"
SERVICE = """
kind: Service
apiVersion: v1
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 8080}]}
"""


def pod(ready: bool) -> str:
    return f"""
kind: Pod
apiVersion: v1
metadata: {{name: web-1, namespace: shop, labels: {{app: web}}, creationTimestamp: "2026-05-01T00:00:00Z"}}
status: {{phase: Running, conditions: [{{type: Ready, status: "{ready}"}}]}}
"""


def ingress(service: str = "web", port: str = "{number: 8080}", name: str = "site", more: str = "") -> str:
    return f"""
kind: Ingress
apiVersion: networking.k8s.io/v1
metadata: {{name: {name}, namespace: shop, creationTimestamp: "2026-05-01T00:00:00Z"}}
spec:
  ingressClassName: nginx
  {more}
  rules:
  - host: shop.example
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {service}, port: {port}}}}}}}]}}
"""


def one(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [f.message for f in findings]
    return findings[0]


def test_backend_service_that_does_not_exist_shows_the_nearest() -> None:
    hit = one(list(backends(view_of(CLASS, SERVICE, ingress("wbe")))))
    assert hit.code == "ingress-backend-service-missing"
    assert "wbe" in hit.message
    assert "there: web" in hit.message


@pytest.mark.parametrize("port", ["{number: 80}", "{name: web}"])
def test_backend_port_that_the_service_does_not_have(port: str) -> None:
    hit = one(list(backends(view_of(CLASS, SERVICE, pod(True), ingress(port=port)))))
    assert hit.code == "ingress-backend-port-wrong"
    assert "8080 (http)" in hit.message


@pytest.mark.parametrize("port", ["{number: 8080}", "{name: http}"])
def test_right_backend_with_ready_pods_is_silent(port: str) -> None:
    assert list(backends(view_of(CLASS, SERVICE, pod(True), ingress(port=port)))) == []


def test_backend_without_a_ready_pod_is_a_symptom() -> None:
    hit = one(list(backends(view_of(CLASS, SERVICE, pod(False), ingress()))))
    assert (hit.code, hit.severity) == ("ingress-backend-down", Severity.CRITICAL)
    assert "503" in hit.message


def test_backend_whose_workload_is_scaled_to_zero_is_no_alarm() -> None:
    asleep = """
    kind: Deployment
    apiVersion: apps/v1
    metadata: {name: web, namespace: shop}
    spec: {replicas: 0, template: {metadata: {labels: {app: web}}}}
    """
    assert list(backends(view_of(CLASS, SERVICE, asleep, ingress()))) == []


def test_class_that_does_not_exist() -> None:
    hit = one(list(classes(view_of(CLASS, ingress().replace("ingressClassName: nginx", "ingressClassName: ngnix")))))
    assert hit.code == "ingress-class-missing"
    assert "ngnix" in hit.message
    assert "there: nginx" in hit.message
    assert list(classes(view_of(CLASS, ingress()))) == []


def test_no_class_and_no_default_is_a_warning_unless_some_controller_took_it() -> None:
    bare = ingress().replace("ingressClassName: nginx", "")
    assert one(list(classes(view_of(CLASS, bare)))).severity is Severity.WARNING
    taken = bare + "status: {loadBalancer: {ingress: [{ip: 203.0.113.4}]}}\n"
    default = CLASS.replace(
        "name: nginx", "name: nginx, annotations: {ingressclass.kubernetes.io/is-default-class: 'true'}"
    )
    assert codes_of(classes, view_of(CLASS, taken)) == codes_of(classes, view_of(default, bare)) == []


def test_two_ingresses_that_claim_one_path_for_different_services() -> None:
    younger = ingress("web2", name="late").replace("2026-05-01", "2026-05-02")
    hit = one(list(conflicts(view_of(ingress(), younger))))
    assert (hit.code, hit.object.name) == ("ingress-host-path-conflict", "late")
    assert "shop.example/" in hit.message


def test_canaries_and_copies_do_not_conflict() -> None:
    canary = ingress("web2", name="late").replace(
        "namespace: shop,", "namespace: shop, annotations: {nginx.ingress.kubernetes.io/canary: 'true'},", 1
    )
    assert list(conflicts(view_of(ingress(), canary, ingress(name="copy")))) == []


def event(kind: str, reason: str, at: str) -> str:
    return f"""
kind: Event
apiVersion: v1
metadata: {{name: "{reason}", namespace: shop}}
involvedObject: {{kind: Ingress, namespace: shop, name: site}}
type: {kind}
reason: {reason}
message: "could not parse annotation"
lastTimestamp: "2026-05-04T{at}Z"
"""


def test_warning_of_the_controller_counts_until_it_synced_again() -> None:
    warned = event("Warning", "Rejected", "11:50:00")
    hit = one(list(rejections(view_of(ingress(), warned))))
    assert hit.code == "ingress-rejected-by-controller"
    assert "could not parse annotation" in hit.message
    assert list(rejections(view_of(ingress(), warned, event("Normal", "Sync", "11:55:00")))) == []


def secret(name: str = "site-tls", names: str = "[shop.example]", until: str = "2026-09-01", keys: str = "") -> str:
    held = keys or (
        f"{{tls.key: {{size: 1}}, tls.crt: {{certificates: [{{notBefore: '2026-01-01T00:00:00+00:00', "
        f"notAfter: '{until}T00:00:00+00:00', names: {names}}}]}}}}"
    )
    return f"""
kind: Secret
apiVersion: v1
type: kubernetes.io/tls
metadata: {{name: {name}, namespace: shop}}
kubechatReduced: {{keys: {held}}}
"""


TLS = ingress(more="tls: [{hosts: [shop.example], secretName: site-tls}]")


def test_missing_tls_secret_shows_the_one_that_fits() -> None:
    hit = one(list(certificates(view_of(TLS, secret("shop-cert"), secret("other", "[x.example]")))))
    assert hit.code == "ingress-tls-secret-missing"
    assert "site-tls" in hit.message
    assert "shop-cert holds a certificate for shop.example" in hit.message


def test_tls_secret_without_a_key_is_unusable() -> None:
    hit = one(list(certificates(view_of(TLS, secret(keys="{tls.crt: {size: 9}}")))))
    assert hit.code == "ingress-tls-secret-unusable"
    assert "tls.key" in hit.message


@pytest.mark.parametrize(
    ("until", "code", "severity"),
    [
        ("2026-05-01", "ingress-certificate-expired", Severity.CRITICAL),
        ("2026-05-08", "ingress-certificate-expiring", Severity.WARNING),
        ("2026-05-20", "ingress-certificate-expiring", Severity.INFO),
    ],
)
def test_dates_of_certificates(until: str, code: str, severity: Severity) -> None:
    hit = one(list(certificates(view_of(TLS, secret(until=until)))))
    assert (hit.code, hit.severity) == (code, severity)
    assert until in hit.message


def test_certificate_for_other_hosts_names_the_secret_that_would_do() -> None:
    hit = one(list(certificates(view_of(TLS, secret(names="[www.shop.example]"), secret("wild", "['shop.example']")))))
    assert hit.code == "ingress-certificate-host-mismatch"
    assert "Secret wild covers it" in hit.message


def test_right_certificate_and_unread_secrets_are_silent() -> None:
    assert list(certificates(view_of(TLS, secret()))) == []
    assert list(certificates(view_of(TLS, listed=frozenset({"Ingress"})))) == []


@pytest.mark.parametrize(
    ("names", "host", "expected"),
    [
        (["*.shop.example"], "www.shop.example", True),
        (["*.shop.example"], "a.b.shop.example", False),
        (["*.shop.example"], "shop.example", False),
        (["Shop.Example"], "shop.example", True),
    ],
)
def test_wildcards_stand_for_one_label(names: list[str], host: str, expected: bool) -> None:
    assert covers(names, host) is expected
