"""The cells of each kind's row in a table: one small function for each, over an object and the time of the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from agents.cluster.objects import (
    K8sObject,
    flag,
    integer,
    mapping,
    mappings,
    moment,
    pod_spec,
    string_map,
    strings,
    text,
)
from agents.cluster.secrets import secret_keys
from agents.cluster.selectors import label_selector
from agents.cluster.serve.shown import NONE, UNKNOWN, UNSET, Cell, age, duration, joined
from agents.cluster.view import event_record


def _count(obj: K8sObject, *path: str) -> int:
    return integer(obj.raw, *path) or 0


def _labels(found: Mapping[str, str]) -> str:
    return joined([f"{k}={v}" for k, v in found.items()])


def _template_cells(obj: K8sObject) -> list[Cell]:
    """Containers and images of a workload's template, for `-o wide`."""
    found = mappings(pod_spec(obj), "containers")
    return [joined([text(c, "name") for c in found]), joined([text(c, "image") for c in found])]


def _selector(obj: K8sObject) -> str:
    return str(label_selector(mapping(obj.spec, "selector"))) or NONE


def age_only(obj: K8sObject, now: datetime) -> list[Cell]:
    return [age(obj.created, now)]


def phase_and_age(obj: K8sObject, now: datetime) -> list[Cell]:
    return [text(obj.status, "phase"), age(obj.created, now)]


def service(obj: K8sObject, now: datetime) -> list[Cell]:
    kind = text(obj.spec, "type") or "ClusterIP"
    external = [text(i, "ip") or text(i, "hostname") for i in mappings(obj.status, "loadBalancer", "ingress")]
    external += strings(obj.spec, "externalIPs")
    if kind == "ExternalName":
        external = [text(obj.spec, "externalName")]
    pending = "<pending>" if kind == "LoadBalancer" else NONE
    ports = [
        text(p, "port")
        + (f":{text(p, 'nodePort')}" if text(p, "nodePort") else "")
        + "/"
        + (text(p, "protocol") or "TCP")
        for p in mappings(obj.spec, "ports")
    ]
    selector = _labels(string_map(obj.spec, "selector"))
    cluster_ip = text(obj.spec, "clusterIP") or NONE
    return [kind, cluster_ip, ",".join(external) or pending, joined(ports), age(obj.created, now), selector]


def deployment(obj: K8sObject, now: datetime) -> list[Cell]:
    desired = integer(obj.spec, "replicas")
    return [
        f"{_count(obj, 'status', 'readyReplicas')}/{1 if desired is None else desired}",
        _count(obj, "status", "updatedReplicas"),
        _count(obj, "status", "availableReplicas"),
        age(obj.created, now),
        *_template_cells(obj),
        _selector(obj),
    ]


def replica_set(obj: K8sObject, now: datetime) -> list[Cell]:
    counts: list[Cell] = [
        _count(obj, "spec", "replicas"),
        _count(obj, "status", "replicas"),
        _count(obj, "status", "readyReplicas"),
    ]
    selector = _labels(string_map(obj.spec, "selector")) if obj.kind == "ReplicationController" else _selector(obj)
    return [*counts, age(obj.created, now), *_template_cells(obj), selector]


def stateful_set(obj: K8sObject, now: datetime) -> list[Cell]:
    desired = integer(obj.spec, "replicas")
    ready = f"{_count(obj, 'status', 'readyReplicas')}/{1 if desired is None else desired}"
    return [ready, age(obj.created, now), *_template_cells(obj)]


def daemon_set(obj: K8sObject, now: datetime) -> list[Cell]:
    fields = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    selector = _labels(string_map(pod_spec(obj), "nodeSelector"))
    counts: list[Cell] = [_count(obj, "status", f) for f in fields]
    return [*counts, selector, age(obj.created, now), *_template_cells(obj), _selector(obj)]


def job(obj: K8sObject, now: datetime) -> list[Cell]:
    wanted = integer(obj.spec, "completions")
    done = _count(obj, "status", "succeeded")
    parallel = _count(obj, "spec", "parallelism")
    total = str(wanted) if wanted is not None else f"1 of {parallel}" if parallel > 1 else "1"
    started, ended = moment(obj.status, "startTime"), moment(obj.status, "completionTime")
    took = duration((ended or now) - started) if started else ""
    state = "Running"
    for condition, word in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        if obj.condition(condition).get("status") == "True":
            state = word
            break
    return [state, f"{done}/{total}", took, age(obj.created, now), *_template_cells(obj), _selector(obj)]


def cron_job(obj: K8sObject, now: datetime) -> list[Cell]:
    last = moment(obj.status, "lastScheduleTime")
    return [
        text(obj.spec, "schedule"),
        text(obj.spec, "timeZone") or NONE,
        "True" if flag(obj.spec, "suspend") else "False",
        len(mappings(obj.status, "active")),
        NONE if last is None else duration(now - last),
        age(obj.created, now),
        *_template_cells(obj),
        NONE,
    ]


def node(obj: K8sObject, now: datetime) -> list[Cell]:
    ready = obj.condition("Ready").get("status")
    words = ["Ready" if ready == "True" else "NotReady" if ready else "Unknown"]
    if flag(obj.spec, "unschedulable"):
        words.append("SchedulingDisabled")
    prefix = "node-role.kubernetes.io/"
    roles = sorted(k.removeprefix(prefix) for k in obj.labels if k.startswith(prefix))
    info = mapping(obj.status, "nodeInfo")
    addresses = {text(a, "type"): text(a, "address") for a in reversed(mappings(obj.status, "addresses"))}
    return [
        ",".join(words),
        joined(roles),
        age(obj.created, now),
        text(info, "kubeletVersion"),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        text(info, "osImage") or UNKNOWN,
        text(info, "kernelVersion") or UNKNOWN,
        text(info, "containerRuntimeVersion") or UNKNOWN,
    ]


def event(obj: K8sObject, now: datetime) -> list[Cell]:
    seen = event_record(obj)
    kind = "Warning" if seen.warning else text(obj.raw, "type") or "Normal"
    return [
        age(seen.last, now),
        kind,
        seen.reason,
        f"{seen.about.kind.lower()}/{seen.about.name}",
        seen.field_path,
        seen.source,
        seen.message.strip(),
        age(seen.first, now),
        seen.count,
        obj.name,
    ]


def config_map(obj: K8sObject, now: datetime) -> list[Cell]:
    return [len(mapping(obj.raw, "data")) + len(mapping(obj.raw, "binaryData")), age(obj.created, now)]


def secret(obj: K8sObject, now: datetime) -> list[Cell]:
    return [text(obj.raw, "type") or "Opaque", len(secret_keys(obj.raw)), age(obj.created, now)]


def service_account(obj: K8sObject, now: datetime) -> list[Cell]:
    return [len(mappings(obj.raw, "secrets")), age(obj.created, now)]


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(found: Sequence[str]) -> str:
    return ",".join(_MODES.get(m, m) for m in found)


def claim(obj: K8sObject, now: datetime) -> list[Cell]:
    bound = text(obj.spec, "volumeName")
    return [
        "Terminating" if obj.deleting_since else text(obj.status, "phase"),
        bound,
        text(obj.status, "capacity", "storage") if bound else "",
        _modes(strings(obj.status, "accessModes")) if bound else "",
        text(obj.spec, "storageClassName"),
        text(obj.spec, "volumeAttributesClassName") or UNSET,
        age(obj.created, now),
        text(obj.spec, "volumeMode") or UNSET,
    ]


def volume(obj: K8sObject, now: datetime) -> list[Cell]:
    bound = mapping(obj.spec, "claimRef")
    return [
        text(obj.spec, "capacity", "storage"),
        _modes(strings(obj.spec, "accessModes")),
        text(obj.spec, "persistentVolumeReclaimPolicy"),
        "Terminating" if obj.deleting_since else text(obj.status, "phase"),
        f"{text(bound, 'namespace')}/{text(bound, 'name')}" if bound else "",
        text(obj.spec, "storageClassName"),
        text(obj.spec, "volumeAttributesClassName") or UNSET,
        text(obj.status, "reason"),
        age(obj.created, now),
        text(obj.spec, "volumeMode") or UNSET,
    ]


def storage_class(obj: K8sObject, now: datetime) -> list[Cell]:
    return [
        text(obj.raw, "provisioner"),
        text(obj.raw, "reclaimPolicy") or "Delete",
        text(obj.raw, "volumeBindingMode") or "Immediate",
        "true" if flag(obj.raw, "allowVolumeExpansion") else "false",
        age(obj.created, now),
    ]


def attachment(obj: K8sObject, now: datetime) -> list[Cell]:
    return [
        text(obj.spec, "attacher"),
        text(obj.spec, "source", "persistentVolumeName"),
        text(obj.spec, "nodeName"),
        "true" if flag(obj.status, "attached") else "false",
        age(obj.created, now),
    ]


def ingress(obj: K8sObject, now: datetime) -> list[Cell]:
    hosts = [text(r, "host") for r in mappings(obj.spec, "rules")]
    addresses = [text(i, "ip") or text(i, "hostname") for i in mappings(obj.status, "loadBalancer", "ingress")]
    return [
        text(obj.spec, "ingressClassName") or obj.annotations.get("kubernetes.io/ingress.class", NONE),
        ",".join(h for h in hosts if h) or "*",
        ",".join(addresses),
        "80, 443" if mappings(obj.spec, "tls") else "80",
        age(obj.created, now),
    ]


def ingress_class(obj: K8sObject, now: datetime) -> list[Cell]:
    parameters = mapping(obj.spec, "parameters")
    named = f"{text(parameters, 'kind')}/{text(parameters, 'name')}" if parameters else NONE
    return [text(obj.spec, "controller"), named, age(obj.created, now)]


def network_policy(obj: K8sObject, now: datetime) -> list[Cell]:
    return [str(label_selector(mapping(obj.spec, "podSelector"))) or NONE, age(obj.created, now)]


def _first(parts: Sequence[str], shown: int = 3) -> str:
    more = f" + {len(parts) - shown} more..." if len(parts) > shown else ""
    return (",".join(parts[:shown]) or NONE) + more


def endpoints(obj: K8sObject, now: datetime) -> list[Cell]:
    found = [
        f"{text(address, 'ip')}:{text(port, 'port')}" if port else text(address, "ip")
        for subset in mappings(obj.raw, "subsets")
        for port in mappings(subset, "ports") or [{}]
        for address in mappings(subset, "addresses")
    ]
    return [_first(found), age(obj.created, now)]


def endpoint_slice(obj: K8sObject, now: datetime) -> list[Cell]:
    ports = [text(p, "port") or "*" for p in mappings(obj.raw, "ports")]
    addresses = [a for e in mappings(obj.raw, "endpoints") for a in strings(e, "addresses")]
    return [text(obj.raw, "addressType"), _first(ports), _first(addresses), age(obj.created, now)]


def autoscaler(obj: K8sObject, now: datetime) -> list[Cell]:
    target = mapping(obj.spec, "scaleTargetRef")
    measured = [mapping(m, "resource") for m in mappings(obj.status, "currentMetrics")]
    current = {text(m, "name"): mapping(m, "current") for m in measured}
    targets = []
    for metric in mappings(obj.spec, "metrics"):
        resource = mapping(metric, "resource")
        name, wanted = text(resource, "name") or text(metric, "type").lower(), mapping(resource, "target")
        share = text(wanted, "averageUtilization")
        seen = text(current.get(name, {}), "averageUtilization" if share else "averageValue")
        unit = "%" if share else ""
        shown = f"{seen}{unit}" if seen else UNKNOWN
        targets.append(f"{name}: {shown}/{share or text(wanted, 'averageValue')}{unit}")
    return [
        f"{text(target, 'kind')}/{text(target, 'name')}",
        ", ".join(targets) or NONE,
        text(obj.spec, "minReplicas") or "1",
        text(obj.spec, "maxReplicas"),
        text(obj.status, "currentReplicas") or "0",
        age(obj.created, now),
    ]


def budget(obj: K8sObject, now: datetime) -> list[Cell]:
    least, most = text(obj.spec, "minAvailable") or "N/A", text(obj.spec, "maxUnavailable") or "N/A"
    return [least, most, text(obj.status, "disruptionsAllowed") or "0", age(obj.created, now)]


def quota(obj: K8sObject, now: datetime) -> list[Cell]:
    used = mapping(obj.status, "used")
    requests: list[str] = []
    limits: list[str] = []
    for name, hard in mapping(obj.status, "hard").items():
        entry = f"{name}: {text(used, name) or '0'}/{hard}"
        (limits if name.startswith("limits.") else requests).append(entry)
    return [", ".join(requests), ", ".join(limits), age(obj.created, now)]


def binding(obj: K8sObject, now: datetime) -> list[Cell]:
    role = mapping(obj.raw, "roleRef")
    return [f"{text(role, 'kind')}/{text(role, 'name')}", age(obj.created, now)]


def priority_class(obj: K8sObject, now: datetime) -> list[Cell]:
    default = "true" if flag(obj.raw, "globalDefault") else "false"
    return [text(obj.raw, "value") or "0", default, age(obj.created, now)]


def lease(obj: K8sObject, now: datetime) -> list[Cell]:
    return [text(obj.spec, "holderIdentity"), age(obj.created, now)]


def definition(obj: K8sObject, now: datetime) -> list[Cell]:
    return [text(obj.raw, "metadata", "creationTimestamp")]
