"""The kinds that a diagnosis reads, as the API's discovery names them: one table for snapshot, live reader and
server.
"""

from __future__ import annotations

from agents.cluster.reader import ResourceType

_TABLE = """
v1                                   Pod pods ns
v1                                   Service services ns
v1                                   ConfigMap configmaps ns
v1                                   Secret secrets ns
v1                                   Event events ns
v1                                   Endpoints endpoints ns
v1                                   ServiceAccount serviceaccounts ns
v1                                   PersistentVolumeClaim persistentvolumeclaims ns
v1                                   ReplicationController replicationcontrollers ns
v1                                   ResourceQuota resourcequotas ns
v1                                   LimitRange limitranges ns
v1                                   Node nodes -
v1                                   Namespace namespaces -
v1                                   PersistentVolume persistentvolumes -
apps/v1                              Deployment deployments ns
apps/v1                              ReplicaSet replicasets ns
apps/v1                              StatefulSet statefulsets ns
apps/v1                              DaemonSet daemonsets ns
apps/v1                              ControllerRevision controllerrevisions ns
batch/v1                             Job jobs ns
batch/v1                             CronJob cronjobs ns
autoscaling/v2                       HorizontalPodAutoscaler horizontalpodautoscalers ns
autoscaling.k8s.io/v1                VerticalPodAutoscaler verticalpodautoscalers ns
policy/v1                            PodDisruptionBudget poddisruptionbudgets ns
networking.k8s.io/v1                 Ingress ingresses ns
networking.k8s.io/v1                 IngressClass ingressclasses -
networking.k8s.io/v1                 NetworkPolicy networkpolicies ns
discovery.k8s.io/v1                  EndpointSlice endpointslices ns
storage.k8s.io/v1                    StorageClass storageclasses -
storage.k8s.io/v1                    VolumeAttachment volumeattachments -
storage.k8s.io/v1                    CSIDriver csidrivers -
storage.k8s.io/v1                    CSINode csinodes -
rbac.authorization.k8s.io/v1         Role roles ns
rbac.authorization.k8s.io/v1         RoleBinding rolebindings ns
rbac.authorization.k8s.io/v1         ClusterRole clusterroles -
rbac.authorization.k8s.io/v1         ClusterRoleBinding clusterrolebindings -
scheduling.k8s.io/v1                 PriorityClass priorityclasses -
node.k8s.io/v1                       RuntimeClass runtimeclasses -
coordination.k8s.io/v1               Lease leases ns
admissionregistration.k8s.io/v1      ValidatingWebhookConfiguration validatingwebhookconfigurations -
admissionregistration.k8s.io/v1      MutatingWebhookConfiguration mutatingwebhookconfigurations -
apiregistration.k8s.io/v1            APIService apiservices -
apiextensions.k8s.io/v1              CustomResourceDefinition customresourcedefinitions -
metrics.k8s.io/v1beta1               PodMetrics pods ns
metrics.k8s.io/v1beta1               NodeMetrics nodes -
monitoring.coreos.com/v1             ServiceMonitor servicemonitors ns
monitoring.coreos.com/v1             PodMonitor podmonitors ns
monitoring.coreos.com/v1             PrometheusRule prometheusrules ns
monitoring.coreos.com/v1             Prometheus prometheuses ns
monitoring.coreos.com/v1             Alertmanager alertmanagers ns
gateway.networking.k8s.io/v1         GatewayClass gatewayclasses -
gateway.networking.k8s.io/v1         Gateway gateways ns
gateway.networking.k8s.io/v1         HTTPRoute httproutes ns
gateway.networking.k8s.io/v1         GRPCRoute grpcroutes ns
cert-manager.io/v1                   Certificate certificates ns
cert-manager.io/v1                   Issuer issuers ns
cert-manager.io/v1                   ClusterIssuer clusterissuers -
external-secrets.io/v1               ExternalSecret externalsecrets ns
external-secrets.io/v1               SecretStore secretstores ns
external-secrets.io/v1               ClusterSecretStore clustersecretstores -
keda.sh/v1alpha1                     ScaledObject scaledobjects ns
argoproj.io/v1alpha1                 Application applications ns
source.toolkit.fluxcd.io/v1          GitRepository gitrepositories ns
source.toolkit.fluxcd.io/v1          HelmRepository helmrepositories ns
source.toolkit.fluxcd.io/v1          OCIRepository ocirepositories ns
kustomize.toolkit.fluxcd.io/v1       Kustomization kustomizations ns
helm.toolkit.fluxcd.io/v2            HelmRelease helmreleases ns
"""


def _parse(line: str) -> ResourceType:
    api_version, kind, plural, scope = line.split()
    group, _, version = api_version.rpartition("/")
    return ResourceType(group, version, kind, plural, scope == "ns")


KNOWN_RESOURCES: tuple[ResourceType, ...] = tuple(_parse(line) for line in _TABLE.strip().splitlines())
_BY_NAME = {(r.group, r.kind): r for r in KNOWN_RESOURCES}


def is_read(resource: ResourceType) -> bool:
    """Whether a diagnosis lists this kind (in whatever version the cluster serves it)."""
    return (resource.group, resource.kind) in _BY_NAME


def guess_resource(api_version: str, kind: str, namespaced: bool) -> ResourceType:
    """The resource of an object seen in a file: from the table, or with the plural formed as English and CRDs form
    it.
    """
    group, _, version = api_version.rpartition("/")
    known = _BY_NAME.get((group, kind))
    if known is not None:
        return ResourceType(group, version, kind, known.plural, known.namespaced)
    lower = kind.lower()
    if lower.endswith(("s", "x", "ch", "sh")):
        plural = lower + "es"
    elif lower.endswith("y") and lower[-2:-1] not in "aeiou":
        plural = lower[:-1] + "ies"
    else:
        plural = lower + "s"
    return ResourceType(group, version, kind, plural, namespaced)
