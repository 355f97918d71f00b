"""Who deployed an object and whose it is: the cluster's own agents, a GitOps tool, a Helm release, or a team.

Pure look-ups over labels, annotations and names; nothing here judges. Names of well-known node agents and platform
namespaces are a heuristic: it only ever makes a check quieter, never louder.
"""

from __future__ import annotations

from collections.abc import Iterator

from agents.cluster.objects import K8sObject, mappings, pod_spec, pod_spec_path, text
from agents.cluster.view import ClusterView

_PLATFORM_NAMESPACES = frozenset((
    "et", "argo", "argocd", "aws-observability", "calico-apiserver", "cattle-fleet-system",
    "cattle-monitoring-system", "cert-manager", "cilium", "datadog", "external-dns", "external-secrets",
    "falco", "flux-system", "gatekeeper-system", "ingress-nginx", "istio-system", "jaeger", "karpenter",
    "keda", "kube-flannel", "kube-node-lease", "kube-public", "kube-system", "kyverno", "linkerd",
    "local-path-storage", "logging", "longhorn-system", "metallb-system", "monitoring",
    "node-feature-discovery", "observability", "olm", "openebs", "projectcontour", "rook-ceph",
    "sealed-secrets", "tigera-operator", "traefik", "trivy-system", "vault", "velero",
))  # fmt: skip
_PLATFORM_SUFFIXES = ("-system", "-operator", "-operators")
_NODE_AGENTS = (
    "antrea", "aws-node", "azure-cns", "calico", "cilium", "csi-", "-csi", "dcgm", "device-plugin", "falco", "filebeat",
    "flannel", "fluent", "gpu", "ingress-nginx", "kube-proxy", "kube-router", "kured", "longhorn", "metallb", "multus",
    "nfs-", "node-cache", "node-exporter", "node-feature", "node-local-dns", "node-problem-detector", "nodelocaldns",
    "nvidia", "otel-collector", "promtail", "rook", "sonobuoy", "speaker", "tetragon", "vector", "weave",
)  # fmt: skip

TOP_WORKLOAD_KINDS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "ReplicationController", "ReplicaSet")


def is_platform_namespace(namespace: str) -> bool:
    """Whether the namespace holds the cluster's own machinery, whose wide rights are usually on purpose."""
    return namespace.startswith(("kube-", "openshift-")) or (
        namespace in _PLATFORM_NAMESPACES or namespace.endswith(_PLATFORM_SUFFIXES)
    )


def is_node_agent(workload: K8sObject) -> bool:
    """Whether this is a well-known agent that has to reach into its node (CNI, CSI, proxy, log shipper, exporter)."""
    if workload.namespace == "kube-system":
        return True
    known = any(part in workload.name for part in _NODE_AGENTS)
    return known and (workload.kind == "DaemonSet" or is_platform_namespace(workload.namespace))


def deployed_workloads(view: ClusterView) -> tuple[K8sObject, ...]:
    """The workloads that people (or their tools) wrote: nothing that another workload made, no finished run.

    A ReplicaSet or Job whose controller was not read is left out: its owner is where a change belongs.
    """
    return view.derived(_deployed)


def _deployed(view: ClusterView) -> tuple[K8sObject, ...]:
    return tuple(_find_deployed(view))


def _find_deployed(view: ClusterView) -> Iterator[K8sObject]:
    for workload in view.of_kind(*TOP_WORKLOAD_KINDS):
        if workload.kind in ("ReplicaSet", "Job", "ReplicationController") and workload.controller is not None:
            continue
        if workload.kind == "Job" and _is_finished_job(workload):
            continue
        yield workload
    for pod in view.of_kind("Pod"):
        # a static pod's controller is its Node; what the kubelet runs from files is the cluster's own
        if pod.controller is None and text(pod.status, "phase") not in ("Succeeded", "Failed"):
            yield pod


def _is_finished_job(job: K8sObject) -> bool:
    return any(job.condition(kind).get("status") == "True" for kind in ("Complete", "Failed"))


def account_name(workload: K8sObject) -> str:
    """The name of the ServiceAccount that the workload's pods run with."""
    spec = pod_spec(workload)
    return text(spec, "serviceAccountName") or text(spec, "serviceAccount") or "default"


def account_path(workload: K8sObject) -> str:
    """The field path of the account in a workload of this kind."""
    return f"{pod_spec_path(workload.kind)}.serviceAccountName"


def managed_by(obj: K8sObject) -> str:
    """Which tool applies this object from outside, as words ("Argo CD application shop"); "" where none is known."""
    labels, annotations = obj.labels, obj.annotations
    if tracked := annotations.get("argocd.argoproj.io/tracking-id"):
        return f"Argo CD application {tracked.partition(':')[0]}"
    if application := labels.get("argocd.argoproj.io/instance"):
        return f"Argo CD application {application}"
    if name := labels.get("kustomize.toolkit.fluxcd.io/name"):
        return f"Flux Kustomization {labels.get('kustomize.toolkit.fluxcd.io/namespace', '')}/{name}"
    if name := labels.get("helm.toolkit.fluxcd.io/name"):
        return f"Flux HelmRelease {labels.get('helm.toolkit.fluxcd.io/namespace', '')}/{name}"
    if release := annotations.get("meta.helm.sh/release-name"):
        return f"Helm release {release}"
    for owner in mappings(obj.raw, "metadata", "ownerReferences"):
        if owner.get("controller") is True:
            return f"{text(owner, 'kind')} {text(owner, 'name')}"
    return ""


def manual_change_note(obj: K8sObject) -> str:
    """A sentence to append to a remedy when a tool would undo a change made by hand; "" otherwise."""
    owner = managed_by(obj)
    if not owner:
        return ""
    undone = "will undo" if "Helm release" not in owner else "will overwrite, at its next upgrade,"
    return f" {owner} {undone} a change made by hand: change it at the source."
