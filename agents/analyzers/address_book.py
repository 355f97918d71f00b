"""The addresses that workloads are given (in variables, arguments and ConfigMaps) and what each one names in the
cluster.

Promise: conservative. External hosts, templates (`$(VAR)`, `${VAR}`, `{{ }}`), IP addresses and words that merely look
like names are not addresses of Services. Credentials inside an address are never kept: only scheme, host and port are.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agents.analyzers.backing import workloads_in
from agents.analyzers.nearness import likeness
from agents.cluster.objects import K8sObject, containers, mapping, mappings, pod_spec, pod_spec_path, string_map, text
from agents.cluster.view import ClusterView

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*\.?"
_SCHEMES = (
    "https?|wss?|tcp|udp|grpcs?|tls|ssl|rediss?|valkey|postgres|postgresql|mysql|mariadb|mongodb|amqps?|mqtts?|kafka|nats|"
    "memcached|ldaps?|smtps?|imaps?|clickhouse|cassandra|elasticsearch|zookeeper|sqlserver|influxdb|statsd|etcd|otlp|"
    "zipkin|couchdb|neo4j|bolt|pulsar|plaintext|sasl_plaintext|sasl_ssl"
)
_URL = re.compile(rf"(?:jdbc:)?\b({_SCHEMES})(?:\+[a-z0-9]+)?://(?:[^\s/\"']*@)?([^\s/\"'?#;()<>|]+)", re.IGNORECASE)
_HOST_PORT = re.compile(rf"({_HOST}):(\d{{2,5}})", re.IGNORECASE)
_HOST_ONLY = re.compile(_HOST, re.IGNORECASE)
_CLUSTER_NAME = re.compile(
    rf"(?<![\w.@/-])({_LABEL}(?:\.{_LABEL}){{1,3}}\.svc(?:\.{_LABEL})*)(?::(\d{{2,5}}))?(?![\w-])"
)
_NETCAT = re.compile(rf"\b(?:nc|ncat|netcat)\s+(?:-\S+(?:\s+\d+(?=\s+[a-z-]))?\s+)*({_HOST})\s+(\d{{2,5}})\b")
_HOST_FLAG = re.compile(rf"(?:^|\s)(?:-h|--host(?:name)?)[= ]({_HOST})(?=\s|$|;)")
_GO_DSN = re.compile(rf"@tcp\(({_HOST})(?::(\d{{2,5}}))?\)", re.IGNORECASE)
_PAIRS_DSN = re.compile(
    rf"(?:^|[;\s])(?:host|server|data source)\s*=\s*(?:tcp:)?({_HOST})(?:[,:](\d{{2,5}}))?(?=[;\s]|$)", re.IGNORECASE
)
_PORT_PAIR = re.compile(r"(?:^|[;\s])port\s*=\s*(\d{2,5})", re.IGNORECASE)
_TEMPLATE = re.compile(r"\$[({]|\{\{|<%|%[({]")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def _word_set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_HOST_WORDS = _word_set(
    "host hosts hostname addr addrs address addresses url uri urls endpoint endpoints server servers dsn upstream "
    "upstreams broker brokers backend target service"
)
_SURE_WORDS = _HOST_WORDS - {"backend", "target", "service", "hostname"}
_OWN_WORDS = _word_set(
    "bind listen listener pod node own self public advertised advertise external allowed cors virtual trusted cookie "
    "image tag version user owner group chown cluster callback redirect issuer origin origins time schedule"
)
_TLDS = _word_set(
    "com net org io dev app cloud local internal lan corp home example test invalid localhost info biz edu gov mil int "
    "arpa ai co xyz online site tech systems intra private svc"
)
_FILE_LIMIT = 65536
_MOST_PER_VALUE = 40


@dataclass(frozen=True, slots=True)
class Address:
    """One address that a workload is given. `holder` is the object it stands in (the workload or a ConfigMap), `path`
    the field there, `key` the variable or entry; `shown` is the address without credentials. `sure` is False for a
    bare word that only its key makes an address."""

    workload: K8sObject
    holder: K8sObject
    path: str
    key: str
    host: str
    port: int | None
    shown: str
    sure: bool

    @property
    def label(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a host name means in the cluster: which Service of which namespace, and whether those exist.

    `outcome`: found, no-namespace, no-service, wrong-domain, external (not a Service's name) or unknown (not listed).
    """

    outcome: str
    namespace: str = ""
    name: str = ""
    service: K8sObject | None = None


def words_of(key: str) -> list[str]:
    return [w.lower() for w in _WORDS.findall(key)]


def _names_host(key: str, sure: bool = False) -> bool:
    words = words_of(key)
    if len(words) < 2 and not (words and words[-1] in _SURE_WORDS - {"host", "address", "addr", "server"}):
        return False
    return words[-1] in (_SURE_WORDS if sure else _HOST_WORDS) and not _OWN_WORDS & set(words)


def parse(key: str, value: str) -> Iterator[tuple[str, int | None, str, bool]]:
    """(host, port, shown, sure) for each address in one value; `key` tells what a bare word is."""
    value = value.strip()
    if not value or len(value) > 2048:
        return
    found = list(_urls(value))
    if not found and not _TEMPLATE.search(value):
        found = list(_host_ports(key, value)) or list(_commands(value))
        if not found and _HOST_ONLY.fullmatch(value) and re.search(r"[a-z]", value):
            sure = "." in value
            found = [(value.lower(), None, value, sure)] if _names_host(key, sure=not sure) else []
    yield from found


def _urls(value: str) -> Iterator[tuple[str, int | None, str, bool]]:
    for match in _URL.finditer(value):
        for part in match[2].split(","):
            if found := _HOST_PORT.fullmatch(part):
                yield found[1].lower(), _port(found[2]), f"{match[1]}://{part}", True
            elif _HOST_ONLY.fullmatch(part):
                yield part.lower(), _default_port(match[1]), f"{match[1]}://{part}", True


def _host_ports(key: str, value: str) -> Iterator[tuple[str, int | None, str, bool]]:
    pairs = [_HOST_PORT.fullmatch(part.strip()) for part in value.split(",")]
    if not all(pairs) or _OWN_WORDS & set(words_of(key)):
        return
    for pair in pairs:
        if pair is not None and re.search(r"[a-z]", pair[1], re.IGNORECASE):
            yield pair[1].lower(), _port(pair[2]), pair[0], "." in pair[1] or _names_host(key)


def _commands(value: str) -> Iterator[tuple[str, int | None, str, bool]]:
    """Names in a line of shell: full cluster names, and what `nc HOST PORT` and `-h HOST` are told."""
    for found in [*_CLUSTER_NAME.finditer(value), *_NETCAT.finditer(value)]:
        yield found[1].lower(), _port(found[2]), found[0], True
    for found in [*_GO_DSN.finditer(value), *_PAIRS_DSN.finditer(value)]:
        beside = _PORT_PAIR.search(value)
        port = _port(found[2]) or _port(beside[1] if beside else None)
        yield found[1].lower(), port, f"{found[1]}:{port}" if port else found[1], True
    for found in _HOST_FLAG.finditer(value):
        yield found[1].lower(), None, found[1], "." in found[1]


def _port(digits: str | None) -> int | None:
    number = int(digits) if digits else 0
    return number if 0 < number < 65536 else None


def _default_port(scheme: str) -> int | None:
    return {"http": 80, "ws": 80, "https": 443, "wss": 443}.get(scheme.lower())


def addresses(view: ClusterView) -> tuple[Address, ...]:
    """Every address that the workloads of the cluster are given."""
    return view.derived(_addresses)


def _addresses(view: ClusterView) -> tuple[Address, ...]:
    cache: dict[tuple[str, str], list[tuple[str, str, str, int | None, str, bool]]] = {}
    found: list[Address] = []
    for namespace in view.namespaces:
        for workload in workloads_in(view, namespace):
            found.extend(_of_workload(view, workload, cache))
    return tuple(dict.fromkeys(found))


_Entry = tuple[str, str, str, int | None, str, bool]


def _of_workload(
    view: ClusterView, workload: K8sObject, cache: dict[tuple[str, str], list[_Entry]]
) -> Iterator[Address]:
    spec, base = pod_spec(workload), pod_spec_path(workload.kind)
    for path, container in containers(spec):
        env = {text(v, "name"): text(v, "value") for v in mappings(container, "env")}
        for index, variable in enumerate(mappings(container, "env")):
            at = f"{base}.{path}.env[{index}].value"
            yield from _own(workload, at, text(variable, "name"), text(variable, "value"), env)
        for field in ("command", "args"):
            yield from _arguments(workload, container, f"{base}.{path}", field)
    for reference in view.references(workload):
        if reference.target.kind != "ConfigMap" or reference.target.name == "kube-root-ca.crt":
            continue
        holder = view.resolve(reference.target)
        if holder is None:
            continue
        entries = cache.setdefault((holder.namespace, holder.name), [])
        if not entries:
            entries.extend(_of_config_map(holder))
        for entry_key, path, host, port, shown, sure in entries:
            if not reference.key or reference.key == entry_key:
                yield Address(workload, holder, path, path.removeprefix("data."), host, port, shown, sure)


def _own(workload: K8sObject, path: str, key: str, value: str, siblings: Mapping[str, str]) -> Iterator[Address]:
    for host, port, shown, sure in parse(key, value):
        number = port or _sibling_port(key, siblings)
        yield Address(workload, workload, path, key, host, number, shown, sure)


def _arguments(workload: K8sObject, container: Mapping[str, object], base: str, field: str) -> Iterator[Address]:
    values = container.get(field)
    if not isinstance(values, list):
        return
    key = ""
    for index, value in enumerate(values):
        if not isinstance(value, str):
            continue
        flag, equals, rest = value.partition("=")
        if value.startswith("-") and equals and " " not in flag:
            yield from _own(workload, f"{base}.{field}[{index}]", flag.lstrip("-"), rest, {})
        else:
            yield from _own(workload, f"{base}.{field}[{index}]", key, value, {})
        key = value.lstrip("-") if value.startswith("-") and not equals else ""


def _of_config_map(holder: K8sObject) -> Iterator[_Entry]:
    data = string_map(holder.raw, "data")
    for key, value in data.items():
        path = f"data.{key}"
        if "\n" not in value.strip():
            for host, port, shown, sure in parse(key, value):
                yield key, path, host, port or _sibling_port(key, data), shown, sure
            continue
        count = 0
        for line in value[:_FILE_LIMIT].splitlines():
            if line.lstrip().startswith(("#", "//", "--")):
                continue
            name, _, rest = re.sub(r"[\"',]", " ", line).strip().partition(":" if "=" not in line else "=")
            for host, port, shown, _ in parse(name.strip(), rest.strip() or line.strip()):
                # in a file only what is unmistakable: a URL or a full cluster name
                if "://" in shown or ".svc" in host:
                    count += 1
                    if count <= _MOST_PER_VALUE:
                        yield key, path, host, port, shown, True


def _sibling_port(key: str, siblings: Mapping[str, str]) -> int | None:
    """The number in `DB_PORT` beside `DB_HOST`."""
    stem = re.sub(r"(?i)(host|hostname|addr|address|server)$", "", key)
    if stem == key:
        return None
    for word in ("PORT", "port", "Port"):
        value = siblings.get(stem + word, "")
        if value.isdigit() and len(value) <= 5:
            return _port(value)
    return None


def cluster_domain(view: ClusterView) -> str:
    """The cluster's DNS domain, from the Corefile where it can be read, else cluster.local."""
    return view.derived(_cluster_domain)


def _cluster_domain(view: ClusterView) -> str:
    corefile = view.get("ConfigMap", "kube-system", "coredns")
    if corefile is not None:
        found = re.search(r"(?m)^\s*kubernetes\s+([a-z0-9.-]+)", text(corefile.raw, "data", "Corefile"))
        if found and "arpa" not in found[1]:
            return found[1].strip(".")
    return "cluster.local"


def meaning(view: ClusterView, host: str, namespace: str) -> Meaning:
    """What a host name means to a pod of a namespace."""
    labels = [part for part in host.rstrip(".").split(".") if part]
    if not labels or labels[-1].isdigit() or labels == ["localhost"]:
        return Meaning("external")
    if "svc" in labels[2:]:
        at = labels.index("svc", 2)
        domain = ".".join(labels[at + 1 :])
        if domain and domain != cluster_domain(view):
            return _foreign_domain(view, labels[at - 2], labels[at - 1], domain)
        return _lookup(view, labels[at - 2], labels[at - 1])
    if len(labels) == 1:
        return _lookup(view, labels[0], namespace)
    if len(labels) == 2:
        name, where = labels
        if _namespace_exists(view, where):
            return _lookup(view, name, where)
        homes = view.derived(_homes_of_services).get(name, ())
        near = any(likeness(where, home) >= 0.6 for home in homes)
        if homes and (near or not _is_tld(where)):
            return Meaning("no-namespace" if view.listed("Namespace") else "unknown", where, name)
    if len(labels) == 3 and _namespace_exists(view, labels[2]):
        found = view.get("Service", labels[2], labels[1])  # the DNS name of one pod behind a headless Service
        if found is not None:
            return Meaning("found", labels[2], labels[1], found)
    return Meaning("external")


def _is_tld(label: str) -> bool:
    return label in _TLDS or len(label) <= 2


def _foreign_domain(view: ClusterView, name: str, namespace: str, domain: str) -> Meaning:
    found = view.get("Service", namespace, name)
    if likeness(domain, cluster_domain(view)) >= 0.7 and domain != cluster_domain(view):
        return Meaning("wrong-domain", namespace, name, found)
    return Meaning("external")  # another cluster's name, through a service mesh or multi-cluster DNS


def _lookup(view: ClusterView, name: str, namespace: str) -> Meaning:
    found = view.get("Service", namespace, name)
    if found is not None:
        return Meaning("found", namespace, name, found)
    if not _namespace_exists(view, namespace):
        return Meaning("no-namespace" if view.listed("Namespace") else "unknown", namespace, name)
    return Meaning("no-service" if view.listed("Service", namespace) else "unknown", namespace, name)


def _namespace_exists(view: ClusterView, name: str) -> bool:
    return name in view.derived(_namespace_names)


def _namespace_names(view: ClusterView) -> frozenset[str]:
    return frozenset(view.namespaces)


def _homes_of_services(view: ClusterView) -> Mapping[str, tuple[str, ...]]:
    homes: dict[str, list[str]] = defaultdict(list)
    for service in view.of_kind("Service"):
        homes[service.name].append(service.namespace)
    return {name: tuple(found) for name, found in homes.items()}


def homes_of(view: ClusterView, name: str) -> tuple[str, ...]:
    """The namespaces that have a Service of this name."""
    return view.derived(_homes_of_services).get(name, ())


def clients_of(view: ClusterView, service: K8sObject) -> tuple[Address, ...]:
    """The addresses that name this Service: its known clients."""
    return view.derived(_clients).get((service.namespace, service.name), ())


def _clients(view: ClusterView) -> Mapping[tuple[str, str], tuple[Address, ...]]:
    index: dict[tuple[str, str], list[Address]] = defaultdict(list)
    for address in addresses(view):
        meant = meaning(view, address.host, address.workload.namespace)
        if meant.service is not None and meant.outcome == "found":
            index[(meant.namespace, meant.name)].append(address)
    return {key: tuple(found) for key, found in index.items()}


def uses_cluster_dns(workload: K8sObject) -> bool:
    """Whether pods of this workload resolve names through the cluster's DNS."""
    spec = pod_spec(workload)
    policy = text(spec, "dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirstWithHostNet":
        return True
    return policy == "ClusterFirst" and spec.get("hostNetwork") is not True


def aliases(workload: K8sObject) -> frozenset[str]:
    """The names that a workload's pods have in their own hosts file."""
    spec = pod_spec(workload)
    names = {str(n) for alias in mappings(spec, "hostAliases") for n in (alias.get("hostnames") or [])}
    return frozenset(names | {text(mapping(spec), "hostname")} - {""})
