"""Prints how long a live list of 10,000 pods over HTTP takes, and by how much the reading process grows.

    python tests/benchmarks/bench_live_list.py [--pods 10000]

The server is our own snapshot server in a process of its own. The pods are the size of real ones (5 kB each, and 3 kB
of managedFields that are dropped). Memory is the peak of the resident set over what it was after a first, tiny request,
measured in a fresh process for each repetition; the time is that of `list_objects` alone. Goal: 2 s and 300 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from agents.cluster.reader import ResourceType  # noqa: E402 - after the path is set: benchmarks are run as scripts
from agents.cluster.serve import build_app  # noqa: E402
from agents.cluster.snapshot import Snapshot  # noqa: E402
from tests.support.snapshots import ServedApp, live_reader  # noqa: E402

PODS = ResourceType("", "v1", "Pod", "pods", namespaced=True)
GOAL_S, GOAL_MB, REPETITIONS = 2.0, 300.0, 3


def pod(number: int) -> dict[str, Any]:
    """One running pod with the fields that a real one has."""
    name = f"service-{number % 400}-6d5f7c9b8-{number:05d}"
    labels = {"app.kubernetes.io/name": f"service-{number % 400}", "pod-template-hash": "6d5f7c9b8", "tier": "backend"}
    probe = {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1}
    container = {
        "name": "app",
        "image": f"registry.example/team-{number % 30}/service:{number % 50}.2.1",
        "env": [{"name": f"SETTING_{i}", "value": f"value-{i}-of-{number}"} for i in range(12)],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "livenessProbe": probe,
        "readinessProbe": probe,
        "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
        "volumeMounts": [{"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
    }
    fields: dict[str, Any] = {f"f:setting-{i}": {".": {}, "f:name": {}, "f:value": {}} for i in range(50)}
    when = "2026-05-04T11:00:00Z"
    conditions = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": f"team-{number % 30}",
            "uid": f"00000000-0000-4000-8000-{number:012d}",
            "resourceVersion": str(10_000 + number),
            "creationTimestamp": when,
            "labels": labels,
            "annotations": {"checksum/config": f"{number:064x}", "prometheus.io/scrape": "true"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name[:-6], "uid": "u", "controller": True}
            ],
            "managedFields": [{"manager": "kubelet", "operation": "Update", "time": when, "fieldsV1": fields}],
        },
        "spec": {
            "containers": [container, {**container, "name": "proxy"}],
            "nodeName": f"node-{number % 200}",
            "serviceAccountName": "default",
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
            "volumes": [{"name": "kube-api-access", "projected": {"sources": [{"configMap": {"name": "ca"}}]}}],
        },
        "status": {
            "phase": "Running",
            "podIP": f"10.{number % 200}.{number // 200}.7",
            "conditions": [{"type": c, "status": "True", "lastTransitionTime": when} for c in conditions],
            "containerStatuses": [
                {
                    "name": c,
                    "ready": True,
                    "restartCount": 0,
                    "containerID": f"containerd://{number:064x}",
                    "imageID": f"registry.example/service@sha256:{number % 50:064x}",
                    "state": {"running": {"startedAt": when}},
                }
                for c in ("app", "proxy")
            ],
        },
    }


def serve(count: int) -> None:
    """Serves pods until its standard input is closed; prints the URL first."""
    pods: list[Any] = [pod(number) for number in range(count)]
    snapshot = Snapshot(Path("synthetic"), objects=pods, captured_at=datetime(2026, 5, 4, 12, tzinfo=UTC))
    with ServedApp(asyncio.run(build_app(snapshot))) as server:
        print(json.dumps({"url": server.url, "bytes": sum(len(json.dumps(p)) for p in pods[:50]) // 50}), flush=True)
        sys.stdin.read()


def resident_mb() -> float:
    """The resident set now, or its peak where the system does not tell the present one (macOS, in bytes there)."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 1e6
    return peak_mb()


def peak_mb() -> float:
    """The largest resident set so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


async def read(url: str) -> None:
    """Lists all pods once and prints the measurement as JSON."""
    reader = live_reader(url)
    await reader.list_objects(PODS, "no-such-namespace")
    before = resident_mb()
    started = time.perf_counter()
    listing = await reader.list_objects(PODS)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "mb": peak_mb() - before, "pods": len(listing.items)}))
    await reader.aclose()


def main() -> int:
    """Runs server and readers; the exit code says whether the goal was met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--read", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.pods)
        return 0
    if options.read:
        asyncio.run(read(options.read))
        return 0
    itself = [sys.executable, __file__, "--pods", str(options.pods)]
    with subprocess.Popen([*itself, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        about = json.loads(server.stdout.readline())
        runs = []
        for _ in range(REPETITIONS):
            done = subprocess.run([*itself, "--read", about["url"]], capture_output=True, text=True, check=True)
            runs.append(json.loads(done.stdout))
        server.communicate("")
    seconds, growth = sorted(r["seconds"] for r in runs)[len(runs) // 2], max(r["mb"] for r in runs)
    complete = all(r["pods"] == options.pods for r in runs)
    print(f"live list of {options.pods:,} pods ({about['bytes'] / 1000:.1f} kB each): {seconds:.2f} s, {growth:.0f} MB")
    return 0 if complete and seconds <= GOAL_S and growth <= GOAL_MB else 1


if __name__ == "__main__":
    sys.exit(main())
