"""What an object names in its fields, as one flat list: the edges of the graph that diagnosis walks.

Each row of `_EXTRACTORS` reads one kind. A reference says where it stands (`path`), what it names (`target`), which
key of it, whether the object works without it (`optional`), and what for (`role`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents.cluster.objects import (
    K8sObject,
    containers,
    flag,
    mapping,
    mappings,
    pod_spec,
    pod_spec_path,
    text,
)
from agents.evidence import ObjectRef


@dataclass(frozen=True, slots=True)
class Reference:
    """One field of an object that names another object. `key` is the entry of a ConfigMap or Secret, "" for the
    whole.
    """

    path: str
    target: ObjectRef
    role: str
    key: str = ""
    optional: bool = False


def _ref(kind: str, namespace: str, name: str, api_version: str = "") -> ObjectRef:
    return ObjectRef(api_version, kind, namespace, name)


def references_of(obj: K8sObject) -> tuple[Reference, ...]:
    """All references in an object of a known kind; empty for kinds that name nothing."""
    extractor = _EXTRACTORS.get(obj.kind)
    return () if extractor is None else tuple(r for r in extractor(obj) if r.target.name)


def _pod_references(obj: K8sObject) -> Iterator[Reference]:
    spec, base, ns = pod_spec(obj), pod_spec_path(obj.kind), obj.namespace
    for path, container in containers(spec):
        yield from _env_references(container, f"{base}.{path}", ns)
    for index, volume in enumerate(mappings(spec, "volumes")):
        yield from _volume_references(volume, f"{base}.volumes[{index}]", obj)
    for index, secret in enumerate(mappings(spec, "imagePullSecrets")):
        yield Reference(
            f"{base}.imagePullSecrets[{index}]", _ref("Secret", ns, text(secret, "name")), "pull-secret", optional=True
        )
    account = text(spec, "serviceAccountName") or text(spec, "serviceAccount")
    if account:
        yield Reference(f"{base}.serviceAccountName", _ref("ServiceAccount", ns, account), "service-account")
    yield Reference(f"{base}.nodeName", _ref("Node", "", text(spec, "nodeName")), "node")
    yield Reference(
        f"{base}.priorityClassName", _ref("PriorityClass", "", text(spec, "priorityClassName")), "priority-class"
    )
    yield Reference(
        f"{base}.runtimeClassName", _ref("RuntimeClass", "", text(spec, "runtimeClassName")), "runtime-class"
    )


def _env_references(container: Mapping[str, Any], path: str, ns: str) -> Iterator[Reference]:
    for index, source in enumerate(mappings(container, "envFrom")):
        for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            entry = mapping(source, field)
            yield Reference(
                f"{path}.envFrom[{index}].{field}",
                _ref(kind, ns, text(entry, "name")),
                "env",
                optional=flag(entry, "optional") is True,
            )
    for index, variable in enumerate(mappings(container, "env")):
        for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            entry = mapping(variable, "valueFrom", field)
            yield Reference(
                f"{path}.env[{index}].valueFrom.{field}",
                _ref(kind, ns, text(entry, "name")),
                "env",
                key=text(entry, "key"),
                optional=flag(entry, "optional") is True,
            )


_VOLUME_SOURCES = (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"))


def _volume_references(volume: Mapping[str, Any], path: str, obj: K8sObject) -> Iterator[Reference]:
    ns = obj.namespace
    claim = text(volume, "persistentVolumeClaim", "claimName")
    yield Reference(f"{path}.persistentVolumeClaim.claimName", _ref("PersistentVolumeClaim", ns, claim), "volume")
    if "ephemeral" in volume and obj.kind == "Pod":  # the claim is named after pod and volume
        name = f"{obj.name}-{text(volume, 'name')}"
        yield Reference(f"{path}.ephemeral", _ref("PersistentVolumeClaim", ns, name), "volume")
    for field, kind, name_field in _VOLUME_SOURCES:
        yield from _keyed(mapping(volume, field), f"{path}.{field}", _ref(kind, ns, text(volume, field, name_field)))
    for index, source in enumerate(mappings(volume, "projected", "sources")):
        for field, kind, _ in _VOLUME_SOURCES:
            name = text(source, field, "name")
            yield from _keyed(
                mapping(source, field), f"{path}.projected.sources[{index}].{field}", _ref(kind, ns, name)
            )
    secret = text(volume, "csi", "nodePublishSecretRef", "name")
    yield Reference(f"{path}.csi.nodePublishSecretRef", _ref("Secret", ns, secret), "volume")


def _keyed(source: Mapping[str, Any], path: str, target: ObjectRef) -> Iterator[Reference]:
    optional = flag(source, "optional") is True
    yield Reference(path, target, "volume", optional=optional)
    for index, item in enumerate(mappings(source, "items")):
        yield Reference(f"{path}.items[{index}]", target, "volume", key=text(item, "key"), optional=optional)


def _ingress_references(obj: K8sObject) -> Iterator[Reference]:
    ns, spec = obj.namespace, obj.spec
    name = text(spec, "ingressClassName") or obj.annotations.get("kubernetes.io/ingress.class", "")
    yield Reference("spec.ingressClassName", _ref("IngressClass", "", name), "class")
    backends = [("spec.defaultBackend", mapping(spec, "defaultBackend"))]
    for i, rule in enumerate(mappings(spec, "rules")):
        for j, path in enumerate(mappings(rule, "http", "paths")):
            backends.append((f"spec.rules[{i}].http.paths[{j}].backend", mapping(path, "backend")))
    for path_text, backend in backends:
        service = text(backend, "service", "name") or text(backend, "serviceName")
        yield Reference(path_text, _ref("Service", ns, service), "backend")
    for i, tls in enumerate(mappings(spec, "tls")):
        yield Reference(f"spec.tls[{i}].secretName", _ref("Secret", ns, text(tls, "secretName")), "tls")


def _hpa_references(obj: K8sObject) -> Iterator[Reference]:
    target = mapping(obj.spec, "scaleTargetRef")
    ref = _ref(text(target, "kind"), obj.namespace, text(target, "name"), text(target, "apiVersion"))
    yield Reference("spec.scaleTargetRef", ref, "scale-target")


def _vpa_references(obj: K8sObject) -> Iterator[Reference]:
    target = mapping(obj.spec, "targetRef")
    ref = _ref(text(target, "kind"), obj.namespace, text(target, "name"), text(target, "apiVersion"))
    yield Reference("spec.targetRef", ref, "scale-target")


def _claim_references(obj: K8sObject) -> Iterator[Reference]:
    name = text(obj.spec, "storageClassName") or obj.annotations.get("volume.beta.kubernetes.io/storage-class", "")
    yield Reference("spec.storageClassName", _ref("StorageClass", "", name), "class")
    yield Reference("spec.volumeName", _ref("PersistentVolume", "", text(obj.spec, "volumeName")), "volume")
    for field in ("dataSource", "dataSourceRef"):
        source = mapping(obj.spec, field)
        yield Reference(f"spec.{field}", _ref(text(source, "kind"), obj.namespace, text(source, "name")), "source")


def _volume_object_references(obj: K8sObject) -> Iterator[Reference]:
    yield Reference("spec.storageClassName", _ref("StorageClass", "", text(obj.spec, "storageClassName")), "class")
    claim = mapping(obj.spec, "claimRef")
    yield Reference(
        "spec.claimRef", _ref("PersistentVolumeClaim", text(claim, "namespace"), text(claim, "name")), "claim"
    )


def _attachment_references(obj: K8sObject) -> Iterator[Reference]:
    volume = text(obj.spec, "source", "persistentVolumeName")
    yield Reference("spec.source.persistentVolumeName", _ref("PersistentVolume", "", volume), "volume")
    yield Reference("spec.nodeName", _ref("Node", "", text(obj.spec, "nodeName")), "node")


def _binding_references(obj: K8sObject) -> Iterator[Reference]:
    role = mapping(obj.raw, "roleRef")
    kind = text(role, "kind")
    ns = obj.namespace if kind == "Role" else ""
    yield Reference("roleRef", _ref(kind, ns, text(role, "name")), "role")
    for index, subject in enumerate(mappings(obj.raw, "subjects")):
        if subject.get("kind") == "ServiceAccount":
            account_ns = text(subject, "namespace") or obj.namespace
            yield Reference(f"subjects[{index}]", _ref("ServiceAccount", account_ns, text(subject, "name")), "subject")


def _account_references(obj: K8sObject) -> Iterator[Reference]:
    for index, secret in enumerate(mappings(obj.raw, "imagePullSecrets")):
        target = _ref("Secret", obj.namespace, text(secret, "name"))
        yield Reference(f"imagePullSecrets[{index}]", target, "pull-secret", optional=True)


def _stateful_set_references(obj: K8sObject) -> Iterator[Reference]:
    yield from _pod_references(obj)
    yield Reference(
        "spec.serviceName", _ref("Service", obj.namespace, text(obj.spec, "serviceName")), "headless-service"
    )


def _slice_references(obj: K8sObject) -> Iterator[Reference]:
    service = obj.labels.get("kubernetes.io/service-name", "")
    yield Reference(
        "metadata.labels[kubernetes.io/service-name]", _ref("Service", obj.namespace, service), "endpoints-of"
    )
    for index, endpoint in enumerate(mappings(obj.raw, "endpoints")):
        target = mapping(endpoint, "targetRef")
        ref = _ref(text(target, "kind"), text(target, "namespace") or obj.namespace, text(target, "name"))
        yield Reference(f"endpoints[{index}].targetRef", ref, "endpoint")


def _webhook_references(obj: K8sObject) -> Iterator[Reference]:
    for index, hook in enumerate(mappings(obj.raw, "webhooks")):
        service = mapping(hook, "clientConfig", "service")
        ref = _ref("Service", text(service, "namespace"), text(service, "name"))
        yield Reference(f"webhooks[{index}].clientConfig.service", ref, "webhook")


def _api_service_references(obj: K8sObject) -> Iterator[Reference]:
    service = mapping(obj.spec, "service")
    yield Reference("spec.service", _ref("Service", text(service, "namespace"), text(service, "name")), "api-backend")


def _route_references(obj: K8sObject) -> Iterator[Reference]:
    for index, parent in enumerate(mappings(obj.spec, "parentRefs")):
        ns = text(parent, "namespace") or obj.namespace
        ref = _ref(text(parent, "kind") or "Gateway", ns, text(parent, "name"))
        yield Reference(f"spec.parentRefs[{index}]", ref, "parent")
    for i, rule in enumerate(mappings(obj.spec, "rules")):
        for j, backend in enumerate(mappings(rule, "backendRefs")):
            ns = text(backend, "namespace") or obj.namespace
            ref = _ref(text(backend, "kind") or "Service", ns, text(backend, "name"))
            yield Reference(f"spec.rules[{i}].backendRefs[{j}]", ref, "backend")


def _gateway_references(obj: K8sObject) -> Iterator[Reference]:
    yield Reference("spec.gatewayClassName", _ref("GatewayClass", "", text(obj.spec, "gatewayClassName")), "class")
    for i, listener in enumerate(mappings(obj.spec, "listeners")):
        for j, certificate in enumerate(mappings(listener, "tls", "certificateRefs")):
            ns = text(certificate, "namespace") or obj.namespace
            path = f"spec.listeners[{i}].tls.certificateRefs[{j}]"
            yield Reference(path, _ref(text(certificate, "kind") or "Secret", ns, text(certificate, "name")), "tls")


def _ingress_class_references(obj: K8sObject) -> Iterator[Reference]:
    parameters = mapping(obj.spec, "parameters")
    ref = _ref(text(parameters, "kind"), text(parameters, "namespace"), text(parameters, "name"))
    yield Reference("spec.parameters", ref, "parameters")


_EXTRACTORS: Mapping[str, Callable[[K8sObject], Iterator[Reference]]] = {
    "Pod": _pod_references,
    "Deployment": _pod_references,
    "ReplicaSet": _pod_references,
    "ReplicationController": _pod_references,
    "StatefulSet": _stateful_set_references,
    "DaemonSet": _pod_references,
    "Job": _pod_references,
    "CronJob": _pod_references,
    "Ingress": _ingress_references,
    "IngressClass": _ingress_class_references,
    "HorizontalPodAutoscaler": _hpa_references,
    "VerticalPodAutoscaler": _vpa_references,
    "PersistentVolumeClaim": _claim_references,
    "PersistentVolume": _volume_object_references,
    "VolumeAttachment": _attachment_references,
    "RoleBinding": _binding_references,
    "ClusterRoleBinding": _binding_references,
    "ServiceAccount": _account_references,
    "EndpointSlice": _slice_references,
    "ValidatingWebhookConfiguration": _webhook_references,
    "MutatingWebhookConfiguration": _webhook_references,
    "APIService": _api_service_references,
    "HTTPRoute": _route_references,
    "GRPCRoute": _route_references,
    "TCPRoute": _route_references,
    "TLSRoute": _route_references,
    "Gateway": _gateway_references,
}
