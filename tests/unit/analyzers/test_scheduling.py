"""Pods without a node, told apart by the scheduler's words and by the nodes themselves."""

from __future__ import annotations

import pytest
import yaml

from agents.analyzers.fit import matches_labels, pod_requests, untolerated
from agents.analyzers.scheduling import unschedulable_pods
from agents.cluster.objects import K8sObject
from agents.evidence import Finding
from tests.support.views import codes_of, view_of
from tests.unit.analyzers.workloads import deployment, event, pod, replica_set

HEAD = "0/2 nodes are available: "


def node(name: str, labels: str = "disk: ssd", spec: str = "", cpu: str = "4") -> str:
    return f"""
    apiVersion: v1
    kind: Node
    metadata: {{name: {name}, labels: {{kubernetes.io/hostname: {name}, {labels}}}}}
    spec: {{{spec}}}
    status:
      allocatable: {{cpu: "{cpu}", memory: 8Gi, pods: "110"}}
      conditions: [{{type: Ready, status: "True"}}]
    """


def pending(spec: str, said: str = "", *nodes: str, reason: str = "Unschedulable", more: str = "") -> list[Finding]:
    body = f"nodeName: ''\ncontainers: [{{name: app, image: a, resources: {{requests: {{cpu: '2'}}}}}}]\n{spec}"
    condition = f'conditions: [{{type: PodScheduled, status: "False", reason: {reason}, message: "{said}"}}]'
    bare = "conditions: []"
    documents = [
        deployment(body),
        replica_set(body),
        pod(body, phase="Pending", status=condition if said or reason == "SchedulingGated" else bare),
        *(nodes or (node("n1"), node("n2"))),
        more,
    ]
    return list(unschedulable_pods(view_of(*documents)))


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("2 Insufficient cpu. preemption: 0/2 nodes are available: 2 No preemption victims found", "insufficient-cpu"),
        ("1 Insufficient cpu, 2 Insufficient memory.", "insufficient-memory"),
        ("2 Insufficient nvidia.com/gpu.", "insufficient-resource"),
        ("1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 1 Insufficient cpu.",
         "insufficient-cpu"),
        ("2 node(s) didn't match pod anti-affinity rules.", "pod-anti-affinity-unsatisfied"),
        ("2 node(s) didn't match pod affinity rules.", "pod-affinity-unsatisfied"),
        ("2 node(s) didn't match pod topology spread constraints.", "topology-spread-unsatisfied"),
        ("2 node(s) didn't have free ports for the requested pod ports.", "host-port-conflict"),
        ("2 Too many pods.", "node-pod-limit-reached"),
        ("2 node(s) exceed max volume count.", "node-volume-limit-reached"),
        ("2 node(s) had volume node affinity conflict.", "pod-waits-for-claim"),
        ("pod has unbound immediate PersistentVolumeClaims.", "pod-waits-for-claim"),
        ("something new.", "pod-unschedulable"),
    ],
)  # fmt: skip
def test_the_schedulers_words_decide_the_code(said: str, code: str) -> None:
    (found,) = pending("", HEAD + said)
    assert found.code == code
    assert said.split(".")[0] in found.message


def test_a_request_larger_than_every_node_can_never_fit() -> None:
    (found,) = pending("", HEAD + "2 Insufficient cpu.", node("n1", cpu="1"), node("n2", cpu="1500m"))
    assert "can never fit" in found.message
    assert "1500m" in found.message


def test_a_selector_that_no_node_matches_names_what_nodes_have() -> None:
    (found,) = pending("nodeSelector: {disk: sdd}", HEAD + "2 node(s) didn't match Pod's node affinity/selector.")
    assert found.code == "node-selector-matches-no-node"
    assert "disk=sdd" in found.message
    assert "ssd" in found.message


TAINT = "taints: [{key: team, value: ml, effect: NoSchedule}]"


def test_a_selector_that_fits_a_tainted_node_makes_the_taint_the_cause() -> None:
    said = HEAD + "1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint {team: ml}."
    (found,) = pending("nodeSelector: {disk: nvme}", said, node("n1"), node("n2", "disk: nvme", TAINT))
    assert found.code == "taint-not-tolerated"
    assert "team=ml:NoSchedule" in found.message


def test_the_one_cordoned_node_that_fits_is_what_has_to_change() -> None:
    said = HEAD + "1 node(s) didn't match Pod's node affinity/selector, 1 node(s) were unschedulable."
    cordoned = node("n2", "disk: nvme", "unschedulable: true")
    (found,) = pending("nodeSelector: {disk: nvme}", said, node("n1"), cordoned)
    assert (found.code, found.object.kind, found.object.name) == ("nodes-cordoned", "Node", "n2")


def test_the_pod_that_holds_a_host_port_is_named() -> None:
    body = "containers: [{name: app, image: a, ports: [{containerPort: 80, hostPort: 80}]}]"
    holder = pod(body, name="holder", owner="", ready=True)
    (found,) = pending(body, HEAD + "2 node(s) didn't have free ports for the requested pod ports.", more=holder)
    assert "shop/holder" in found.message


def test_a_scheduling_gate_is_named() -> None:
    (found,) = pending("schedulingGates: [{name: queue.example/hold}]", reason="SchedulingGated")
    assert found.code == "scheduling-gated"
    assert "queue.example/hold" in found.message


def test_a_pod_that_no_scheduler_looks_at_names_its_scheduler() -> None:
    (found,) = pending("schedulerName: batchd")
    assert found.code == "pod-not-seen-by-scheduler"
    assert "batchd" in found.message


def test_a_pod_that_was_made_a_moment_ago_is_left_alone() -> None:
    said = 'conditions: [{type: PodScheduled, status: "False", message: "0/2 nodes: 2 Insufficient cpu."}]'
    young = pod("nodeName: ''", phase="Pending", status=said, age_minutes=0.3)
    assert codes_of(unschedulable_pods, view_of(young)) == []


def test_a_pod_that_found_its_node_is_left_alone() -> None:
    said = event("FailedScheduling", HEAD + "2 Insufficient cpu.")
    assert codes_of(unschedulable_pods, view_of(pod("containers: []", phase="Pending"), said)) == []


def test_requests_count_sidecars_and_the_largest_init_container() -> None:
    spec = yaml.safe_load("""
    initContainers:
    - {name: mesh, restartPolicy: Always, resources: {requests: {cpu: 100m}}}
    - {name: prepare, resources: {requests: {cpu: "2"}}}
    containers:
    - {name: a, resources: {requests: {cpu: 500m, memory: 1Gi}}}
    - {name: b, resources: {limits: {cpu: 300m}}}
    """)
    requests = pod_requests(spec)
    assert requests["cpu"] == pytest.approx(2.1)
    assert requests["memory"] == 2**30


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("{key: disk, operator: In, values: [ssd]}", True),
        ("{key: disk, operator: NotIn, values: [ssd]}", False),
        ("{key: gpu, operator: DoesNotExist}", True),
        ("{key: gpu, operator: Exists}", False),
        ("{key: cores, operator: Gt, values: ['4']}", True),
        ("{key: cores, operator: Lt, values: ['4']}", False),
    ],
)
def test_node_affinity_is_judged_as_the_scheduler_does(expression: str, matches: bool) -> None:
    kind = "requiredDuringSchedulingIgnoredDuringExecution"
    spec = yaml.safe_load(
        f"affinity: {{nodeAffinity: {{{kind}: {{nodeSelectorTerms: [{{matchExpressions: [{expression}]}}]}}}}}}"
    )
    assert matches_labels(spec, K8sObject(yaml.safe_load(node("n1", "disk: ssd, cores: '8'")))) is matches


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ("{operator: Exists}", True),
        ("{key: team, operator: Exists}", True),
        ("{key: team, value: ml, effect: NoSchedule}", True),
        ("{key: team, value: web}", False),
        ("{key: team, value: ml, effect: NoExecute}", False),
    ],
)
def test_tolerations_are_judged_as_the_scheduler_does(toleration: str, tolerated: bool) -> None:
    tainted = K8sObject(yaml.safe_load(node("n1", spec=TAINT)))
    assert (untolerated(yaml.safe_load(f"tolerations: [{toleration}]"), tainted) == []) is tolerated


def test_a_taint_that_a_sick_node_carries_is_a_symptom_of_the_node() -> None:
    sick = "taints: [{key: node.kubernetes.io/disk-pressure, effect: NoSchedule}]"
    said = HEAD + "2 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }."
    (found,) = pending("", said, node("n1", spec=sick), node("n2", spec=sick))
    assert found.code == "pod-unschedulable"
    assert {r.name for r in found.related if r.kind == "Node"} == {"n1", "n2"}
    assert "node.kubernetes.io/disk-pressure:NoSchedule on 2 nodes" in found.message
    meant = "taints: [{key: dedicated, value: ml, effect: NoSchedule}]"
    (found,) = pending("", said.replace("node.kubernetes.io/disk-pressure", "dedicated"), node("n1", spec=meant))
    assert found.code == "taint-not-tolerated"
