"""A cluster in memory for generated states: what API server, scheduler, controllers and kubelet would show.

`Simulation` holds raw objects and logs. Workloads are described, `release` changes a template as a rollout would, the
verbs of `tests.support.kubelet` make pods unwell, and `settle` does what controllers do at the end: statuses,
EndpointSlices and disruption budgets follow from the pods. Nothing here knows an analyzer.
"""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Raw = dict[str, Any]
Patch = Callable[[Raw], None]

ZONES = ("a", "b", "c")
DAY = 1440.0  # ages are given in minutes


@dataclass(slots=True, eq=False)
class Workload:
    """A controller with its pod template; `broken` are the pods that carry a failing release."""

    kind: str
    ns: str
    name: str
    labels: dict[str, str]
    template: Raw
    replicas: int
    age: float
    port: int
    released: float = 0.0  # minutes since the last change of the template
    old_template: Raw | None = None  # set while a rollout is under way
    extra: Raw = field(default_factory=dict)

    @property
    def container(self) -> Raw:
        first: Raw = self.template["spec"]["containers"][0]
        return first


class Simulation:
    """Objects by (kind, namespace, name), logs by (namespace, pod, container, previous)."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.now = datetime(2026, 3 + seed % 8, 3 + seed % 20, 6 + seed % 13, 17, 30, tzinfo=UTC)
        self.objects: dict[tuple[str, str, str], Raw] = {}
        self.logs: dict[tuple[str, str, str, bool], str] = {}
        self.workloads: list[Workload] = []
        self.registry = self.rng.choice(("registry.quillon.example/apps", "ghcr.io/fernhill", "harbor.osmund.example"))
        self.events_kept = True

    def ago(self, minutes: float) -> str:
        """A time so many minutes before the record."""
        return (self.now - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def uid(self, *parts: str) -> str:
        digest = hashlib.sha256("/".join((str(self.seed), *parts)).encode()).hexdigest()
        return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"

    def add(self, api: str, kind: str, name: str, ns: str = "", *, age: float = 40 * DAY, **rest: Any) -> Raw:
        """Creates an object; `meta` goes into its metadata."""
        meta = {"name": name, "uid": self.uid(kind, ns, name), "creationTimestamp": self.ago(age)}
        meta |= {"resourceVersion": str(20000 + len(self.objects))} | ({"namespace": ns} if ns else {})
        raw = {"apiVersion": api, "kind": kind, "metadata": meta | rest.pop("meta", {}), **rest}
        self.objects[kind, ns, name] = raw
        return raw

    def get(self, kind: str, ns: str, name: str) -> Raw:
        return self.objects[kind, ns, name]

    def drop(self, kind: str, ns: str, name: str) -> None:
        self.objects.pop((kind, ns, name), None)

    def of(self, kind: str, ns: str | None = None) -> list[Raw]:
        return [o for (k, n, _), o in self.objects.items() if k == kind and ns in (None, n)]

    def owner(self, kind: str, ns: str, name: str) -> list[Raw]:
        api = {"Job": "batch/v1", "CronJob": "batch/v1", "Service": "v1", "Node": "v1"}.get(kind, "apps/v1")
        ref = {"apiVersion": api, "kind": kind, "name": name, "uid": self.uid(kind, ns, name)}
        return [ref | {"controller": True, "blockOwnerDeletion": True}]

    def event(
        self,
        about: Raw,
        reason: str,
        message: str,
        *,
        count: int = 1,
        first: float = 25,
        last: float = 2,
        by: str = "kubelet",
    ) -> None:
        """A Warning in the shape its component writes: the scheduler in the new API, the others in the old."""
        if not self.events_kept:
            return
        self._write_event(about, "Warning", (reason, message), (count, first, last), by)

    def normal(self, about: Raw, reason: str, message: str, *, at: float, by: str = "kubelet") -> None:
        if self.events_kept:
            self._write_event(about, "Normal", (reason, message), (1, at, at), by)

    def _write_event(
        self, about: Raw, kind: str, said: tuple[str, str], seen: tuple[int, float, float], by: str
    ) -> None:
        meta = about["metadata"]
        ns = meta.get("namespace", "default")
        (reason, message), (count, first, last) = said, seen
        involved = {"kind": about["kind"], "name": meta["name"], "uid": meta["uid"], "apiVersion": about["apiVersion"]}
        involved |= {"namespace": meta["namespace"]} if "namespace" in meta else {}
        name = f"{meta['name']}.{self.uid(reason, message, meta['name'])[:13].replace('-', '')}"
        body: Raw = {"involvedObject": involved, "reason": reason, "message": message, "type": kind}
        if by == "default-scheduler":
            body |= {"source": {}, "firstTimestamp": None, "lastTimestamp": None, "action": "Scheduling"}
            body |= {"eventTime": self.ago(first).replace("Z", ".104821Z"), "reportingComponent": by}
            if count > 1:
                body["series"] = {"count": count, "lastObservedTime": self.ago(last).replace("Z", ".310442Z")}
        else:
            body |= {"source": {"component": by}, "firstTimestamp": self.ago(first), "lastTimestamp": self.ago(last)}
            body |= {"count": count, "eventTime": None, "reportingComponent": by, "reportingInstance": ""}
        self.add("v1", "Event", name, ns, age=first, **body)

    # --- workloads

    def describe(self, kind: str, ns: str, name: str, **more: Any) -> Workload:
        """A workload's description with defaults as the API server fills them; `make` creates its objects."""
        style = more.pop("style", self.rng.randrange(3))
        labels = ({"app": name}, {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": ns}, {"k8s-app": name})
        own = more.pop("labels", labels[style])
        port = more.pop("port", self.rng.choice((8080, 3000, 9000)))
        container: Raw = {
            "name": self.rng.choice((name, "app", "main")),
            "image": more.pop("image", f"{self.registry}/{name}:{self.rng.randrange(1, 6)}.{self.rng.randrange(20)}.1"),
            "imagePullPolicy": "IfNotPresent",
            "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}],
            "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
            "livenessProbe": probe({"httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"}}, delay=15),
            "readinessProbe": probe({"httpGet": {"path": "/readyz", "port": "http", "scheme": "HTTP"}}, delay=3),
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        container |= more.pop("container", {})
        spec: Raw = {
            "containers": [{k: v for k, v in container.items() if v is not None}],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
            "serviceAccount": "default",
            "securityContext": {"runAsUser": 10001, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "schedulerName": "default-scheduler",
        } | more.pop("pod", {})
        age = more.pop("age", self.rng.choice((6, 20, 35)) * DAY)
        replicas = more.pop("replicas", 1 if kind == "StatefulSet" else 2)
        template = {"metadata": {"labels": dict(own)}, "spec": spec}
        return Workload(kind, ns, name, dict(own), template, replicas, age, port, released=age, extra=more)

    def workload(self, kind: str, ns: str, name: str, **more: Any) -> Workload:
        """Creates a healthy workload with pods, Service and, with several replicas, a disruption budget."""
        service = more.pop("service", True)
        work = self.describe(kind, ns, name, **more)
        self.workloads.append(work)
        for index in range(self.wanted(work)):
            self.pod(work, index, work.age)
        if service:
            self.service(work)
        if work.replicas > 1 and kind != "DaemonSet":
            spec = {"minAvailable": 1, "selector": {"matchLabels": work.labels}}
            self.add("policy/v1", "PodDisruptionBudget", name, ns, spec=spec, age=work.age)
        return work

    def service(self, work: Workload, **spec: Any) -> Raw:
        port = {"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http"}
        ip = f"10.96.{self.rng.randrange(256)}.{self.rng.randrange(2, 250)}"
        body = {
            "type": "ClusterIP",
            "selector": dict(work.labels),
            "ports": [port],
            "clusterIP": ip,
            "clusterIPs": [ip],
        }
        if work.kind == "StatefulSet":
            body |= {"clusterIP": "None", "clusterIPs": ["None"]}
        return self.add(
            "v1", "Service", work.name, work.ns, age=work.age, spec=body | spec, status={"loadBalancer": {}}
        )

    def nodes(self) -> list[str]:
        """Names of the nodes that take ordinary pods."""
        return [n["metadata"]["name"] for n in self.of("Node") if not n["spec"].get("taints")]

    def wanted(self, work: Workload) -> int:
        return len(self.nodes()) if work.kind == "DaemonSet" else work.replicas

    def hash_of(self, work: Workload, template: Raw) -> str:
        digest = hashlib.sha256(f"{self.seed}{work.name}{template}".encode()).hexdigest()
        return "".join("bcdfghjklm"[int(c, 16) % 10] if c.isalpha() else c for c in digest[:9])

    def pod(self, work: Workload, index: int, age: float, *, template: Raw | None = None) -> Raw:
        """One healthy pod of a workload, as its controller would create it."""
        template = template or work.template
        revision = self.hash_of(work, template)
        tail = self.uid(work.ns, work.name, revision, str(index))[:5]
        kind, owner, label = work.kind, work.name, {"controller-revision-hash": f"{work.name}-{revision}"}
        name = f"{work.name}-{tail}"
        if kind == "Deployment":
            kind, owner, label = "ReplicaSet", f"{work.name}-{revision}", {"pod-template-hash": revision}
            name = f"{owner}-{tail}"
        elif kind == "StatefulSet":
            name = f"{work.name}-{index}"
            label |= {"statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": str(index)}
        spec = copy.deepcopy(template["spec"])
        nodes = self.nodes()
        spec["nodeName"] = nodes[(index + len(work.name)) % len(nodes)]
        if kind == "StatefulSet":
            for claim in work.extra.get("claims", ()):
                spec.setdefault("volumes", []).append(
                    {"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}"}}
                )
        pod = self.add("v1", "Pod", name, work.ns, age=age, spec=spec)
        labels = template["metadata"]["labels"] | label
        pod["metadata"] |= {"labels": labels, "ownerReferences": self.owner(kind, work.ns, owner)}
        pod["status"] = running_status(self, pod, age)
        for container in spec["containers"]:
            text = self.chatter(work.name, age)
            self.logs[work.ns, name, container["name"], False] = text
        return pod

    def chatter(self, name: str, age: float) -> str:
        """The log of a service that does its work, now and then with a harmless complaint."""
        style = self.rng.randrange(3)
        lines = []
        for minute in sorted((self.rng.uniform(0.1, min(age, 15)) for _ in range(12)), reverse=True):
            took, when = self.rng.randrange(2, 250), self.ago(minute)
            lines.append(
                (
                    f'{when} level=info msg="request" method=GET path=/v1/items status=200 dur={took}ms',
                    f'{{"time":"{when}","level":"info","msg":"request done","ms":{took}}}',
                    f"{when}  INFO 1 --- [nio-8080-exec-5] c.a.{name.title()} : handled request in {took} ms",
                )[style]
            )
        if self.rng.random() < 0.2:
            lines.insert(5, f'{self.ago(9)} level=warn msg="slow request" path=/v1/items dur=1402ms')
        return "\n".join(lines)

    def pods(self, ns: str, name: str) -> Iterator[Raw]:
        """Pods of a workload of this simulation, the newest last."""
        work = self.find(ns, name)
        for pod in self.of("Pod", ns):
            if work.labels.items() <= pod["metadata"]["labels"].items():
                yield pod

    def find(self, ns: str, name: str) -> Workload:
        return next(w for w in self.workloads if (w.ns, w.name) == (ns, name))

    def release(self, work: Workload, patch: Patch, *, minutes: float, fresh: bool) -> list[Raw]:
        """Rolls out a changed template that will not come up: the new pods, which the caller makes unwell.

        `fresh`: it has never worked, all its pods are new. Otherwise old pods go on as the strategy lets them.
        """
        old = work.template
        work.template = copy.deepcopy(old)
        patch(work.template["spec"])
        work.released = minutes
        for pod in list(self.pods(work.ns, work.name)) if fresh else []:
            self.drop("Pod", work.ns, pod["metadata"]["name"])
        if fresh:
            work.age = minutes
            count = 1 if work.kind == "StatefulSet" else self.wanted(work)
            return [self.pod(work, index, minutes) for index in range(count)]
        work.old_template = old
        if work.kind == "Deployment":
            return [self.pod(work, 0, minutes)]
        pods = list(self.pods(work.ns, work.name))
        self.drop("Pod", work.ns, pods[-1]["metadata"]["name"])
        return [self.pod(work, len(pods) - 1, minutes)]


def probe(handler: Raw, *, delay: int = 0, period: int = 10, failures: int = 3, timeout: int = 1) -> Raw:
    """A probe with the defaults filled in."""
    times = {"initialDelaySeconds": delay, "periodSeconds": period, "timeoutSeconds": timeout}
    return handler | times | {"successThreshold": 1, "failureThreshold": failures}


def running_status(sim: Simulation, pod: Raw, age: float) -> Raw:
    """The status of a pod that runs and is ready, as kubelet writes it."""
    started = sim.ago(age - 0.1)
    uid = pod["metadata"]["uid"]
    ip = f"10.244.{int(uid[:2], 16) % 8}.{2 + int(uid[2:4], 16) % 250}"

    def container_status(container: Raw, state: Raw) -> Raw:
        image = f"{container['image'].split('@')[0]}@sha256:{(uid.replace('-', '') * 2)[:64]}"
        return {
            "name": container["name"],
            "image": container["image"],
            "imageID": image,
            "containerID": f"containerd://{(uid.replace('-', '') * 2)[:64]}",
            "ready": True,
            "started": True,
            "restartCount": 0,
            "state": state,
            "lastState": {},
        }

    done = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": started}}
    status: Raw = {
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "hostIP": "10.58.16.42",
        "startTime": sim.ago(age),
        "qosClass": "Burstable",
        "conditions": [
            {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": started}
            for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        ],
        "containerStatuses": [
            container_status(c, {"running": {"startedAt": started}}) for c in pod["spec"]["containers"]
        ],
    }
    if pod["spec"].get("initContainers"):
        status["initContainerStatuses"] = [
            container_status(c, {"running": {"startedAt": started}} if c.get("restartPolicy") == "Always" else done)
            for c in pod["spec"]["initContainers"]
        ]
    return status
