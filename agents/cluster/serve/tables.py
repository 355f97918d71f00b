"""Tables as an API server renders them for `kubectl get`: the usual columns of common kinds, else NAME and AGE."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents.cluster.objects import K8sObject
from agents.cluster.reader import RawObject
from agents.cluster.serve import cells
from agents.cluster.serve.pods import pod
from agents.cluster.serve.shown import Cell

Columns = Callable[[K8sObject, datetime], Sequence[Cell]]


@dataclass(frozen=True, slots=True)
class _Layout:
    """The columns between NAME and the end; a `*` before a name marks one that only `-o wide` shows."""

    names: str
    cells: Columns


_LAYOUTS: Mapping[str, _Layout] = {
    "Pod": _Layout("Ready Status Restarts Age *IP *Node *Nominated_Node *Readiness_Gates", pod),
    "Service": _Layout("Type Cluster-IP External-IP Port(s) Age *Selector", cells.service),
    "Deployment": _Layout("Ready Up-to-date Available Age *Containers *Images *Selector", cells.deployment),
    "ReplicaSet": _Layout("Desired Current Ready Age *Containers *Images *Selector", cells.replica_set),
    "ReplicationController": _Layout("Desired Current Ready Age *Containers *Images *Selector", cells.replica_set),
    "StatefulSet": _Layout("Ready Age *Containers *Images", cells.stateful_set),
    "DaemonSet": _Layout(
        "Desired Current Ready Up-to-date Available Node_Selector Age *Containers *Images *Selector", cells.daemon_set
    ),
    "Job": _Layout("Status Completions Duration Age *Containers *Images *Selector", cells.job),
    "CronJob": _Layout(
        "Schedule Timezone Suspend Active Last_Schedule Age *Containers *Images *Selector", cells.cron_job
    ),
    "Node": _Layout(
        "Status Roles Age Version *Internal-IP *External-IP *OS-Image *Kernel-Version *Container-Runtime", cells.node
    ),
    "Namespace": _Layout("Status Age", cells.phase_and_age),
    "Event": _Layout("Last_Seen Type Reason Object *Subobject *Source Message *First_Seen *Count *Name", cells.event),
    "ConfigMap": _Layout("Data Age", cells.config_map),
    "Secret": _Layout("Type Data Age", cells.secret),
    "ServiceAccount": _Layout("Secrets Age", cells.service_account),
    "PersistentVolumeClaim": _Layout(
        "Status Volume Capacity Access_Modes StorageClass VolumeAttributesClass Age *VolumeMode", cells.claim
    ),
    "PersistentVolume": _Layout(
        "Capacity Access_Modes Reclaim_Policy Status Claim StorageClass VolumeAttributesClass Reason Age *VolumeMode",
        cells.volume,
    ),
    "StorageClass": _Layout(
        "Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age", cells.storage_class
    ),
    "VolumeAttachment": _Layout("Attacher PV Node Attached Age", cells.attachment),
    "Ingress": _Layout("Class Hosts Address Ports Age", cells.ingress),
    "IngressClass": _Layout("Controller Parameters Age", cells.ingress_class),
    "NetworkPolicy": _Layout("Pod-Selector Age", cells.network_policy),
    "Endpoints": _Layout("Endpoints Age", cells.endpoints),
    "EndpointSlice": _Layout("AddressType Ports Endpoints Age", cells.endpoint_slice),
    "HorizontalPodAutoscaler": _Layout("Reference Targets MinPods MaxPods Replicas Age", cells.autoscaler),
    "PodDisruptionBudget": _Layout("Min_Available Max_Unavailable Allowed_Disruptions Age", cells.budget),
    "ResourceQuota": _Layout("Request Limit Age", cells.quota),
    "RoleBinding": _Layout("Role Age", cells.binding),
    "ClusterRoleBinding": _Layout("Role Age", cells.binding),
    "PriorityClass": _Layout("Value Global-Default Age", cells.priority_class),
    "Lease": _Layout("Holder Age", cells.lease),
    "CustomResourceDefinition": _Layout("Created_At", cells.definition),
}
_GENERIC = _Layout("Age", cells.age_only)
_NAME_LAST = frozenset({"Event"})  # an event's own name says nothing, so `kubectl get events` hides it
_WHOLE_NUMBERS = frozenset({"Desired", "Current", "Up-to-date", "Available", "Count", "Data", "Secrets", "Active"})


def table(objects: Iterable[RawObject], kind: str, now: datetime, include: str = "Metadata") -> dict[str, Any]:
    """A meta.k8s.io/v1 Table. `include`: what each row carries of its object: None, Metadata or Object."""
    layout = _LAYOUTS.get(kind, _GENERIC)
    columns = [_column(name) for name in layout.names.split()]
    if kind not in _NAME_LAST:
        name_column = {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}
        columns.insert(0, name_column)
    rows = [_row(K8sObject(raw), kind, layout, now, include) for raw in objects]
    return {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": columns, "rows": rows}


def _column(name: str) -> dict[str, Any]:
    wide = name.startswith("*")
    shown = name.removeprefix("*").replace("_", " ")
    return {
        "name": shown,
        "type": "integer" if shown in _WHOLE_NUMBERS else "string",
        "format": "",
        "description": "",
        "priority": 1 if wide else 0,
    }


def _row(obj: K8sObject, kind: str, layout: _Layout, now: datetime, include: str) -> dict[str, Any]:
    shown = list(layout.cells(obj, now))
    row: dict[str, Any] = {"cells": shown if kind in _NAME_LAST else [obj.name, *shown]}
    if include == "Object":
        row["object"] = obj.raw
    elif include != "None":
        row["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": obj.metadata,
        }
    return row
