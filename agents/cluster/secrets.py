"""Reduces a Secret to what a diagnosis needs and no more: key names, sizes, keyed hashes, certificate facts, registry
hosts.

Promise: nothing of a Secret's values survives `reduce_object`; a Secret that is reduced twice stays as it is.
Malformed base64 or a broken certificate is reduced to its size. A last-applied annotation that holds a Secret is
dropped, on whatever object it stands.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import orjson

from agents.cluster.objects import mapping, mappings, string_map, text

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
REDUCED = "kubechatReduced"
_CERTIFICATE_MARK = b"-----BEGIN CERTIFICATE-----"
_HELM_OWNERS = {("owner", "helm"), ("OWNER", "TILLER")}
_KEPT_FIELDS = ("apiVersion", "kind", "type", "immutable")
_REGISTRY_KEYS = (".dockerconfigjson", ".dockercfg")


def reduce_object(raw: Mapping[str, Any], hash_key: bytes) -> Mapping[str, Any]:
    """The object without anything secret: a Secret reduced, other objects only freed of a last-applied Secret.

    `hash_key` keys the hashes of values, so that equal values are seen as equal and nothing can be guessed from them.
    """
    if raw.get("kind") == "Secret" and "." not in text(raw, "apiVersion"):  # a file may say core/v1
        return _reduce_secret(raw, hash_key)
    if raw.get("kind") == "ConfigMap" and _HELM_OWNERS & set(string_map(raw, "metadata", "labels").items()):
        raw = _without_release(raw)
    applied = mapping(raw, "metadata", "annotations").get(LAST_APPLIED)
    if isinstance(applied, str) and '"Secret"' in applied:
        return {**raw, "metadata": _metadata_without_last_applied(raw)}
    return raw


def _without_release(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Helm's record of a release, kept in a ConfigMap, without its content: it holds the manifests of Secrets."""
    data = mapping(raw, "data")
    if "release" not in data:
        return raw
    return {**raw, "data": {**data, "release": f"({len(text(data, 'release'))} characters, left out)"}}


def _metadata_without_last_applied(raw: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in mapping(raw, "metadata").items() if k != "managedFields"}
    annotations = mapping(metadata, "annotations")
    metadata["annotations"] = {k: v for k, v in annotations.items() if k != LAST_APPLIED}
    return metadata


def _reduce_secret(raw: Mapping[str, Any], hash_key: bytes) -> dict[str, Any]:
    reduced: dict[str, Any] = {field: raw[field] for field in _KEPT_FIELDS if field in raw}
    metadata = _metadata_without_last_applied(raw)
    # only annotations that are names or times: tools put whole configurations into the others
    metadata["annotations"] = {
        k: v for k, v in string_map(metadata, "annotations").items() if len(v) <= 64 and not any(c in v for c in "\n{=")
    }
    reduced["metadata"] = metadata
    already = raw.get(REDUCED)
    if isinstance(already, Mapping):
        reduced[REDUCED] = already
        return reduced
    facts: dict[str, dict[str, Any]] = {}
    for key, value in mapping(raw, "data").items():
        facts[str(key)] = _facts(str(key), _decoded(value), hash_key)
    for key, value in mapping(raw, "stringData").items():
        facts[str(key)] = _facts(str(key), str(value).encode(), hash_key)
    reduced[REDUCED] = {"keys": facts}
    return reduced


def _decoded(value: Any) -> bytes:
    if not isinstance(value, str):
        return b""
    try:
        return base64.b64decode(value, validate=False)
    except (binascii.Error, ValueError):
        return value.encode()


def _facts(key: str, value: bytes, hash_key: bytes) -> dict[str, Any]:
    facts: dict[str, Any] = {"size": len(value), "hash": hmac.new(hash_key, value, hashlib.sha256).hexdigest()[:16]}
    if _CERTIFICATE_MARK in value:
        facts["certificates"] = _certificates(value)
    if key in _REGISTRY_KEYS:
        facts["registries"] = _registry_hosts(key, value)
    return facts


def _certificates(pem: bytes) -> list[dict[str, Any]]:
    """Validity, names and key hash of each certificate in a PEM bundle; empty when it cannot be parsed."""
    from cryptography import x509  # imported late: 40 ms that a cluster without TLS Secrets need not pay
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []
    facts = []
    for certificate in certificates:
        # a key of an unknown kind, or a date or name that the standard forbids: no facts rather than no snapshot
        with contextlib.suppress(ValueError, UnsupportedAlgorithm):
            facts.append(_certificate_facts(certificate))
    return facts


def _certificate_facts(certificate: Any) -> dict[str, Any]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [str(n) for n in extension.get_values_for_type(x509.DNSName)]
        names += [str(n) for n in extension.get_values_for_type(x509.IPAddress)]
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        names = []
    common = [str(a.value) for a in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "notBefore": certificate.not_valid_before_utc.isoformat(),
        "notAfter": certificate.not_valid_after_utc.isoformat(),
        "names": names or common,
        "subject": ", ".join(common),
        "publicKey": hashlib.sha256(public).hexdigest()[:16],
    }


def _registry_hosts(key: str, value: bytes) -> list[str]:
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError:
        return []
    auths = mapping(parsed, "auths") if key == ".dockerconfigjson" else mapping(parsed)
    return sorted(str(host) for host in auths)


def secret_keys(raw: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """key name -> facts of a reduced Secret."""
    return {k: v for k, v in mapping(raw, REDUCED, "keys").items() if isinstance(v, Mapping)}


def secret_certificates(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The certificates of a reduced TLS Secret's `tls.crt`, the serving one first."""
    return mappings(secret_keys(raw).get("tls.crt", {}), "certificates")
