"""Certificates outside Ingresses: webhook and API bundles, TLS Secrets that pods, gateways or nothing use.

Dates come from the facts that a reduced Secret keeps, and from `caBundle` fields, which are public. TLS Secrets that
an Ingress names are judged with that Ingress, elsewhere.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from agents.analyzers.backing import workloads_behind
from agents.analyzers.base import Analyzer, Code, Role, finding, seen_field
from agents.analyzers.remedies import words
from agents.cluster.objects import K8sObject, mapping, mappings, moment, strings, text
from agents.cluster.secrets import secret_certificates
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

_SHOW = (
    "`kubectl -n {ns} get secret {name} -o jsonpath='{{.data.tls\\.crt}}' | base64 -d | openssl x509 -noout -dates "
    "-subject`"
)

SECRET_EXPIRED = Code(
    "certificate-expired", Domain.SECURITY, Severity.ERROR, Role.CAUSE,
    "A TLS Secret holds a certificate that has expired",
    "See it: " + _SHOW + "\nRenew it (cert-manager: `cmctl renew -n {ns} {certificate}`), or replace the Secret and\n"
    "restart what reads it at start: `kubectl -n {ns} rollout restart {users}`", 0.9,
)  # fmt: skip
SECRET_EXPIRING = Code(
    "certificate-expiring", Domain.SECURITY, Severity.WARNING, Role.RISK,
    "A TLS Secret holds a certificate that expires within three weeks",
    "See it: " + _SHOW + "\nRenew it before then (cert-manager: `cmctl renew -n {ns} {certificate}`), or replace the "
    "Secret; find out why it was not renewed by itself.", 0.9,
)  # fmt: skip
NOT_YET_VALID = Code(
    "certificate-not-yet-valid", Domain.SECURITY, Severity.WARNING, Role.CAUSE,
    "A TLS Secret holds a certificate that is not valid yet",
    "Compare the clocks of the issuer and the nodes; then look at the certificate:\n" + _SHOW, 0.88,
)  # fmt: skip
WEBHOOK_CA_EXPIRED = Code(
    "webhook-ca-expired", Domain.SECURITY, Severity.ERROR, Role.CAUSE,
    "The CA that the API server trusts for a webhook or an API has expired: calls to it fail",
    "Renew the serving certificate and its CA, and put the new CA into caBundle. With cert-manager's injector: "
    "delete the\n"
    "webhook's TLS Secret and check the annotation `cert-manager.io/inject-ca-from` on {kind} {name}. Else:\n"
    "`kubectl get {kind} {name} -o yaml` and run the operator's certificate job again.\n"
    "If writes are blocked now: `failurePolicy: Ignore` lets them through unchecked until it is mended.", 0.95,
)  # fmt: skip
WEBHOOK_CA_EXPIRING = Code(
    "webhook-ca-expiring", Domain.SECURITY, Severity.WARNING, Role.RISK,
    "The CA that the API server trusts for a webhook or an API expires within three weeks",
    "Renew it before then, as the operator that owns {kind} {name} documents it:\n`kubectl get {kind} {name} -o "
    "yaml`", 0.9,
)  # fmt: skip
WEBHOOK_CA_MISSING = Code(
    "webhook-ca-missing", Domain.SECURITY, Severity.WARNING, Role.CAUSE,
    "A webhook has no caBundle although a tool is told to put one there",
    "The injector did not run: look at it, and at the Certificate or Secret that the annotation names:\n"
    "`kubectl get {kind} {name} -o jsonpath='{{.metadata.annotations}}'`\n"
    "`kubectl -n cert-manager logs deploy/cert-manager-cainjector --tail=50`", 0.85,
)  # fmt: skip

SOON = timedelta(days=21)
_INJECTION = ("cert-manager.io/inject-ca-from", "cert-manager.io/inject-ca-from-secret")
_WEBHOOK_KINDS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")


@dataclass(frozen=True, slots=True)
class _Validity:
    not_before: datetime
    not_after: datetime
    subject: str


def _day(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M UTC")


def _span(delta: timedelta) -> str:
    days = abs(delta.days) if delta >= timedelta() else abs((-delta).days)
    return f"{days} days" if days >= 2 else f"{int(abs(delta.total_seconds()) // 3600)} hours"


# -- TLS Secrets -------------------------------------------------------------------------------------------------------


def tls_secrets(view: ClusterView) -> Iterator[Finding]:
    """TLS Secrets with a certificate that is over, nearly over or not valid yet, unless an Ingress names them."""
    for secret in view.of_kind("Secret"):
        certificates = secret_certificates(secret.raw)
        if not certificates:
            continue
        users = [(obj, reference) for obj, reference in view.referrers(secret.ref)]
        if any(obj.kind == "Ingress" for obj, _ in users):
            continue
        first = certificates[0]
        ends, begins = moment(first, "notAfter"), moment(first, "notBefore")
        if ends is None or begins is None:
            continue
        names = ", ".join(strings(first, "names")[:4]) or text(first, "subject") or "no names"
        yield from _judged(view, secret, _Validity(begins, ends, names), [obj for obj, _ in users])


def _judged(view: ClusterView, secret: K8sObject, valid: _Validity, users: Sequence[K8sObject]) -> Iterator[Finding]:
    now = view.taken_at
    owners = list(dict.fromkeys(view.top_owner(o).ref for o in users))
    used = f"It is used by {', '.join(str(o) for o in owners[:4])}." if owners else "Nothing that was read uses it."
    severity = None if owners else Severity.INFO
    if any(o.kind == "Gateway" or o.key in view.derived(_admission_servers) for o in owners):
        severity = Severity.ERROR
    certificate = secret.annotations.get("cert-manager.io/certificate-name", "CERTIFICATE")
    workloads = [o for o in owners if o.kind in ("Deployment", "StatefulSet", "DaemonSet")]
    facts: dict[str, Any] = {
        "certificate": certificate,
        "users": words(f"{o.kind.lower()}/{o.name}" for o in workloads[:3]) or "deployment/NAME",
    }
    ends = seen_field(secret, "tls.crt notAfter", valid.not_after.isoformat())
    subject = seen_field(secret, "tls.crt names", valid.subject)
    if valid.not_after <= now:
        yield finding(
            SECRET_EXPIRED,
            secret,
            f"The certificate in Secret {secret.name} ({valid.subject}) expired on {_day(valid.not_after)}, "
            f"{_span(now - valid.not_after)} ago. {used}",
            [ends, subject],
            severity=severity,
            related=owners[:20],
            **facts,
        )
    elif valid.not_before > now:
        yield finding(
            NOT_YET_VALID,
            secret,
            f"The certificate in Secret {secret.name} ({valid.subject}) is valid from {_day(valid.not_before)} on, "
            "which is "
            f"{_span(valid.not_before - now)} from now. {used}",
            [seen_field(secret, "tls.crt notBefore", valid.not_before.isoformat()), subject],
            severity=severity,
            related=owners[:20],
            **facts,
        )
    elif valid.not_after - now <= SOON and not _renews_itself(view, valid):
        yield finding(
            SECRET_EXPIRING,
            secret,
            f"The certificate in Secret {secret.name} ({valid.subject}) expires on {_day(valid.not_after)}, in "
            f"{_span(valid.not_after - now)}. {used}",
            [ends, subject],
            severity=Severity.WARNING if severity is Severity.ERROR else severity,
            related=owners[:20],
            **facts,
        )


def _admission_servers(view: ClusterView) -> frozenset[tuple[str, str, str]]:
    """Keys of the workloads that serve admission webhooks: when their certificate is over, writes are refused."""
    found: set[tuple[str, str, str]] = set()
    for configuration in view.of_kind(*_WEBHOOK_KINDS):
        for reference in view.references(configuration):
            service = view.resolve(reference.target)
            if service is not None and service.kind == "Service":
                found.update(w.ref.key for w in workloads_behind(view, service))
    return frozenset(found)


def _renews_itself(view: ClusterView, valid: _Validity) -> bool:
    """Whether the certificate is short-lived by design (a mesh's, a day's): a third of its life is still ahead."""
    life = valid.not_after - valid.not_before
    return life <= timedelta(days=60) and valid.not_after - view.taken_at > life / 4


# -- caBundle ----------------------------------------------------------------------------------------------------------


def ca_bundles(view: ClusterView) -> Iterator[Finding]:
    """Webhook configurations and API services whose caBundle is over, nearly over or empty."""
    for configuration in view.of_kind(*_WEBHOOK_KINDS):
        for index, hook in enumerate(mappings(configuration.raw, "webhooks")):
            client = mapping(hook, "clientConfig")
            path = f"webhooks[{index}].clientConfig.caBundle"
            blocking = (text(hook, "failurePolicy") or "Fail") == "Fail"
            found = _judge_bundle(view, configuration, client, path, blocking=blocking)
            if found is not None:
                yield found
                break
    for service in view.of_kind("APIService"):
        found = _judge_bundle(view, service, service.spec, "spec.caBundle", blocking=True)
        if found is not None:
            yield found


def _judge_bundle(view: ClusterView, holder: K8sObject, client: object, path: str, *, blocking: bool) -> Finding | None:
    service = mapping(client, "service")
    backend = ObjectRef("v1", "Service", text(service, "namespace"), text(service, "name"))
    related = [backend] if backend.name else []
    bundle = text(client, "caBundle")
    if not bundle:
        injected = next((a for a in _INJECTION if a in holder.annotations), "")
        if not injected or not backend.name:
            return None
        source = holder.annotations[injected]
        return finding(
            WEBHOOK_CA_MISSING,
            holder,
            f"{holder.kind} {holder.name} has no {path}, although {injected}={source} tells cert-manager to put one "
            "there: "
            "the API server cannot verify the webhook (x509: certificate signed by unknown authority).",
            [seen_field(holder, f"metadata.annotations[{injected}]", source), _unset(holder, path)],
            severity=Severity.ERROR if blocking else None,
            related=related,
        )
    validity = _bundle_validity(bundle)
    if validity is None:
        return None
    now = view.taken_at
    seen = [seen_field(holder, f"{path} notAfter", validity.not_after.isoformat())]
    behind = f" for Service {backend.namespace}/{backend.name}" if backend.name else ""
    what = f"The CA certificate ({validity.subject}) in {path} of {holder.kind} {holder.name}{behind}"
    if validity.not_after <= now:
        effect = "so every request that it has to admit is refused" if blocking else "so the webhook is skipped"
        if holder.kind == "APIService":
            effect = "so the API behind it cannot be called"
        return finding(
            WEBHOOK_CA_EXPIRED,
            holder,
            f"{what} expired on {_day(validity.not_after)}: calls fail (x509: certificate has expired), {effect}.",
            seen,
            severity=None if blocking else Severity.WARNING,
            related=related,
        )
    if validity.not_after - now <= SOON and validity.not_after - validity.not_before > timedelta(days=60):
        message = f"{what} expires on {_day(validity.not_after)}, in {_span(validity.not_after - now)}."
        return finding(WEBHOOK_CA_EXPIRING, holder, message, seen, related=related)
    return None


def _unset(holder: K8sObject, path: str) -> Evidence:
    return Evidence(kind="absence", object=holder.ref, locator=path, excerpt=f"{path} is not set")


def _bundle_validity(bundle: str) -> _Validity | None:
    """The certificate of a bundle that lasts longest; None for what is no certificate (a placeholder, broken
    base64).
    """
    from cryptography import x509  # imported late: 40 ms that a cluster without webhooks need not pay

    try:
        certificates = x509.load_pem_x509_certificates(base64.b64decode(bundle, validate=False))
    except (binascii.Error, ValueError):
        return None
    longest = max(certificates, key=lambda c: c.not_valid_after_utc)
    common = [str(a.value) for a in longest.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    return _Validity(longest.not_valid_before_utc, longest.not_valid_after_utc, ", ".join(common) or "no common name")


ANALYZERS: tuple[Analyzer, ...] = (tls_secrets, ca_bundles)
CODES: tuple[Code, ...] = (
    SECRET_EXPIRED,
    SECRET_EXPIRING,
    NOT_YET_VALID,
    WEBHOOK_CA_EXPIRED,
    WEBHOOK_CA_EXPIRING,
    WEBHOOK_CA_MISSING,
)
