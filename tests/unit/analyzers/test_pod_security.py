"""What pods may do to their node: one finding per workload and code, none for the node's own agents."""

from __future__ import annotations

import pytest

from agents.analyzers.pod_security import pod_hardening
from tests.support.views import codes_of, view_of

HARD = (
    "securityContext: {runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, "
    "seccompProfile: {type: RuntimeDefault}}"
)


def workload(
    pod: str = "", container: str = HARD, *, kind: str = "Deployment", ns: str = "shop", name: str = "web"
) -> str:
    return f"""
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, namespace: {ns}}}
spec:
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      {pod}
      containers:
      - name: app
        image: shop/web:1
        {container}
"""


def hard_with(extra: str) -> str:
    return HARD.replace("{runAsNonRoot", "{" + extra + ", runAsNonRoot")


@pytest.mark.parametrize(
    ("pod", "container", "code"),
    [
        ("", "securityContext: {privileged: true}", "privileged-container"),
        ("hostPID: true", HARD, "host-process-namespace"),
        ("hostIPC: true", HARD, "host-process-namespace"),
        ("hostNetwork: true", HARD, "host-network"),
        ("", HARD.replace("drop: [ALL]", "drop: [ALL], add: [SYS_ADMIN]"), "dangerous-capabilities"),
        (
            "",
            HARD.replace("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),
            "privilege-escalation-allowed",
        ),
        ("", hard_with("runAsUser: 0"), "runs-as-root"),
        ("", HARD.replace("RuntimeDefault", "Unconfined"), "confinement-switched-off"),
        ("", f"{HARD}\n        ports: [{{containerPort: 80, hostPort: 80}}]", "host-port"),
        ("", hard_with("procMount: Unmasked"), "proc-mount-unmasked"),
        ("securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}", HARD, "unsafe-sysctls"),
        ("volumes: [{name: d, hostPath: {path: /var/run/docker.sock}}]", HARD, "container-runtime-socket-mounted"),
    ],
)
def test_each_right_over_the_node_is_its_own_warning(pod: str, container: str, code: str) -> None:
    (found,) = pod_hardening(view_of(workload(pod, container)))
    assert (found.code, found.severity, str(found.object)) == (code, "warning", "Deployment shop/web")


@pytest.mark.parametrize(
    ("pod", "container"),
    [
        ("", HARD),
        ("securityContext: {sysctls: [{name: net.ipv4.tcp_syncookies, value: '1'}]}", HARD),
        ("", HARD.replace("drop: [ALL]", "drop: [ALL], add: [NET_BIND_SERVICE]")),
        ("volumes: [{name: d, emptyDir: {}}]", HARD),
    ],
)
def test_a_hardened_workload_is_silent(pod: str, container: str) -> None:
    assert codes_of(pod_hardening, view_of(workload(pod, container))) == []


HOST = "volumes: [{name: host, hostPath: {path: /}}]"
MOUNT = "\n        volumeMounts: [{name: host, mountPath: /host}]"


def test_a_privileged_container_with_a_host_path_says_both_words_in_both_findings() -> None:
    found = list(pod_hardening(view_of(workload(HOST, "securityContext: {privileged: true}" + MOUNT))))
    assert [f.code for f in found] == ["privileged-container", "host-path-volume"]
    for finding in found:
        assert "privileged" in finding.message
        assert "hostPath / " in finding.message


def test_a_harmless_read_only_host_path_is_an_info() -> None:
    pod = "volumes: [{name: tz, hostPath: {path: /etc/localtime}}]"
    mount = HARD + "\n        volumeMounts: [{name: tz, mountPath: /etc/localtime, readOnly: true}]"
    assert [f.severity for f in pod_hardening(view_of(workload(pod, mount)))] == ["info"]


def test_node_agents_are_an_info_and_kube_system_is_silent() -> None:
    privileged = "securityContext: {privileged: true}"
    agent = workload("", privileged, kind="DaemonSet", ns="monitoring", name="node-exporter")
    proxy = workload("", privileged, kind="DaemonSet", ns="kube-system", name="kube-proxy")
    unknown = workload("", privileged, kind="DaemonSet", ns="edge", name="disk-reader")
    assert [f.severity for f in pod_hardening(view_of(agent))] == ["info"]
    assert codes_of(pod_hardening, view_of(proxy)) == []
    assert [f.severity for f in pod_hardening(view_of(unknown))] == ["warning"]


def test_a_container_that_nobody_hardened_is_one_info() -> None:
    (found,) = pod_hardening(view_of(workload("", "env: []")))
    assert (found.code, found.severity) == ("container-not-hardened", "info")


def test_what_a_workload_makes_is_not_reported_again() -> None:
    replica_set = workload("hostPID: true", HARD, kind="ReplicaSet").replace(
        "namespace: shop", "namespace: shop, ownerReferences: [{kind: Deployment, name: web, controller: true}]"
    )
    assert codes_of(pod_hardening, view_of(replica_set)) == []


def test_wrong_types_are_survived() -> None:
    odd = workload("securityContext: [1]\n      volumes: {}", "securityContext: text\n        ports: none")
    list(pod_hardening(view_of(odd)))
