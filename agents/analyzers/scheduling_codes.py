"""The codes of pods that find no node."""

from __future__ import annotations

from agents.analyzers.base import Code, Role
from agents.evidence import Domain, Severity

_D, _E, _C, _S = Domain.DEPLOYMENT, Severity.ERROR, Role.CAUSE, Role.SYMPTOM
_EDIT = "`kubectl -n {ns} edit {kind} {name}`"
_ROOM = "See what nodes have left: `kubectl describe nodes | grep -A 8 'Allocated resources'`"

INSUFFICIENT_CPU = Code(
    "insufficient-cpu", _D, _E, _C, "No node has enough CPU left for the pod's request",
    _ROOM + "\nLower the request to what it uses: `kubectl -n {ns} set resources {kind}/{name} --requests=cpu=SIZE`, "
    "or add a node.", 0.95,
)  # fmt: skip
INSUFFICIENT_MEMORY = Code(
    "insufficient-memory", _D, _E, _C, "No node has enough memory left for the pod's request",
    _ROOM + "\nLower the request to what it uses: `kubectl -n {ns} set resources {kind}/{name} "
    "--requests=memory=SIZE`, or add a node.", 0.95,
)  # fmt: skip
INSUFFICIENT_OTHER = Code(
    "insufficient-resource", _D, _E, _C, "No node offers enough of a resource that the pod requests",
    "See who offers {resource}: `kubectl get nodes -o custom-columns=NAME:.metadata.name,HAS:.status.allocatable`\n"
    "Check its device plugin, or correct the request: " + _EDIT, 0.93,
)  # fmt: skip
SELECTOR = Code(
    "node-selector-matches-no-node", _D, _E, _C, "No node has the labels that the pod asks for",
    "See the nodes' labels: `kubectl get nodes --show-labels`\nCorrect `nodeSelector` or the node affinity: " + _EDIT
    + "\nor label a node: `kubectl label node {node} {label}`", 0.95,
)  # fmt: skip
TAINTS = Code(
    "taint-not-tolerated", _D, _E, _C, "The nodes that fit have a taint that the pod does not tolerate",
    "See the taints: `kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints`\nAdd a toleration "
    "for {taint}: " + _EDIT + "\nor, where it is not meant to be: `kubectl taint node {node} {taint}-`", 0.93,
)  # fmt: skip
CORDONED = Code(
    "nodes-cordoned", _D, _E, _C, "The nodes that the pod may run on are cordoned",
    "See why first (maintenance?), then: `kubectl uncordon {node}`", 0.92,
)  # fmt: skip
AFFINITY = Code(
    "pod-affinity-unsatisfied", _D, _E, _C, "The pod must be near pods that are nowhere",
    "See which pods its rule selects: `kubectl -n {ns} get pods -l {selector} -o wide`\nCorrect the podAffinity: "
    + _EDIT, 0.92,
)  # fmt: skip
ANTI_AFFINITY = Code(
    "pod-anti-affinity-unsatisfied", _D, _E, _C, "The pod must be apart from pods that are on every fitting node",
    "Use fewer replicas or more nodes; or make the rule `preferredDuringSchedulingIgnoredDuringExecution`: " + _EDIT,
    0.93,
)  # fmt: skip
SPREAD = Code(
    "topology-spread-unsatisfied", _D, _E, _C, "The pod's topology spread cannot be kept",
    "Correct `topologySpreadConstraints` (its topologyKey must be a label of the nodes), or use `whenUnsatisfiable: "
    "ScheduleAnyway`: " + _EDIT, 0.92,
)  # fmt: skip
HOST_PORT = Code(
    "host-port-conflict", _D, _E, _C, "The pod's host port is taken on every fitting node",
    "See who has it: `kubectl get pods -A -o wide | grep {node}`\nDo without `hostPort` (a Service instead), or use "
    "fewer replicas than nodes: " + _EDIT, 0.94,
)  # fmt: skip
TOO_MANY_PODS = Code(
    "node-pod-limit-reached", _D, _E, _C, "The nodes run as many pods as they may",
    "Count them: `kubectl get pods -A -o wide --no-headers | awk '{{print $8}}' | sort | uniq -c`\nAdd a node, remove "
    "finished pods, or raise the kubelet's maxPods.", 0.94,
)  # fmt: skip
VOLUME_COUNT = Code(
    "node-volume-limit-reached", Domain.STORAGE, _E, _C, "The nodes have as many volumes attached as they may",
    "See the attachments: `kubectl get volumeattachments`\nAdd a node, or spread the pods with volumes.", 0.92,
)  # fmt: skip
CLAIM = Code(
    "pod-waits-for-claim", Domain.STORAGE, _E, _S, "The pod waits for a claim that is not bound",
    "See why the claim is not bound: `kubectl -n {ns} describe pvc {claim}`", 0.9,
)  # fmt: skip
GATED = Code(
    "scheduling-gated", _D, Severity.WARNING, _C, "The pod has a scheduling gate that nobody has removed",
    "See who owns the gate (a queue such as Kueue, an operator): `kubectl -n {ns} get pod {pod} -o "
    "jsonpath='{{.spec.schedulingGates}}'`", 0.85,
)  # fmt: skip
NO_SCHEDULER = Code(
    "pod-not-seen-by-scheduler", _D, _E, _C, "No scheduler looks at the pod",
    "Check the scheduler: `kubectl -n kube-system get pods -l component=kube-scheduler`\nand the pod's "
    "`spec.schedulerName`: " + _EDIT, 0.85,
)  # fmt: skip
UNSCHEDULABLE = Code(
    "pod-unschedulable", _D, _E, _S, "The scheduler finds no node for the pod",
    "Read the scheduler's words: `kubectl -n {ns} describe pod {pod}`", 0.75,
)  # fmt: skip

SCHEDULING_CODES: tuple[Code, ...] = (
    INSUFFICIENT_CPU, INSUFFICIENT_MEMORY, INSUFFICIENT_OTHER, SELECTOR, TAINTS, CORDONED, AFFINITY, ANTI_AFFINITY,
    SPREAD, HOST_PORT, TOO_MANY_PODS, VOLUME_COUNT, CLAIM, GATED, NO_SCHEDULER, UNSCHEDULABLE,
)  # fmt: skip
