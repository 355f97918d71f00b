"""Certificates outside Ingresses: dates of TLS Secrets and of the bundles that the API server trusts."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from agents.analyzers.certificates import ca_bundles, tls_secrets
from tests.support.views import TAKEN_AT, codes_of, view_of


def certificate(ends: timedelta, *, begins: timedelta = timedelta(days=-300)) -> str:
    """A self-signed certificate as base64 of PEM, its validity relative to the time of the view."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.shop.svc")])
    start: datetime = TAKEN_AT + begins
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(TAKEN_AT + ends)
        .sign(key, hashes.SHA256())
    )
    return base64.b64encode(built.public_bytes(Encoding.PEM)).decode()


EXPIRED, SOON, FAR = timedelta(days=-3), timedelta(days=9), timedelta(days=90)


def secret(ends: timedelta, begins: timedelta = timedelta(days=-300)) -> str:
    return f"""
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {{name: web-tls, namespace: shop}}
data: {{tls.crt: {certificate(ends, begins=begins)}}}
"""


USER = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {template: {spec: {containers: [{name: app}], volumes: [{name: tls, secret: {secretName: web-tls}}]}}}
"""
INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec: {tls: [{secretName: web-tls}]}
"""


@pytest.mark.parametrize(
    ("ends", "begins", "code", "severity"),
    [
        (EXPIRED, timedelta(days=-300), "certificate-expired", "error"),
        (SOON, timedelta(days=-300), "certificate-expiring", "warning"),
        (FAR, timedelta(days=2), "certificate-not-yet-valid", "warning"),
    ],
)
def test_a_certificate_in_use_matters_and_an_unused_one_is_an_info(
    ends: timedelta, begins: timedelta, code: str, severity: str
) -> None:
    document = secret(ends, begins)
    (used,) = tls_secrets(view_of(document, USER))
    (unused,) = tls_secrets(view_of(document))
    assert (used.code, used.severity) == (code, severity)
    assert "Deployment shop/web" in used.message
    assert (unused.code, unused.severity) == (code, "info")


def test_a_valid_certificate_is_silent() -> None:
    assert codes_of(tls_secrets, view_of(secret(FAR), USER)) == []


def test_a_short_lived_certificate_that_renews_itself_is_silent() -> None:
    assert codes_of(tls_secrets, view_of(secret(timedelta(days=15), timedelta(days=-15)), USER)) == []


def test_secrets_of_an_ingress_are_judged_with_the_ingress() -> None:
    assert codes_of(tls_secrets, view_of(secret(EXPIRED), INGRESS)) == []


def webhook(bundle: str, policy: str = "Fail", annotations: str = "{}") -> str:
    service = "service: {namespace: shop, name: hooks}"
    return f"""
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: hooks, annotations: {annotations}}}
webhooks: [{{name: a.shop, failurePolicy: {policy}, clientConfig: {{caBundle: '{bundle}', {service}}}}}]
"""


def test_an_expired_bundle_blocks_what_a_failing_webhook_admits() -> None:
    bundle = certificate(EXPIRED)
    (fail,) = ca_bundles(view_of(webhook(bundle)))
    (ignore,) = ca_bundles(view_of(webhook(bundle, "Ignore")))
    assert (fail.code, fail.severity) == ("webhook-ca-expired", "error")
    assert "Service shop/hooks" in fail.message
    assert ignore.severity == "warning"


def test_an_expiring_bundle_is_a_warning_and_a_valid_one_silent() -> None:
    assert codes_of(ca_bundles, view_of(webhook(certificate(SOON)))) == ["webhook-ca-expiring"]
    assert codes_of(ca_bundles, view_of(webhook(certificate(FAR)))) == []
    assert codes_of(ca_bundles, view_of(webhook("bm8gY2VydGlmaWNhdGU="))) == []


def test_an_empty_bundle_counts_only_where_an_injector_should_fill_it() -> None:
    injected = webhook("", annotations="{cert-manager.io/inject-ca-from: shop/hooks}")
    assert codes_of(ca_bundles, view_of(injected)) == ["webhook-ca-missing"]
    assert codes_of(ca_bundles, view_of(webhook(""))) == []


def test_the_expired_certificate_of_a_webhooks_server_is_an_error() -> None:
    server = """
apiVersion: v1
kind: Service
metadata: {name: hooks, namespace: shop}
spec: {selector: {app: hooks}, ports: [{port: 443}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: hooks}}
    spec: {containers: [{name: app}], volumes: [{name: tls, secret: {secretName: web-tls}}]}
"""
    (found,) = tls_secrets(view_of(secret(EXPIRED), server, webhook("")))
    assert (found.code, found.severity) == ("certificate-expired", "error")
