"""Addresses in configuration: what names a Service, what is wrong with it, and when that is worth a word."""

from __future__ import annotations

import pytest

from agents.analyzers.address_book import addresses, meaning, parse
from agents.analyzers.addresses import dangling_addresses, dns_policies, needed_at_rest, wrong_ports
from agents.evidence import Finding, Severity
from tests.support.views import view_of

CLUSTER = """
{kind: Namespace, apiVersion: v1, metadata: {name: shop}}
---
{kind: Namespace, apiVersion: v1, metadata: {name: data}}
---
kind: Service
apiVersion: v1
metadata: {name: orders-db, namespace: data}
spec: {selector: {app: db}, clusterIP: 10.96.1.1, ports: [{name: pg, port: 5432}]}
"""


def app(env: str, status: str = "Running", extra: str = "") -> str:
    spec = f"""
      {extra}
      containers:
      - name: app
        env: {env}"""
    ready = "True" if status == "Ready" else "False"
    return f"""
kind: Deployment
apiVersion: apps/v1
metadata: {{name: app, namespace: shop}}
spec:
  template:
    metadata: {{labels: {{app: app}}}}
    spec:{spec}
---
kind: ReplicaSet
apiVersion: apps/v1
metadata: {{name: app-1, namespace: shop, ownerReferences: [{{kind: Deployment, name: app, controller: true}}]}}
---
kind: Pod
apiVersion: v1
metadata: {{name: app-1-x, namespace: shop, ownerReferences: [{{kind: ReplicaSet, name: app-1, controller: true}}]}}
spec: {{containers: [{{name: app}}]}}
status:
  phase: Running
  conditions: [{{type: Ready, status: "{ready}"}}]
  containerStatuses: [{{name: app, ready: {str(status == "Ready").lower()}, state: {{running: {{}}}}}}]
"""


def say(line: str) -> dict[tuple[str, str, str] | tuple[str, str, str, bool], str]:
    return {("shop", "app-1-x", "app"): line}


def one(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [f.message for f in findings]
    return findings[0]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("DB_HOST", "orders-db", [("orders-db", None)]),
        ("DB_HOST", "orders-db.data", [("orders-db.data", None)]),
        ("API", "http://api.shop.svc.cluster.local:8080/v1", [("api.shop.svc.cluster.local", 8080)]),
        ("DSN", "postgres://u:p@ss@db.data:5432/x", [("db.data", 5432)]),
        ("DSN", "user:pw@tcp(db.data:3306)/x?parseTime=true", [("db.data", 3306)]),
        ("DSN", "host=db.data user=me port=5432 sslmode=off", [("db.data", 5432)]),
        ("DSN", "Server=db.data,1433;Database=x;User Id=me", [("db.data", 1433)]),
        ("JDBC", "jdbc:mysql://db:3306/x?ssl=true", [("db", 3306)]),
        ("MONGO", "mongodb://a.data:27017,b.data:27017/x", [("a.data", 27017), ("b.data", 27017)]),
        ("KAFKA_BROKERS", "k-0.kafka:9092,k-1.kafka:9092", [("k-0.kafka", 9092), ("k-1.kafka", 9092)]),
        ("x", "until nc -z orders-db.data 5432; do sleep 1; done", [("orders-db.data", 5432)]),
        ("FEATURE", "orders-db", []),
        ("LISTEN_ADDR", "app:8080", []),
        ("IMAGE", "redis:7000", []),
        ("DB_HOST", "$(OTHER_HOST)", []),
        ("URL", "https://${HOST}/x", []),
        ("SERVER_NAME", "orders", []),
        ("DB_HOST", "10.0.0.7", []),
    ],
)
def test_addresses_are_read_and_look_alikes_are_not(
    key: str, value: str, expected: list[tuple[str, int | None]]
) -> None:
    assert [(host, port) for host, port, _, _ in parse(key, value)] == expected


def test_credentials_in_an_address_are_never_kept() -> None:
    view = view_of(CLUSTER, app("[{name: DSN, value: 'postgres://admin:hunter2@orders-dbx.data:5432/x'}]"))
    assert addresses(view)
    assert "hunter2" not in repr(addresses(view))
    assert "hunter2" not in repr(list(dangling_addresses(view)))


@pytest.mark.parametrize(
    ("host", "outcome"),
    [
        ("orders-db.data", "found"),
        ("orders-db.data.svc.cluster.local", "found"),
        ("orders-db.date.svc", "no-namespace"),
        ("orders-db.dat", "no-namespace"),
        ("orders.data", "no-service"),
        ("orders-db", "no-service"),
        ("orders-db.data.svc.cluster.locl", "wrong-domain"),
        ("db-0.orders-db.data", "found"),
        ("smtp.mail.example", "external"),
        ("api.github.com", "external"),
        ("example.com", "external"),
        ("localhost", "external"),
    ],
)
def test_what_a_host_name_means_to_a_pod(host: str, outcome: str) -> None:
    assert meaning(view_of(CLUSTER), host, "shop").outcome == outcome


def test_wrong_namespace_in_a_config_map_is_the_config_map_s_fault() -> None:
    config = """
    kind: ConfigMap
    apiVersion: v1
    metadata: {name: app-env, namespace: shop}
    data: {DB_HOST: orders-db.date.svc.cluster.local, DB_PORT: "5432"}
    """
    workload = app("[{name: A, valueFrom: {configMapKeyRef: {name: app-env, key: DB_HOST}}}]")
    view = view_of(CLUSTER, config, workload, logs=say("dial: lookup orders-db.date.svc.cluster.local: no such host"))
    hit = one(list(dangling_addresses(view)))
    assert (hit.code, hit.severity) == ("address-names-no-service", Severity.ERROR)
    assert str(hit.object) == "ConfigMap shop/app-env"
    assert "no namespace date" in hit.message
    assert "exists in namespace data" in hit.message
    assert "Deployment app" in [f"{r.kind} {r.name}" for r in hit.related]
    assert {e.kind for e in hit.evidence} == {"field", "log", "absence"}


@pytest.mark.parametrize(
    "line",
    [
        "orders-dbs.data could not be resolved (3: Host not found)",
        "Error: getaddrinfo ENOTFOUND orders-dbs.data",
        "java.net.UnknownHostException: orders-dbs.data",
        'psycopg.OperationalError: could not translate host name "orders-dbs.data" to address',
        "nc: bad address 'orders-dbs.data'",
        "connect EHOSTUNREACH orders-dbs.data:5432",
    ],
)
def test_words_of_common_resolvers_are_understood(line: str) -> None:
    workload = app("[{name: DB_URL, value: 'postgres://orders-dbs.data:5432/x'}]", "Ready")
    view = view_of(CLUSTER, workload, logs=say(f"{line}\n{line}"))
    assert one(list(dangling_addresses(view))).severity is Severity.ERROR


def test_missing_service_shows_where_one_of_that_name_is() -> None:
    view = view_of(
        CLUSTER,
        app("[{name: DB_HOST, value: orders-db}]"),
        logs=say("could not translate host name orders-db: Name or service not known"),
    )
    hit = one(list(dangling_addresses(view)))
    assert str(hit.object) == "Deployment shop/app"
    assert "orders-db.data" in hit.message


def test_wrong_address_of_a_content_workload_is_only_worth_knowing() -> None:
    view = view_of(CLUSTER, app("[{name: TRACES, value: 'http://collector.data:4317'}]", "Ready"))
    assert one(list(dangling_addresses(view))).severity is Severity.INFO
    assert list(dangling_addresses(view_of(CLUSTER, app("[{name: DB_HOST, value: orders}]", "Ready")))) == []


def test_workload_that_struggles_with_something_else_is_not_called_an_error() -> None:
    view = view_of(
        CLUSTER,
        app("[{name: TRACES, value: 'http://collector.data:4317'}]"),
        logs=say("panic: config.yaml: unknown key"),
    )
    assert one(list(dangling_addresses(view))).severity is Severity.WARNING


def test_names_in_the_pod_s_own_hosts_file_are_right() -> None:
    workload = app(
        "[{name: DB_HOST, value: legacy.data}]", extra="hostAliases: [{ip: 10.0.0.9, hostnames: [legacy.data]}]"
    )
    assert list(dangling_addresses(view_of(CLUSTER, workload, logs=say("connect legacy.data: timeout")))) == []


def test_services_that_were_not_listed_are_not_missing() -> None:
    view = view_of(CLUSTER, app("[{name: U, value: 'http://orders.data:80'}]"), listed=frozenset({"Pod", "Namespace"}))
    assert list(dangling_addresses(view)) == []


def test_port_that_the_service_does_not_have() -> None:
    env = "[{name: DB_HOST, value: orders-db.data}, {name: DB_PORT, value: '5433'}]"
    view = view_of(CLUSTER, app(env), logs=say("connect to orders-db.data failed: Connection timed out"))
    hit = one(list(wrong_ports(view)))
    assert (hit.code, hit.severity) == ("address-wrong-port", Severity.ERROR)
    assert "5433" in hit.message
    assert "5432 (pg)" in hit.message


def test_right_port_is_silent() -> None:
    env = "[{name: DB_HOST, value: orders-db.data}, {name: DB_PORT, value: '5432'}]"
    assert list(wrong_ports(view_of(CLUSTER, app(env)))) == []


def test_host_network_pods_do_not_ask_the_cluster_s_dns() -> None:
    workload = app("[{name: DB_HOST, value: orders-db.data}]", extra="hostNetwork: true")
    hit = one(list(dns_policies(view_of(CLUSTER, workload, logs=say("lookup orders-db.data: no such host")))))
    assert hit.code == "dns-policy-skips-cluster-dns"
    assert "ClusterFirstWithHostNet" in hit.message


def test_host_network_pods_with_the_right_dns_policy_are_silent() -> None:
    extra = "hostNetwork: true\n      dnsPolicy: ClusterFirstWithHostNet"
    workload = app("[{name: DB_HOST, value: orders-db.data}]", extra=extra)
    assert list(dns_policies(view_of(CLUSTER, workload, logs=say("lookup orders-db.data: no such host")))) == []


def database(replicas: int) -> str:
    return f"""
kind: StatefulSet
apiVersion: apps/v1
metadata: {{name: orders-db, namespace: data}}
spec: {{replicas: {replicas}, template: {{metadata: {{labels: {{app: db}}}}}}}}
"""


def test_a_workload_scaled_to_zero_is_the_cause_when_somebody_misses_it() -> None:
    env = "[{name: DB_HOST, value: orders-db.data}]"
    line = "dial tcp 10.96.1.1:5432: connect: connection refused"
    found = one(list(needed_at_rest(view_of(CLUSTER, database(0), app(env), logs=say(line)))))
    assert (found.code, str(found.object)) == ("needed-workload-scaled-to-zero", "StatefulSet data/orders-db")
    assert found.severity is Severity.ERROR
    for view in (
        view_of(CLUSTER, database(1), app(env), logs=say(line)),  # not switched off: its pods are another check's
        view_of(CLUSTER, database(0), app(env, status="Ready"), logs=say("ready")),  # nobody misses it
    ):
        assert list(needed_at_rest(view)) == []
