"""All codes and all analyzers, collected from the subject modules; the one place that runs them.

Promise: `run` never raises because of one analyzer: what fails is returned as `NotChecked`, and the others go on.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType, ModuleType

import structlog

from agents.analyzers.base import Analyzer, Code
from agents.cluster.view import ClusterView
from agents.evidence import Finding, NotChecked

log = structlog.get_logger(__name__)

_SUBJECTS: tuple[str, ...] = (
    "addresses",
    "admission",
    "api_tokens",
    "attachments",
    "autoscaling",
    "autoscaling_bounds",
    "availability",
    "certificates",
    "claim_states",
    "claims",
    "config_references",
    "control_plane",
    "crash_logs",
    "crashes",
    "custom_resources",
    "exposed_secrets",
    "gateway_api",
    "images",
    "ingress",
    "ingress_tls",
    "jobs",
    "metrics_api",
    "multi_attach",
    "namespace_policies",
    "network_policies",
    "nodes",
    "pod_security",
    "pod_setup",
    "policy_edges",
    "probes",
    "prometheus",
    "rbac",
    "rbac_bindings",
    "rbac_denials",
    "refused_pods",
    "resources",
    "rollouts",
    "scheduling",
    "service_endpoints",
    "service_monitors",
    "service_reach",
    "services",
    "start",
    "terminating",
    "usage",
)


def _modules() -> tuple[ModuleType, ...]:
    return tuple(importlib.import_module(f"agents.analyzers.{name}") for name in _SUBJECTS)


def _collect_codes(modules: Sequence[ModuleType]) -> Mapping[str, Code]:
    codes: dict[str, Code] = {}
    for module in modules:
        for code in module.CODES:
            if codes.setdefault(code.name, code) is not code:
                raise ValueError(f"two codes are named {code.name}")
    return MappingProxyType(dict(sorted(codes.items())))


_MODULES = _modules()
CODES: Mapping[str, Code] = _collect_codes(_MODULES)
ANALYZERS: tuple[Analyzer, ...] = tuple(analyzer for module in _MODULES for analyzer in module.ANALYZERS)


def run(view: ClusterView, analyzers: Sequence[Analyzer] = ANALYZERS) -> tuple[list[Finding], list[NotChecked]]:
    """(findings of all analyzers, analyzers that failed). Pure CPU work: milliseconds for a small cluster."""
    findings: list[Finding] = []
    failed: list[NotChecked] = []
    for analyzer in analyzers:
        name = f"{analyzer.__module__.rpartition('.')[2]}.{analyzer.__name__}"
        try:
            findings.extend(analyzer(view))
        except Exception as error:  # one broken check must not cost the answer; it is reported, and logged for us
            log.exception("analyzer failed", analyzer=name, error=type(error).__name__)
            failed.append(NotChecked(what=f"check {name}", reason="failed", detail="the check itself failed"))
    return findings, failed
