"""Rules of the house that a namespace or an image reference leaves open: image tags, network policies, consoles.

Everything here is a risk. What a cluster does nowhere (it has no NetworkPolicy at all) is its custom and not reported
for each namespace.
"""

from __future__ import annotations

from collections.abc import Iterator

from agents.analyzers.backing import pods_behind, service_ports, workloads_behind
from agents.analyzers.base import Analyzer, Code, Role, finding, seen_field
from agents.analyzers.ownership import deployed_workloads, is_platform_namespace, manual_change_note
from agents.cluster.objects import K8sObject, containers, pod_spec, pod_spec_path, strings, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

MUTABLE_TAG = Code(
    "mutable-image-tag", Domain.SECURITY, Severity.WARNING, Role.RISK,
    "An image is named by `latest` or by no tag: what runs changes without a deployment",
    "Name a fixed version (or a digest):\n"
    "`kubectl -n {ns} set image {kind}/{name} {container}={repository}:VERSION`\n"
    "What runs now: `kubectl -n {ns} get pods -o jsonpath='{{..imageID}}'`{gitops}", 0.95,
)  # fmt: skip
NO_NETWORK_POLICY = Code(
    "namespace-without-network-policy", Domain.SECURITY, Severity.INFO, Role.RISK,
    "A namespace has no NetworkPolicy although others of the cluster have",
    "Start with a policy that denies ingress and add what is needed (first in a test namespace):\n"
    "`kubectl -n {name} get networkpolicies`\n"
    "`kubectl get networkpolicies -A` shows how the other namespaces do it", 0.9,
)  # fmt: skip
ADMIN_EXPOSED = Code(
    "datastore-or-console-exposed", Domain.SECURITY, Severity.WARNING, Role.RISK,
    "A database or an administration console is reachable from outside the cluster",
    "Make the Service internal and reach it by port-forward, VPN or an authenticating proxy:\n"
    "`kubectl -n {ns} patch service {name} -p '{{\"spec\":{{\"type\":\"ClusterIP\"}}}}'`\n"
    "or narrow it with `spec.loadBalancerSourceRanges` or an internal load balancer.{gitops}", 0.85,
)  # fmt: skip

# What listens on a well-known port; 8080 and its like say nothing.
_PORTS = {
    1433: "SQL Server", 1521: "Oracle", 2379: "etcd", 3306: "MySQL", 5432: "PostgreSQL", 5601: "Kibana",
    5984: "CouchDB", 6379: "Redis", 7000: "Cassandra", 9042: "Cassandra", 9092: "Kafka", 9200: "Elasticsearch",
    11211: "Memcached",
    15672: "RabbitMQ's console", 26257: "CockroachDB", 27017: "MongoDB",
}  # fmt: skip
_IMAGES = {
    "postgres": "PostgreSQL", "postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB", "mongo": "MongoDB",
    "mongodb": "MongoDB", "redis": "Redis", "valkey": "Valkey", "elasticsearch": "Elasticsearch",
    "opensearch": "OpenSearch",
    "cassandra": "Cassandra", "etcd": "etcd", "memcached": "Memcached", "clickhouse-server": "ClickHouse",
    "kibana": "Kibana",
    "adminer": "Adminer", "phpmyadmin": "phpMyAdmin", "pgadmin4": "pgAdmin", "kubernetes-dashboard": "the dashboard",
    "dashboard": "a dashboard", "prometheus": "Prometheus", "alertmanager": "Alertmanager", "rabbitmq": "RabbitMQ",
}  # fmt: skip
_INTERNAL_MARKS = ("internal", "private")


def mutable_tags(view: ClusterView) -> Iterator[Finding]:
    """Workloads whose images have the tag `latest` or none, and no digest."""
    for workload in deployed_workloads(view):
        if is_platform_namespace(workload.namespace):
            continue
        base = pod_spec_path(workload.kind)
        hits = []
        for path, container in containers(pod_spec(workload)):
            image = text(container, "image")
            if image and _is_mutable(image):
                hits.append((text(container, "name"), image, f"{base}.{path}.image"))
        if not hits:
            continue
        name, image, _ = hits[0]
        shown = ", ".join(f"container {n}: {i}" for n, i, _ in hits[:4])
        lasting = workload.kind in ("Deployment", "StatefulSet", "DaemonSet")
        yield finding(
            MUTABLE_TAG,
            workload,
            f"{workload.kind} {workload.name} uses "
            f"{'no tag' if ':' not in image.rpartition('/')[2] else 'the tag latest'} "
            f"({shown}): the next pod may run another version than its siblings, and there is nothing to roll back to.",
            [seen_field(workload, field, i) for _, i, field in hits[:4]],
            severity=None if lasting else Severity.INFO,
            container=name,
            repository=image.removesuffix(":latest"),
            gitops=manual_change_note(workload),
        )


def _is_mutable(image: str) -> bool:
    last = image.rpartition("/")[2]
    return "@" not in last and (":" not in last or last.endswith(":latest"))


def unfenced_namespaces(view: ClusterView) -> Iterator[Finding]:
    """Namespaces with running pods and without a NetworkPolicy, in clusters where at least as many namespaces have
    one.
    """
    fenced = {p.namespace for p in view.of_kind("NetworkPolicy")}
    if not view.listed("NetworkPolicy"):
        return
    peopled = {p.namespace for p in view.of_kind("Pod") if not is_platform_namespace(p.namespace)}
    open_ones = sorted(peopled - fenced)
    if len(peopled & fenced) < max(2, len(open_ones)):
        return
    for name in open_ones:
        namespace = view.get("Namespace", "", name)
        ref = namespace.ref if namespace is not None else ObjectRef("v1", "Namespace", "", name)
        yield finding(
            NO_NETWORK_POLICY,
            ref,
            f"Namespace {name} has no NetworkPolicy, so every pod of the cluster may connect to its pods; "
            f"{len(peopled & fenced)} other namespaces have one.",
            [
                Evidence(
                    kind="absence",
                    object=ref,
                    locator="list of NetworkPolicy",
                    excerpt=f"no NetworkPolicy was listed in namespace {name}",
                    observed_at=view.taken_at,
                )
            ],
        )


def exposed_consoles(view: ClusterView) -> Iterator[Finding]:
    """NodePort and LoadBalancer Services in front of data stores and consoles."""
    for service in view.of_kind("Service"):
        kind = text(service.spec, "type")
        if kind not in ("NodePort", "LoadBalancer") or _is_narrowed(service):
            continue
        what, evidence = _what_is_behind(view, service)
        if not what:
            continue
        ports = ", ".join(p.label for p in service_ports(service))
        yield finding(
            ADMIN_EXPOSED,
            service,
            f"Service {service.name} of type {kind} publishes {what} (port {ports}) outside the cluster.",
            [seen_field(service, "spec.type", kind), *evidence],
            related=[w.ref for w in workloads_behind(view, service)],
            gitops=manual_change_note(service),
        )


def _is_narrowed(service: K8sObject) -> bool:
    """Whether only chosen callers get there: source ranges, or a provider's annotation for an internal balancer."""
    if strings(service.spec, "loadBalancerSourceRanges"):
        return True
    for key, value in service.annotations.items():
        if "load-balancer" in key or "loadbalancer" in key.lower():
            said = f"{key}={value}".lower()
            if any(mark in said for mark in _INTERNAL_MARKS) and not said.endswith("=false"):
                return True
    return False


def _what_is_behind(view: ClusterView, service: K8sObject) -> tuple[str, list[Evidence]]:
    for port in service_ports(service):
        target = int(port.target) if port.target.isdigit() else port.port
        what = _PORTS.get(port.port) or _PORTS.get(target)
        if what:
            return what, [seen_field(service, port.path, f"port {port.port}, targetPort {port.target}")]
    for pod in pods_behind(view, service)[:1]:
        for path, container in containers(pod_spec(pod)):
            image = text(container, "image")
            repository = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
            if repository in _IMAGES and path.startswith("containers"):
                return _IMAGES[repository], [seen_field(pod, f"spec.{path}.image", image)]
    return "", []


ANALYZERS: tuple[Analyzer, ...] = (mutable_tags, unfenced_namespaces, exposed_consoles)
CODES: tuple[Code, ...] = (MUTABLE_TAG, NO_NETWORK_POLICY, ADMIN_EXPOSED)
