"""The environment of a container as far as it may be read, and the hosts that it names.

Values from ConfigMaps are read; values from Secrets are not in a view at all, so variables set from them are known by
name only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents.analyzers.address_book import meaning
from agents.analyzers.backing import workloads_behind
from agents.cluster.objects import (
    K8sObject,
    containers,
    mapping,
    mappings,
    pod_spec,
    pod_spec_path,
    string_map,
    strings,
)
from agents.cluster.objects import text as text_of
from agents.cluster.secrets import secret_keys
from agents.cluster.view import ClusterView
from agents.evidence import ObjectRef


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable; `value` is None where it comes from a Secret or the pod itself. `source` and `path`
    say which object and field set it."""

    name: str
    value: str | None
    source: K8sObject
    path: str


def environment(view: ClusterView, holder: K8sObject, container: Mapping[str, Any]) -> Mapping[str, Variable]:
    """name -> variable of a container of a pod or of a workload's template; what `env` sets wins over `envFrom`."""
    found: dict[str, Variable] = {}
    base = _path(holder, container)
    for entry in mappings(container, "envFrom"):
        prefix, ns = text_of(entry, "prefix"), holder.namespace
        config = view.get("ConfigMap", ns, text_of(entry, "configMapRef", "name"))
        if config is not None:
            for key, value in string_map(config.raw, "data").items():
                found[prefix + key] = Variable(prefix + key, value, config, f"data.{key}")
        secret = view.get("Secret", ns, text_of(entry, "secretRef", "name"))
        if secret is not None:
            for key in secret_keys(secret.raw):
                found[prefix + key] = Variable(prefix + key, None, secret, f"data.{key}")
    for index, entry in enumerate(mappings(container, "env")):
        name = text_of(entry, "name")
        found[name] = _variable(view, holder, entry, name, f"{base}.env[{index}]")
    return found


def _path(holder: K8sObject, container: Mapping[str, Any]) -> str:
    name = text_of(container, "name")
    path = next((p for p, c in containers(pod_spec(holder)) if text_of(c, "name") == name), "containers[0]")
    return f"{pod_spec_path(holder.kind)}.{path}"


def _variable(view: ClusterView, holder: K8sObject, entry: Mapping[str, Any], name: str, path: str) -> Variable:
    source = mapping(entry, "valueFrom")
    if not source:
        return Variable(name, text_of(entry, "value"), holder, f"{path}.value")
    reference = mapping(source, "configMapKeyRef")
    config = view.get("ConfigMap", holder.namespace, text_of(reference, "name"))
    if config is not None:
        key = text_of(reference, "key")
        return Variable(name, text_of(mapping(config.raw, "data"), key) or None, config, f"data.{key}")
    secret_ref = mapping(source, "secretKeyRef")
    secret = view.get("Secret", holder.namespace, text_of(secret_ref, "name"))
    if secret is not None:
        return Variable(name, None, secret, f"data.{text_of(secret_ref, 'key')}")
    return Variable(name, None, holder, f"{path}.valueFrom")


def command_line(container: Mapping[str, Any]) -> str:
    """Command and arguments in one line."""
    return " ".join((*strings(container, "command"), *strings(container, "args")))


_DOLLAR = re.compile(r"\$\(?\{?([A-Za-z_][A-Za-z0-9_]*)\}?\)?")


def used_variables(line: str, known: Mapping[str, Variable]) -> list[Variable]:
    """The variables that a command line uses, in order, each once."""
    return [known[name] for name in dict.fromkeys(_DOLLAR.findall(line)) if name in known]


def expanded(line: str, known: Mapping[str, Variable]) -> str:
    """The command line with the variables filled in whose values are known."""

    def fill(match: re.Match[str]) -> str:
        variable = known.get(match[1])
        return variable.value if variable is not None and variable.value is not None else match[0]

    return _DOLLAR.sub(fill, line)


_HOST = re.compile(r"(?<![\w.@-])([a-z][a-z0-9-]*(?:\.[a-z0-9][a-z0-9-]*)*)(?::(\d{2,5})|[\s'\"]+(\d{2,5}))(?![\w.])")


def hosts_in(line: str) -> Iterator[tuple[str, int]]:
    """(host, port) pairs that a command line or a message names, as `host:port` or `host port`."""
    for found in _HOST.finditer(line):
        port = int(found[2] or found[3])
        if 0 < port < 65536:
            yield found[1], port


def service_at(view: ClusterView, address: str, namespace: str) -> K8sObject | None:
    """The Service that a host name or a cluster address means to a pod of this namespace, if it was read."""
    if re.fullmatch(r"[0-9.]+|[0-9a-fA-F:]*:[0-9a-fA-F:]+", address):
        return view.derived(_services_by_address).get(address)
    return meaning(view, address, namespace).service


def _services_by_address(view: ClusterView) -> Mapping[str, K8sObject]:
    found: dict[str, K8sObject] = {}
    for service in view.of_kind("Service"):
        for address in {text_of(service.spec, "clusterIP"), *strings(service.spec, "clusterIPs")} - {"", "None"}:
            found[address] = service
    return found


def served_by(view: ClusterView, service: K8sObject) -> tuple[ObjectRef, ...]:
    """The Service and the workloads behind it."""
    return (service.ref, *(w.ref for w in workloads_behind(view, service)[:10]))
