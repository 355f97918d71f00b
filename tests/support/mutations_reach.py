"""Faults of Services, policies, ingresses, names and dependencies: who cannot reach whom."""
# ruff: noqa: E501  # messages of kubelet, scheduler and controllers stand as they are written, in one piece
# A state reads as a table, one fact a line:
# fmt: off

from __future__ import annotations

from collections.abc import Callable

from tests.support.healthy import allow, database, dns_rule, ingress, secret
from tests.support.judging import Expected
from tests.support.kubelet import crash, status_of, unready, unschedulable, waiting
from tests.support.scene import Scene
from tests.support.simulation import Raw, Workload


def _client(s: Scene, *lines: str, of: Workload | None = None) -> Workload:
    """A second workload, well itself, that calls the one in question and complains in its log."""
    client = of or s.sim.workload("Deployment", s.ns, "order-front", container={
        "env": [{"name": "BACKEND_URL", "value": f"http://{s.work.name}:80"}]})  # fmt: skip
    for pod in s.sim.pods(s.ns, client.name):
        name = pod["spec"]["containers"][0]["name"]
        s.sim.logs[s.ns, pod["metadata"]["name"], name, False] += "\n" + s.log(*lines)
    s.expected.innocent += [s.ref(client)]
    return client


def _service(s: Scene) -> Raw:
    return s.sim.get("Service", s.ns, s.work.name)


def _at(s: Scene) -> str:
    return f"Service/{s.ns}/{s.work.name}"


def selector_mismatch(s: Scene) -> Expected:
    s.workload(("Deployment", "StatefulSet"))
    key = next(iter(s.work.labels))
    right = s.work.labels[key]
    _service(s)["spec"]["selector"][key] = right + "s"
    _client(s, f'Get "http://{s.work.name}:80/v1": dial tcp 10.96.7.7:80: connect: connection refused')
    s.expected.innocent.append(s.ref(s.work))
    return s.cause("selector", right + "s", right, of=(_at(s),))


def target_port_number_wrong(s: Scene) -> Expected:
    s.workload(("Deployment",))
    _service(s)["spec"]["ports"][0]["targetPort"] = 8123
    _client(s, f'Get "http://{s.work.name}:80/v1": dial tcp 10.96.7.7:80: connect: connection refused')
    s.expected.innocent.append(s.ref(s.work))
    return s.cause("8123", str(s.work.port), of=(_at(s),))


def target_port_name_wrong(s: Scene) -> Expected:
    s.workload(("Deployment",))
    _service(s)["spec"]["ports"][0]["targetPort"] = "web"
    s.expected.innocent.append(s.ref(s.work))
    return s.cause("web", "http", "targetPort", of=(_at(s),))


def service_protocol_wrong(s: Scene) -> Expected:
    s.workload(("Deployment",))
    _service(s)["spec"]["ports"][0] |= {"protocol": "UDP", "targetPort": s.work.port}
    s.expected.innocent.append(s.ref(s.work))
    return s.cause("UDP", "TCP", of=(_at(s),))


def environment_names_no_service(s: Scene) -> Expected:
    database(s.sim, s.ns, "route-db")
    url = f"postgres://app@route-bd.{s.ns}.svc.cluster.local:5432/app"
    for pod in s.container(lambda c: c.update(env=[{"name": "DATABASE_URL", "value": url}])):
        crash(s.sim, pod, 1, s.log("connecting", f"dial tcp: lookup route-bd.{s.ns}.svc.cluster.local on 10.96.0.10:53: no such host"))
    return s.cause("route-bd", "route-db")


def environment_names_wrong_namespace(s: Scene) -> Expected:
    other = s.sim.of("StatefulSet")
    del other
    ns = next(w.ns for w in s.sim.workloads if w.name == "store-db")
    for pod in s.container(lambda c: c.update(env=[{"name": "DB_HOST", "value": "store-db"}, {"name": "DB_PORT", "value": "5432"}])):
        unready(s.sim, pod, "HTTP probe failed with statuscode: 503", log=s.log("pool started", "could not translate host name \"store-db\" to address: Name or service not known").replace('\\"', ""))
    s.expected.innocent.append(f"StatefulSet/{ns}/store-db")
    return s.cause("store-db", ns)


def environment_wrong_port(s: Scene) -> Expected:
    db = database(s.sim, s.ns, "route-db")
    s.expected.innocent.append(s.ref(db))
    for pod in s.container(lambda c: c.update(env=[{"name": "DB_ADDR", "value": "route-db:5433"}])):
        crash(s.sim, pod, 1, s.log("connecting to route-db:5433", "dial tcp 10.244.3.4:5433: connect: connection refused"))
    return s.cause("5433", "5432")


def config_map_address_wrong(s: Scene) -> Expected:
    database(s.sim, s.ns, "route-db")
    s.sim.add("v1", "ConfigMap", f"{s.app}-env", s.ns, data={"DB_HOST": f"route-db.{s.ns}s.svc.cluster.local", "LOG_LEVEL": "info"})
    for pod in s.container(lambda c: c.update(envFrom=[{"configMapRef": {"name": f"{s.app}-env"}}])):
        unready(s.sim, pod, "HTTP probe failed with statuscode: 503", log=s.log("starting", f"java.net.UnknownHostException: route-db.{s.ns}s.svc.cluster.local"))
    return s.cause(f"route-db.{s.ns}s", of=(f"ConfigMap/{s.ns}/{s.app}-env", s.ref(s.work)))


def dependency_scaled_to_zero(s: Scene) -> Expected:
    cache = s.sim.workload("Deployment", s.ns, "shard-cache", replicas=0, port=6379)
    s.sim.get("Service", s.ns, "shard-cache")["spec"]["ports"][0]["port"] = 6379
    for pod in s.container(lambda c: c.update(env=[{"name": "CACHE_ADDR", "value": "shard-cache:6379"}])):
        crash(s.sim, pod, 1, s.log("starting", "dial tcp 10.96.40.3:6379: connect: connection refused (shard-cache:6379)"))
    return s.cause("shard-cache", "0 replicas|zero|scaled|replicas 0|replicas: 0", of=(s.ref(cache), f"Service/{s.ns}/shard-cache"))


def dependency_in_other_namespace_down(s: Scene) -> Expected:
    """The database lives elsewhere and cannot start: its image is gone."""
    from tests.support.kubelet import pull_failure

    ns = next(w.ns for w in s.sim.workloads if w.name.endswith("-gateway"))
    db = s.sim.workload("StatefulSet", ns, "ledger-store", replicas=1, port=5432)
    s.sim.get("Service", ns, "ledger-store")["spec"]["ports"][0] |= {"port": 5432}
    for pod in s.sim.release(db, lambda spec: spec["containers"][0].update(image="postgres:16.99"), minutes=24, fresh=True):
        said = 'failed to pull and unpack image "docker.io/library/postgres:16.99": failed to resolve reference "docker.io/library/postgres:16.99": docker.io/library/postgres:16.99: not found'
        pull_failure(s.sim, pod, f"rpc error: code = NotFound desc = {said}")
    s.workload(("Deployment",), container={"env": [{"name": "DB_URL", "value": f"postgres://ledger-store.{ns}.svc:5432/x"}]})
    for pod in s.degrade():
        unready(s.sim, pod, "HTTP probe failed with statuscode: 503", since=24, log=s.log("ready", f"connect to ledger-store.{ns}.svc:5432: dial tcp 10.244.2.2:5432: i/o timeout"))
    return s.cause("postgres:16.99", "not found|does not exist|NotFound", of=(s.ref(db),))


def credentials_rejected(s: Scene) -> Expected:
    database(s.sim, s.ns, "route-db")
    for pod in s.container(lambda c: c.update(env=[{"name": "DB_HOST", "value": "route-db"}, {"name": "DB_USER", "value": "planner"}])):
        crash(s.sim, pod, 1, s.log("connecting", 'FATAL: password authentication failed for user planner'))
    return s.cause("password authentication failed|credential", "planner")


def policy_blocks_ingress(s: Scene) -> Expected:
    s.workload(("Deployment",))
    allow(s.sim, s.ns, f"{s.app}-guard", {"matchLabels": s.work.labels}, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "order-frontend"}}}]}])
    _client(s, f"call to http://{s.work.name}:80/v1 failed: dial tcp 10.96.7.7:80: i/o timeout")
    for pod in s.sim.pods(s.ns, "order-front"):
        unready(s.sim, pod, "HTTP probe failed with statuscode: 503", since=20)
    s.sim.find(s.ns, "order-front").extra["was_ready"] = True
    s.expected.innocent = [s.ref(s.work), s.ref(s.neighbour)]
    return s.cause(f"{s.app}-guard", "order-front", of=(f"NetworkPolicy/{s.ns}/{s.app}-guard",))


def policy_blocks_dns(s: Scene) -> Expected:
    database(s.sim, s.ns, "route-db")
    s.workload(("Deployment",), container={"env": [{"name": "DB_HOST", "value": "route-db"}]})
    allow(s.sim, s.ns, "tight-egress", {"matchLabels": s.work.labels}, egress=[{"to": [{"podSelector": {}}]}])
    for pod in s.degrade():
        unready(s.sim, pod, "HTTP probe failed with statuscode: 503", since=25, log=s.log("ready", "lookup route-db on 10.96.0.10:53: read udp 10.244.1.7:48213->10.96.0.10:53: i/o timeout"))
    return s.cause("tight-egress", "DNS|53|kube-dns", of=(f"NetworkPolicy/{s.ns}/tight-egress",))


def policy_denies_all_egress(s: Scene) -> Expected:
    db = database(s.sim, s.ns, "route-db")
    s.workload(("Deployment",), container={"env": [{"name": "DB_HOST", "value": "route-db"}, {"name": "DB_PORT", "value": "5432"}]})
    s.sim.add("networking.k8s.io/v1", "NetworkPolicy", "lockdown", s.ns, spec={"podSelector": {}, "policyTypes": ["Egress"]}, age=26)
    allow(s.sim, s.ns, "dns-out", {}, egress=[dns_rule()])
    for pod in s.degrade():
        unready(s.sim, pod, "HTTP probe failed with statuscode: 503", since=25, log=s.log("ready", "dial tcp 10.96.41.2:5432: i/o timeout while connecting to route-db:5432"))
    s.expected.innocent.append(s.ref(db))
    return s.cause("lockdown|dns-out", "route-db", of=(f"NetworkPolicy/{s.ns}/lockdown", f"NetworkPolicy/{s.ns}/dns-out"))


def policy_across_namespaces(s: Scene) -> Expected:
    """The database's namespace admits only others."""
    ns = next(w.ns for w in s.sim.workloads if w.name == "store-db")
    allow(s.sim, ns, "db-clients", {"matchLabels": s.sim.find(ns, "store-db").labels}, ingress=[
        {"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns}}}], "ports": [{"protocol": "TCP", "port": 5432}]}])  # fmt: skip
    host = f"store-db.{ns}.svc.cluster.local"
    for pod in s.container(lambda c: c.update(env=[{"name": "DB_HOST", "value": host}, {"name": "DB_PORT", "value": "5432"}])):
        crash(s.sim, pod, 1, s.log("connecting", f"could not connect to server {host}:5432: connection timed out"))
    s.expected.innocent.append(f"StatefulSet/{ns}/store-db")
    return s.cause("db-clients", of=(f"NetworkPolicy/{ns}/db-clients",))


def ingress_backend_missing(s: Scene) -> Expected:
    s.workload(("Deployment",))
    ingress(s.sim, s.ns, "front-door", s.work.name + "-svc")
    s.expected.innocent.append(s.ref(s.work))
    return s.cause(s.work.name + "-svc", of=(f"Ingress/{s.ns}/front-door",))


def ingress_port_wrong(s: Scene) -> Expected:
    s.workload(("Deployment",))
    made = ingress(s.sim, s.ns, "front-door", s.work.name)
    made["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"] = {"number": 8443}
    s.expected.innocent.append(s.ref(s.work))
    return s.cause("8443", "80", of=(f"Ingress/{s.ns}/front-door",))


def ingress_class_missing(s: Scene) -> Expected:
    s.workload(("Deployment",))
    made = ingress(s.sim, s.ns, "front-door", s.work.name, ingressClassName="ngnix")
    made["status"] = {"loadBalancer": {}}
    return s.cause("ngnix", "nginx", of=(f"Ingress/{s.ns}/front-door",))


def ingress_tls_missing(s: Scene) -> Expected:
    s.workload(("Deployment",))
    secret(s.sim, s.ns, "front-door-cert", "kubernetes.io/tls", tls__crt="x", tls__key="y")
    ingress(s.sim, s.ns, "front-door", s.work.name, tls="front-door-tls")
    return s.cause("front-door-tls", of=(f"Ingress/{s.ns}/front-door",))


def ingress_backend_down(s: Scene) -> Expected:
    """The Ingress gives 503 because the pods behind it crash."""
    s.workload(("Deployment",))
    ingress(s.sim, s.ns, "front-door", s.work.name)
    for pod in s.degrade():
        crash(s.sim, pod, 1, s.log("starting", "panic: runtime error: invalid memory address or nil pointer dereference"))
    return s.cause("nil pointer", "panic")


def load_balancer_pending(s: Scene) -> Expected:
    s.workload(("Deployment",))
    service = _service(s)
    service["spec"]["type"] = "LoadBalancer"
    service["metadata"]["creationTimestamp"] = s.sim.ago(40)
    said = "Error syncing load balancer: failed to ensure load balancer: could not find any suitable subnets for creating the ELB"
    s.sim.event(service, "SyncLoadBalancerFailed", said, count=9, first=39, last=3, by="service-controller")
    return s.cause("subnets|load balancer", of=(_at(s),))


def coredns_broken(s: Scene) -> Expected:
    """A bad Corefile: CoreDNS does not start, all names fail."""
    config = s.sim.get("ConfigMap", "kube-system", "coredns")
    config["data"]["Corefile"] = ".:53 {\n    errors\n    kubernetes cluster.local\n    forwrd . /etc/resolv.conf\n}\n"
    dns = s.sim.find("kube-system", "coredns")
    dns.extra["was_ready"] = True
    for pod in s.sim.pods("kube-system", "coredns"):
        crash(s.sim, pod, 1, "/etc/coredns/Corefile:4 - Error during parsing: Unknown directive 'forwrd'")
    database(s.sim, s.ns, "route-db")
    s.workload(("Deployment",), container={"env": [{"name": "DB_HOST", "value": "route-db"}]})
    for pod in s.degrade():
        unready(s.sim, pod, "HTTP probe failed with statuscode: 503", since=15, log=s.log("ready", "lookup route-db on 10.96.0.10:53: read udp 10.244.1.7:48213->10.96.0.10:53: read: connection refused"))
    s.expected.innocent.clear()
    return s.cause("forwrd", of=("Deployment/kube-system/coredns", "ConfigMap/kube-system/coredns"))


def init_waits_for_missing(s: Scene) -> Expected:
    init = {"name": "wait-for-queue", "image": "busybox:1.36", "command": ["sh", "-c", f"until nslookup queue-main.{s.ns}.svc.cluster.local; do echo waiting for queue-main; sleep 2; done"], "resources": {}}

    for pod in s.release(lambda spec: spec.update(initContainers=[init])):
        chosen = status_of(pod, "wait-for-queue")
        name = pod["metadata"]["name"]
        for other in pod["status"]["containerStatuses"]:
            waiting(s.sim, pod, "PodInitializing", container=other["name"])
        chosen |= {"ready": False, "started": True, "state": {"running": {"startedAt": s.sim.ago(13)}}}
        pod["status"]["phase"] = "Pending"
        line = f"** server can't find queue-main.{s.ns}.svc.cluster.local: NXDOMAIN"
        s.sim.logs[s.ns, name, "wait-for-queue", False] = "\n".join(["Server:\t\t10.96.0.10", "Address:\t10.96.0.10:53", "", line, "", "waiting for queue-main"] * 5)
    return s.cause("queue-main", "NXDOMAIN|no Service|does not exist|can't find")


def init_fails(s: Scene) -> Expected:
    init = {"name": "migrate", "image": f"{s.sim.registry}/migrate:1.0", "resources": {}}
    for pod in s.release(lambda spec: spec.update(initContainers=[init])):
        crash(s.sim, pod, 1, s.log("applying 0042_add_index", "relation shipment_legs does not exist"), container="migrate")
    return s.cause("migrate", "shipment_legs")


def two_faults(s: Scene) -> Expected:
    """Two workloads of one namespace, broken independently."""
    from tests.support.kubelet import pull_failure

    for pod in s.container(lambda c: c.update(image="ghcr.io/fernhill/absent:0.0.1"), kinds=("Deployment",)):
        image = "ghcr.io/fernhill/absent:0.0.1"
        pull_failure(s.sim, pod, f'rpc error: code = NotFound desc = failed to pull and unpack image "{image}": failed to resolve reference "{image}": {image}: not found')
    s.cause("absent:0.0.1")
    second = s.sim.workload("Deployment", s.ns, "invoice-printer")
    need = {"requests": {"cpu": "30", "memory": "96Mi"}}
    for pod in s.sim.release(second, lambda spec: spec["containers"][0].update(resources=need), minutes=18, fresh=True):
        unschedulable(s.sim, pod, "0/4 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 3 Insufficient cpu. preemption: 0/4 nodes are available: 1 Preemption is not helpful for scheduling, 3 No preemption victims found for incoming pod.")
    return s.cause("cpu", "30", of=(s.ref(second),))


MUTATIONS: tuple[Callable[[Scene], Expected], ...] = (
    selector_mismatch, target_port_number_wrong, target_port_name_wrong, service_protocol_wrong,
    environment_names_no_service, environment_names_wrong_namespace, environment_wrong_port, config_map_address_wrong,
    dependency_scaled_to_zero, dependency_in_other_namespace_down, credentials_rejected, policy_blocks_ingress,
    policy_blocks_dns, policy_denies_all_egress, policy_across_namespaces, ingress_backend_missing, ingress_port_wrong,
    ingress_class_missing, ingress_tls_missing, ingress_backend_down, load_balancer_pending, coredns_broken,
    init_waits_for_missing, init_fails, two_faults,
)  # fmt: skip
