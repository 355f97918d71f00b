"""Gateways and routes: names that lead nowhere, and what controllers say of them."""

from __future__ import annotations

from agents.analyzers.gateway_api import gateways, routes
from agents.evidence import Finding
from tests.support.views import view_of

CLASS = "{kind: GatewayClass, apiVersion: gateway.networking.k8s.io/v1, metadata: {name: envoy}}"
GATEWAY = """
kind: Gateway
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: edge, namespace: infra}
spec:
  gatewayClassName: envoy
  listeners:
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: edge-tls}]}}
"""
SECRET = "{kind: Secret, apiVersion: v1, type: kubernetes.io/tls, metadata: {name: edge-tls, namespace: infra}}"
SERVICE = """
kind: Service
apiVersion: v1
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{port: 80}]}
"""
ROUTE = """
kind: HTTPRoute
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: api, namespace: shop}
spec:
  parentRefs: [{name: edge, namespace: infra, sectionName: https}]
  rules: [{backendRefs: [{name: api, port: 80}]}]
"""


def one(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [f.message for f in findings]
    return findings[0]


def test_everything_in_its_place_is_silent() -> None:
    view = view_of(CLASS, GATEWAY, SECRET, SERVICE, ROUTE)
    assert [*gateways(view), *routes(view)] == []


def test_missing_class() -> None:
    hit = one(
        list(gateways(view_of(CLASS, SECRET, GATEWAY.replace("gatewayClassName: envoy", "gatewayClassName: envoi"))))
    )
    assert hit.code == "gateway-class-missing"
    assert "there: envoy" in hit.message


def test_missing_certificate() -> None:
    hit = one(list(gateways(view_of(CLASS, GATEWAY, SECRET.replace("edge-tls", "edge-cert")))))
    assert hit.code == "gateway-certificate-missing"
    assert "edge-cert" in hit.message


def test_gateway_that_its_controller_cannot_program() -> None:
    status = """
status:
  conditions: [{type: Programmed, status: "False", reason: AddressNotAssigned, message: no address, lastTransitionTime: "2026-05-04T11:00:00Z"}]
"""  # noqa: E501 - one condition a line
    hit = one(list(gateways(view_of(CLASS, SECRET, GATEWAY + status))))
    assert hit.code == "gateway-not-programmed"
    assert "AddressNotAssigned" in hit.message
    young = status.replace("11:00:00", "11:59:30")
    assert list(gateways(view_of(CLASS, SECRET, GATEWAY + young))) == []


def test_parent_and_listener_that_do_not_exist() -> None:
    hit = one(list(routes(view_of(GATEWAY, SERVICE, ROUTE.replace("name: edge,", "name: egde,")))))
    assert hit.code == "route-parent-missing"
    assert "infra/edge" in hit.message
    hit = one(list(routes(view_of(GATEWAY, SERVICE, ROUTE.replace("sectionName: https", "sectionName: http")))))
    assert hit.code == "route-parent-missing"
    assert "listener http " in hit.message


def test_backend_service_and_port_that_do_not_exist() -> None:
    hit = one(
        list(routes(view_of(GATEWAY, SERVICE, ROUTE.replace("[{name: api, port: 80}]", "[{name: apo, port: 80}]"))))
    )
    assert hit.code == "route-backend-missing"
    assert "there: api" in hit.message
    hit = one(list(routes(view_of(GATEWAY, SERVICE, ROUTE.replace("port: 80}]", "port: 81}]")))))
    assert "port 81" in hit.message


def test_route_that_the_gateway_refuses() -> None:
    status = """
status:
  parents:
  - parentRef: {name: edge, namespace: infra}
    conditions: [{type: Accepted, status: "False", reason: NotAllowedByListeners, message: namespace not allowed}]
"""
    hit = one(list(routes(view_of(GATEWAY, SERVICE, ROUTE + status))))
    assert hit.code == "route-not-accepted"
    assert "NotAllowedByListeners" in hit.message
