"""Whether a volume can serve a claim, and who uses a claim: the rules of the volume binder, for those who explain it.

A volume fits when class, volume mode, access modes, size and selector agree and nobody else has claimed it
(pkg/controller/volume/persistentvolume, `findMatchingVolume`).
"""

from __future__ import annotations

from collections.abc import Iterator

from agents.analyzers.pods import events_of, is_over
from agents.cluster.objects import K8sObject, mapping, quantity, string_map, strings, text
from agents.cluster.selectors import label_selector
from agents.cluster.view import ClusterView, EventRecord
from agents.evidence import ObjectRef

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
NO_PROVISIONER = "kubernetes.io/no-provisioner"


def class_name(claim: K8sObject) -> str | None:
    """The class a claim asks for: a name, "" for none at all, or None for the default one."""
    if "storageClassName" in claim.spec and isinstance(claim.spec.get("storageClassName"), str):
        return text(claim.spec, "storageClassName")
    return claim.annotations.get(BETA_CLASS)


def is_default(storage_class: K8sObject) -> bool:
    return any(storage_class.annotations.get(key) == "true" for key in DEFAULT_CLASS)


def class_of(view: ClusterView, claim: K8sObject) -> K8sObject | None:
    """The StorageClass a claim uses, the default one where it names none."""
    name = class_name(claim)
    if name is None:
        return next((c for c in view.of_kind("StorageClass") if is_default(c)), None)
    return view.get("StorageClass", "", name) if name else None


def requested(claim: K8sObject) -> str:
    return text(claim.spec, "resources", "requests", "storage")


def volumes_of_class(view: ClusterView, name: str) -> list[K8sObject]:
    """The volumes of a class ("" for those of none)."""
    return [v for v in view.of_kind("PersistentVolume") if text(v.spec, "storageClassName") == name]


def misfits(claim: K8sObject, volume: K8sObject) -> Iterator[tuple[str, str]]:
    """(aspect, what is there and what is wanted) for each reason why a volume cannot serve a claim."""
    wanted, offered = strings(claim.spec, "accessModes"), strings(volume.spec, "accessModes")
    if not set(wanted) <= set(offered):
        yield "access-mode", f"offers {', '.join(offered) or 'no access mode'}, the claim wants {', '.join(wanted)}"
    size, room = quantity(claim.spec, "resources", "requests", "storage"), quantity(volume.spec, "capacity", "storage")
    if size is not None and room is not None and room < size:
        yield "capacity", f"has {text(volume.spec, 'capacity', 'storage')}, the claim wants {requested(claim)}"
    selector = label_selector(mapping(claim.spec, "selector"))
    if not selector.matches(volume.labels):
        labels = ",".join(f"{k}={v}" for k, v in volume.labels.items()) or "no labels"
        yield "selector", f"has {labels}, the claim selects {selector}"
    mode, offered_mode = (text(o.spec, "volumeMode") or "Filesystem" for o in (claim, volume))
    if mode != offered_mode:
        yield "volume-mode", f"is {offered_mode}, the claim wants {mode}"
    holder = mapping(volume.spec, "claimRef")
    held_by = f"{text(holder, 'namespace')}/{text(holder, 'name')}"
    if holder and held_by != f"{claim.namespace}/{claim.name}":
        yield "taken", f"belongs to claim {held_by} (phase {text(volume.status, 'phase') or 'unknown'})"


def users_of(view: ClusterView, claim: K8sObject) -> tuple[list[K8sObject], list[K8sObject]]:
    """(living pods that use a claim, the workloads at the top of them or that name it in their template)."""
    pods: list[K8sObject] = []
    tops: dict[ObjectRef, K8sObject] = {}
    for obj, _ in view.referrers(claim.ref):
        if obj.kind == "Pod":
            if not is_over(obj):
                pods.append(obj)
                tops[view.top_owner(obj).ref] = view.top_owner(obj)
        elif obj.kind in ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"):
            top = view.top_owner(obj)
            tops[top.ref] = top
    if not tops:  # a claim of a StatefulSet bears its name: <template>-<set>-<ordinal>
        for workload in view.in_namespace("StatefulSet", claim.namespace):
            templates = workload.spec.get("volumeClaimTemplates")
            names = [text(t, "metadata", "name") for t in templates] if isinstance(templates, list) else []
            if any(claim.name.startswith(f"{n}-{workload.name}-") for n in names if n):
                tops[workload.ref] = workload
    return pods, [t for t in tops.values() if t.kind != "Pod"] or list(tops.values())


def claim_refs(view: ClusterView, claim: K8sObject) -> list[ObjectRef]:
    """The workloads and pods that wait for a claim, at most 20."""
    pods, tops = users_of(view, claim)
    return list(dict.fromkeys([*(t.ref for t in tops), *(p.ref for p in pods)]))[:20]


def claim_events(view: ClusterView, claim: K8sObject, *reasons: str) -> list[EventRecord]:
    """The current events of a claim with one of these reasons, the newest first."""
    return list(events_of(view, claim.ref, *reasons))


def who_waits(view: ClusterView, claim: K8sObject) -> str:
    """`StatefulSet finder` or `` when nobody is seen to use the claim."""
    _, tops = users_of(view, claim)
    return ", ".join(f"{t.kind} {t.name}" for t in tops[:2])


def node_terms(volume: K8sObject) -> str:
    """Where a volume can be reached: its node affinity in a line, "" when everywhere."""
    shown = []
    terms = mapping(volume.spec, "nodeAffinity", "required").get("nodeSelectorTerms")
    for term in terms if isinstance(terms, list) else []:
        for expression in mapping(term).get("matchExpressions") or []:
            values = ",".join(strings(expression, "values"))
            shown.append(f"{text(expression, 'key')} {text(expression, 'operator')} ({values})")
    return "; ".join(shown)


def labels_of(obj: K8sObject, *path: str) -> str:
    return ",".join(f"{k}={v}" for k, v in string_map(obj.raw, *path).items())
