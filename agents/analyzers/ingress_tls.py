"""The certificates that Ingresses and Gateways serve: missing Secrets, missing keys, expired or foreign certificates.

Only reduced Secrets are looked at (key names, names and dates of certificates); no private key is ever seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from agents.analyzers.backing import ref
from agents.analyzers.base import Analyzer, Code, Role, finding, not_listed, seen_field
from agents.analyzers.nearness import listing, near_or_all
from agents.cluster.objects import K8sObject, mappings, moment, strings, text
from agents.cluster.secrets import secret_certificates, secret_keys
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, Severity

EXPIRES_SOON = timedelta(days=7)
EXPIRES_LATER = timedelta(days=21)

SECRET_MISSING = Code(
    "ingress-tls-secret-missing",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "An Ingress names a TLS Secret that does not exist",
    "Name the right Secret ({near}), or create the missing one; with cert-manager look at its Certificate:\n"
    "`kubectl -n {ns} get secrets --field-selector type=kubernetes.io/tls`\n"
    "`kubectl -n {ns} edit ingress {name}`\n"
    "`kubectl -n {ns} create secret tls {secret} --cert=tls.crt --key=tls.key`",
    0.96,
)
SECRET_UNUSABLE = Code(
    "ingress-tls-secret-unusable",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "The TLS Secret of an Ingress has no certificate or no key",
    "Make the Secret anew with both `tls.crt` and `tls.key`:\n"
    "`kubectl -n {ns} create secret tls {secret} --cert=tls.crt --key=tls.key --dry-run=client -o yaml | "
    "kubectl apply -f -`",
)
EXPIRED = Code(
    "ingress-certificate-expired",
    Domain.NETWORKING,
    Severity.CRITICAL,
    Role.CAUSE,
    "The certificate of an Ingress is not valid any more",
    "Renew the certificate in Secret {secret}; with cert-manager see why it did not:\n"
    "`kubectl -n {ns} get certificate,certificaterequest,challenge`\n"
    "`kubectl -n {ns} create secret tls {secret} --cert=tls.crt --key=tls.key --dry-run=client -o yaml | "
    "kubectl apply -f -`",
    0.97,
)
EXPIRING = Code(
    "ingress-certificate-expiring",
    Domain.NETWORKING,
    Severity.WARNING,
    Role.RISK,
    "The certificate of an Ingress expires soon",
    "See that the certificate in Secret {secret} is renewed in time:\n"
    "`kubectl -n {ns} get certificate`\n"
    "`kubectl -n {ns} get secret {secret} -o jsonpath='{{.data.tls\\.crt}}' | base64 -d | openssl x509 -noout -dates`",
)
HOST_MISMATCH = Code(
    "ingress-certificate-host-mismatch",
    Domain.NETWORKING,
    Severity.ERROR,
    Role.CAUSE,
    "The certificate of an Ingress is for other host names",
    "Use a certificate that covers the host ({near}), or have it issued:\n"
    "`kubectl -n {ns} get secret {secret} -o jsonpath='{{.data.tls\\.crt}}' | base64 -d | "
    "openssl x509 -noout -ext subjectAltName`\n"
    "`kubectl -n {ns} edit ingress {name}`",
)


def certificates(view: ClusterView) -> Iterator[Finding]:
    """What is wrong with the certificates of each Ingress, each Secret once."""
    for ingress in view.of_kind("Ingress"):
        seen: set[str] = set()
        for index, entry in enumerate(mappings(ingress.spec, "tls")):
            name = text(entry, "secretName")
            if not name or name in seen:
                continue
            seen.add(name)
            hosts = strings(entry, "hosts") or [h for r in mappings(ingress.spec, "rules") if (h := text(r, "host"))]
            path = f"spec.tls[{index}].secretName"
            namespace, _, bare = name.rpartition("/")
            secret = view.get("Secret", namespace or ingress.namespace, bare)
            if secret is not None:
                yield from _check(view, ingress, path, secret, hosts)
            elif view.listed("Secret", namespace or ingress.namespace):
                yield _missing(view, ingress, path, name, hosts)


def tls_secrets(view: ClusterView, namespace: str) -> list[K8sObject]:
    """The Secrets of a namespace that hold a certificate."""
    return [
        s
        for s in view.in_namespace("Secret", namespace)
        if text(s.raw, "type") == "kubernetes.io/tls" or "tls.crt" in secret_keys(s.raw)
    ]


def covers(names: list[str], host: str) -> bool:
    """Whether a certificate with these names is valid for a host; `*` stands for exactly one label (RFC 6125)."""
    host = host.lower()
    for name in (n.lower() for n in names):
        if name == host:
            return True
        if name.startswith("*.") and not host.startswith("*.") and host.partition(".")[2] == name[2:]:
            return True
    return False


def _names(secret: K8sObject) -> list[str]:
    found = secret_certificates(secret.raw)
    return strings(found[0], "names") if found else []


def _missing(view: ClusterView, ingress: K8sObject, path: str, name: str, hosts: list[str]) -> Finding:
    candidates = tls_secrets(view, ingress.namespace)
    fitting = [s for s in candidates if any(covers(_names(s), h) for h in hosts)]
    near = list(dict.fromkeys([s.name for s in fitting] + near_or_all(name, [s.name for s in candidates])))[:6]
    fits = f"; {listing(s.name for s in fitting[:2])} holds a certificate for {listing(hosts[:2])}" if fitting else ""
    target = ref("Secret", ingress.namespace, name)
    issued = any(key.startswith("cert-manager.io/") for key in ingress.annotations)
    waiting = " cert-manager is to issue it and has not." if issued else ""
    return finding(
        SECRET_MISSING,
        ingress,
        f"Ingress {ingress.name} takes the certificate for {listing(hosts[:3])} from Secret {name}, which does not "
        f"exist in "
        f"namespace {ingress.namespace} (TLS Secrets there: {listing(near)}{fits}); browsers get the controller's "
        f"default "
        f"certificate and warn.{waiting}",
        [
            seen_field(ingress, path, name),
            not_listed(view, target, near),
            *(seen_field(s, "certificate names", ", ".join(_names(s))) for s in fitting[:1]),
        ],
        related=[target, *(s.ref for s in fitting[:1])],
        near=listing(near),
        secret=name,
    )


def _check(view: ClusterView, ingress: K8sObject, path: str, secret: K8sObject, hosts: list[str]) -> Iterator[Finding]:
    keys = secret_keys(secret.raw)
    lacking = [k for k in ("tls.crt", "tls.key") if k not in keys]
    if lacking:
        if not keys and text(secret.raw, "type") == "kubernetes.io/tls":
            return  # a Secret whose values were left out of the record says nothing
        yield finding(
            SECRET_UNUSABLE,
            ingress,
            f"Ingress {ingress.name} takes its certificate from Secret {secret.name}, which lacks {listing(lacking)} "
            f"(type {text(secret.raw, 'type') or 'Opaque'}, keys: {listing(sorted(keys))}).",
            [seen_field(ingress, path, secret.name), seen_field(secret, "keys", ", ".join(sorted(keys)) or "none")],
            related=[secret.ref],
            secret=secret.name,
        )
        return
    found = secret_certificates(secret.raw)
    if found:
        yield from _check_dates(view, ingress, path, secret, found[0])
        yield from _check_hosts(view, ingress, path, secret, hosts)


def _check_dates(
    view: ClusterView, ingress: K8sObject, path: str, secret: K8sObject, certificate: Mapping[str, Any]
) -> Iterator[Finding]:
    begins, ends = moment(certificate, "notBefore"), moment(certificate, "notAfter")
    evidence: list[Evidence] = [seen_field(ingress, path, secret.name)]
    names = listing(strings(certificate, "names")[:3])
    if ends is not None and ends <= view.taken_at:
        days = (view.taken_at - ends).days
        yield finding(
            EXPIRED,
            ingress,
            f"The certificate for {names} in Secret {secret.name}, which Ingress {ingress.name} serves, expired on "
            f"{ends:%Y-%m-%d %H:%M} UTC ({days} days ago): browsers and clients refuse it.",
            [*evidence, seen_field(secret, "certificate notAfter", f"{ends.isoformat()} (expired {days} days ago)")],
            related=[secret.ref],
            secret=secret.name,
        )
    elif begins is not None and begins > view.taken_at:
        yield finding(
            EXPIRED,
            ingress,
            f"The certificate for {names} in Secret {secret.name}, which Ingress {ingress.name} serves, is not valid "
            f"before "
            f"{begins:%Y-%m-%d %H:%M} UTC.",
            [*evidence, seen_field(secret, "certificate notBefore", begins.isoformat())],
            related=[secret.ref],
            secret=secret.name,
        )
    elif ends is not None and ends - view.taken_at < EXPIRES_LATER:
        left = (ends - view.taken_at).days
        yield finding(
            EXPIRING,
            ingress,
            f"The certificate for {names} in Secret {secret.name}, which Ingress {ingress.name} serves, expires in "
            f"{left} "
            f"days, on {ends:%Y-%m-%d %H:%M} UTC.",
            [*evidence, seen_field(secret, "certificate notAfter", f"{ends.isoformat()} (expires in {left} days)")],
            severity=Severity.WARNING if ends - view.taken_at < EXPIRES_SOON else Severity.INFO,
            related=[secret.ref],
            secret=secret.name,
        )


def _check_hosts(
    view: ClusterView, ingress: K8sObject, path: str, secret: K8sObject, hosts: list[str]
) -> Iterator[Finding]:
    names = _names(secret)
    foreign = [h for h in hosts if names and not covers(names, h)]
    if not foreign:
        return
    others = [s.name for s in tls_secrets(view, ingress.namespace) if all(covers(_names(s), h) for h in foreign)]
    better = f"; Secret {others[0]} covers it" if others else ""
    yield finding(
        HOST_MISMATCH,
        ingress,
        f"Ingress {ingress.name} serves {listing(foreign[:3])} with the certificate of Secret {secret.name}, which "
        f"is valid "
        f"for {listing(names[:6])} only{better}.",
        [
            seen_field(ingress, path, secret.name),
            seen_field(secret, "certificate names", ", ".join(names)),
            seen_field(ingress, path.replace("secretName", "hosts"), ", ".join(hosts)),
        ],
        related=[secret.ref],
        secret=secret.name,
        near=listing(others, "no Secret of the namespace does"),
    )


CODES: tuple[Code, ...] = (SECRET_MISSING, SECRET_UNUSABLE, EXPIRED, EXPIRING, HOST_MISMATCH)
ANALYZERS: tuple[Analyzer, ...] = (certificates,)
