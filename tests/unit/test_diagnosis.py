"""Linking: which findings are causes, what they explain, and in which order they are told."""

from __future__ import annotations

import random

from agents.analyzers.base import Code, Role, finding, seen_field
from agents.cluster.objects import K8sObject
from agents.cluster.view import ClusterView
from agents.diagnosis import Attention, diagnose
from agents.evidence import Diagnosis, Domain, Finding, ObjectRef, Severity
from tests.support.views import view_of

CAUSE = Code("broken-part", Domain.STORAGE, Severity.ERROR, Role.CAUSE, "A part is broken", "Mend {name}.")
OTHER_CAUSE = Code("other-fault", Domain.DEPLOYMENT, Severity.ERROR, Role.CAUSE, "Another fault", "Mend {name}.")
WEAK_CAUSE = Code("weak-cause", Domain.NETWORKING, Severity.WARNING, Role.CAUSE, "A doubtful part", "Look at {name}.")
SYMPTOM = Code("does-not-work", Domain.TROUBLESHOOTING, Severity.ERROR, Role.SYMPTOM, "It does not work", "Look.")
SURFACE = Code("rollout-stuck", Domain.DEPLOYMENT, Severity.ERROR, Role.SYMPTOM, "The rollout is stuck", "Wait.")
CRASH = Code("crash-loop", Domain.TROUBLESHOOTING, Severity.ERROR, Role.SYMPTOM, "It crashes", "Look.")
EMPTY = Code(
    "service-without-ready-endpoints", Domain.NETWORKING, Severity.CRITICAL, Role.SYMPTOM, "No endpoint", "Look."
)
RISK = Code("risky", Domain.SECURITY, Severity.WARNING, Role.RISK, "A risk", "Harden {name}.")
CODES = {c.name: c for c in (CAUSE, OTHER_CAUSE, WEAK_CAUSE, SYMPTOM, SURFACE, CRASH, EMPTY, RISK)}

CLUSTER = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, uid: d1}
spec: {replicas: 1, template: {spec: {volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]}}}
status: {readyReplicas: 0}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  {name: web-1, namespace: shop, uid: r1, ownerReferences: [{kind: Deployment, name: web, uid: d1, controller: true}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: web-1-a
  namespace: shop
  labels: {app: web}
  ownerReferences: [{kind: ReplicaSet, name: web-1, uid: r1, controller: true}]
spec: {nodeName: n1, volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: shop}
spec: {storageClassName: fast}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec: {replicas: 2}
status: {readyReplicas: 2}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: far, namespace: elsewhere}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: budget, namespace: shop}
spec: {hard: {pods: "2"}}
"""


def _view() -> ClusterView:
    return view_of(CLUSTER)


def _found(code: Code, kind: str, namespace: str, name: str, *related: ObjectRef) -> Finding:
    obj = K8sObject({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}})
    return finding(code, obj, f"{code.name} on {name}", [seen_field(obj, "spec", code.name)], related=related)


def _diagnosis(*findings: Finding, attention: Attention | None = None) -> Diagnosis:
    return diagnose(_view(), findings, CODES, attention=attention)


def _roots(diagnosis: Diagnosis) -> list[str]:
    return [f"{c.code} {c.object.name}" for c in diagnosis.root_causes]


def _explained(diagnosis: Diagnosis) -> dict[str, set[str]]:
    names = {f.id: f"{f.code} {f.object.name}" for f in diagnosis.findings}
    return {c.code: {names[e.finding] for e in c.explains} for c in diagnosis.root_causes}


def test_a_symptom_is_explained_by_the_cause_on_what_its_object_needs() -> None:
    diagnosis = _diagnosis(
        _found(SYMPTOM, "Service", "shop", "web"), _found(CAUSE, "PersistentVolumeClaim", "shop", "data")
    )
    assert _roots(diagnosis) == ["broken-part data"]
    (explained,) = diagnosis.root_causes[0].explains
    assert explained.object.kind == "Service"
    assert "mounts PersistentVolumeClaim shop/data" in explained.how


def test_a_cause_two_steps_away_on_a_cluster_scoped_object_is_found() -> None:
    diagnosis = _diagnosis(_found(SURFACE, "Deployment", "shop", "web"), _found(CAUSE, "StorageClass", "", "fast"))
    assert _explained(diagnosis) == {"broken-part": {"rollout-stuck web"}}


def test_two_independent_faults_stay_two() -> None:
    diagnosis = _diagnosis(
        _found(SURFACE, "Deployment", "shop", "web"),
        _found(CAUSE, "PersistentVolumeClaim", "shop", "data"),
        _found(OTHER_CAUSE, "Deployment", "shop", "api"),
    )
    assert set(_roots(diagnosis)) == {"broken-part data", "other-fault api"}
    assert _explained(diagnosis)["other-fault"] == set()


def test_the_nearer_of_two_causes_explains() -> None:
    diagnosis = _diagnosis(
        _found(SURFACE, "Deployment", "shop", "web"),
        _found(OTHER_CAUSE, "Deployment", "shop", "web"),
        _found(CAUSE, "Node", "", "n1"),
    )
    assert _explained(diagnosis) == {"other-fault": {"rollout-stuck web"}, "broken-part": set()}


def test_a_symptom_that_no_cause_explains_is_what_is_known() -> None:
    assert _roots(_diagnosis(_found(SYMPTOM, "Deployment", "shop", "web"))) == ["does-not-work web"]


def test_a_superficial_symptom_gives_way_to_a_telling_one_on_the_same_object() -> None:
    diagnosis = _diagnosis(_found(SURFACE, "Deployment", "shop", "web"), _found(SYMPTOM, "Deployment", "shop", "web"))
    assert _roots(diagnosis) == ["does-not-work web"]


def test_a_warning_becomes_a_root_cause_only_by_what_it_stands_on() -> None:
    near = _diagnosis(_found(SYMPTOM, "Deployment", "shop", "web"), _found(WEAK_CAUSE, "Deployment", "shop", "web"))
    assert _roots(near) == ["weak-cause web"]
    assert near.root_causes[0].severity is Severity.ERROR
    far = _diagnosis(_found(SYMPTOM, "Deployment", "shop", "web"), _found(WEAK_CAUSE, "StorageClass", "", "fast"))
    assert _roots(far) == ["does-not-work web"]


def test_what_a_cause_names_as_hurt_is_explained_by_it() -> None:
    web = ObjectRef("apps/v1", "Deployment", "shop", "web")
    diagnosis = _diagnosis(
        _found(SURFACE, "Deployment", "shop", "web"), _found(CAUSE, "Deployment", "elsewhere", "far", web)
    )
    assert _explained(diagnosis) == {"broken-part": {"rollout-stuck web"}}


def test_a_risk_explains_nothing_and_is_told_only_where_nothing_is_broken() -> None:
    broken = _diagnosis(_found(RISK, "Deployment", "shop", "web"), _found(SURFACE, "Deployment", "shop", "web"))
    assert _roots(broken) == ["rollout-stuck web"]
    whole = _diagnosis(_found(RISK, "Deployment", "shop", "web"))
    assert _roots(whole) == ["risky web"]
    assert not whole.root_causes[0].severity.is_fault


def test_what_was_asked_about_comes_first_and_a_worse_fault_elsewhere_after_it() -> None:
    elsewhere = _found(CAUSE, "Deployment", "elsewhere", "far").model_copy(update={"severity": Severity.CRITICAL})
    diagnosis = _diagnosis(
        elsewhere, _found(OTHER_CAUSE, "Deployment", "shop", "api"), attention=Attention(frozenset({"shop"}))
    )
    assert _roots(diagnosis) == ["other-fault api", "broken-part far"]


def test_a_cause_outside_the_focus_that_explains_what_is_inside_is_not_elsewhere() -> None:
    diagnosis = _diagnosis(
        _found(SURFACE, "Deployment", "shop", "web"),
        _found(CAUSE, "Node", "", "n1"),
        attention=Attention(frozenset({"shop"})),
    )
    assert _roots(diagnosis) == ["broken-part n1"]


def test_beside_what_was_asked_about_by_name_its_namespace_is_elsewhere() -> None:
    web = ObjectRef("apps/v1", "Deployment", "shop", "web")
    diagnosis = _diagnosis(
        _found(SURFACE, "Deployment", "shop", "web"),
        _found(CAUSE, "PersistentVolumeClaim", "shop", "data"),
        _found(OTHER_CAUSE, "Deployment", "shop", "api"),
        attention=Attention(frozenset({"shop"}), (web,)),
    )
    assert [(c.object.name, c.in_focus) for c in diagnosis.root_causes] == [("data", True), ("api", False)]


def test_risks_elsewhere_are_not_told() -> None:
    diagnosis = _diagnosis(_found(RISK, "Deployment", "elsewhere", "far"), attention=Attention(frozenset({"shop"})))
    assert _roots(diagnosis) == []


def test_healthy_workloads_are_named_and_broken_ones_are_not() -> None:
    diagnosis = _diagnosis(_found(SURFACE, "Deployment", "shop", "web"))
    assert [h.object.name for h in diagnosis.healthy] == ["api"]


def test_the_same_findings_in_any_order_give_the_same_diagnosis() -> None:
    findings = [
        _found(SURFACE, "Deployment", "shop", "web"),
        _found(CAUSE, "PersistentVolumeClaim", "shop", "data"),
        _found(OTHER_CAUSE, "Deployment", "shop", "api"),
        _found(RISK, "Deployment", "shop", "api"),
        _found(SYMPTOM, "Service", "shop", "web"),
    ]
    expected = _diagnosis(*findings)
    for seed in range(10):
        shuffled = findings[:]
        random.Random(seed).shuffle(shuffled)
        assert _diagnosis(*shuffled) == expected


def test_evidence_is_numbered_once_in_reading_order() -> None:
    same = _found(CAUSE, "PersistentVolumeClaim", "shop", "data")
    diagnosis = _diagnosis(_found(SURFACE, "Deployment", "shop", "web"), same)
    assert [e.id for e in diagnosis.root_causes[0].evidence] == ["E1", "E2"]
    assert [e.id for e in diagnosis.all_evidence()] == ["E1", "E2"]
    own = next(f for f in diagnosis.findings if f.code == "broken-part")
    assert own.evidence[0].id == "E1"


def test_symptoms_that_explain_only_each_other_leave_the_deepest_as_the_root() -> None:
    pod = ObjectRef("v1", "Pod", "shop", "web-1-a")
    diagnosis = _diagnosis(
        _found(EMPTY, "Service", "shop", "web", pod),
        _found(SURFACE, "Deployment", "shop", "web", pod),
        _found(CRASH, "Deployment", "shop", "web", pod),
    )
    assert _roots(diagnosis) == ["crash-loop web"]
    assert _explained(diagnosis)["crash-loop"] == {"service-without-ready-endpoints web", "rollout-stuck web"}


def test_a_warning_that_explains_nothing_is_told_only_where_nothing_is_broken() -> None:
    warning = _found(WEAK_CAUSE, "Deployment", "shop", "api")
    assert _roots(_diagnosis(warning)) == ["weak-cause api"]
    assert _roots(_diagnosis(warning, _found(CAUSE, "Deployment", "shop", "web"))) == ["broken-part web"]


def test_who_merely_names_a_node_explains_nothing_on_it() -> None:
    node = ObjectRef("v1", "Node", "", "n1")
    stuck = _found(SURFACE, "Deployment", "shop", "web")
    unplaced = _diagnosis(stuck, _found(CAUSE, "Deployment", "shop", "api", node))
    assert set(_roots(unplaced)) == {"broken-part api", "rollout-stuck web"}
    agent = _diagnosis(stuck, _found(CAUSE, "DaemonSet", "kube-system", "kube-proxy", node))
    assert _explained(agent) == {"broken-part": {"rollout-stuck web"}}


def test_a_quota_explains_those_it_holds_back_and_nobody_else_in_its_namespace() -> None:
    api = ObjectRef("apps/v1", "Deployment", "shop", "api")
    diagnosis = _diagnosis(
        _found(SURFACE, "Deployment", "shop", "web"),
        _found(SURFACE, "Deployment", "shop", "api"),
        _found(CAUSE, "ResourceQuota", "shop", "budget", api),
    )
    assert _explained(diagnosis) == {"broken-part": {"rollout-stuck api"}, "rollout-stuck": set()}
    quota = ObjectRef("v1", "ResourceQuota", "shop", "budget")
    named = _diagnosis(_found(SURFACE, "Deployment", "shop", "web"), _found(CAUSE, "Deployment", "shop", "api", quota))
    assert set(_roots(named)) == {"broken-part api", "rollout-stuck web"}


def test_a_workload_that_lost_some_pods_to_a_fault_elsewhere_is_warned_of_only() -> None:
    api = ObjectRef("apps/v1", "Deployment", "shop", "api")  # 2 of 2 ready in the cluster of these tests
    cause, symptom = _found(CAUSE, "Node", "", "n1", api), _found(SURFACE, "Deployment", "shop", "api")
    severities = {f.code: f.severity for f in _diagnosis(cause, symptom).findings}
    assert severities == {"broken-part": Severity.ERROR, "rollout-stuck": Severity.WARNING}
    assert _diagnosis(symptom).findings[0].severity is Severity.ERROR  # nothing else explains it: this is the news
