"""What a pod may do to its node: privileges, host namespaces, host files, capabilities, relaxed confinement.

One finding per workload and code, on the workload's template. Node agents that are known to need these rights
(kube-proxy, CNI, CSI, exporters) are an info outside kube-system and nothing in it. Nothing here is broken now: every
code is a risk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.analyzers.base import Analyzer, Code, Role, finding, seen_field
from agents.analyzers.ownership import deployed_workloads, is_node_agent, manual_change_note
from agents.cluster.objects import (
    K8sObject,
    containers,
    flag,
    integer,
    mapping,
    mappings,
    pod_spec,
    pod_spec_path,
    pod_template,
    string_map,
    strings,
    text,
)
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, Severity

_D, _W, _I, _R = Domain.SECURITY, Severity.WARNING, Severity.INFO, Role.RISK
_EDIT = "`kubectl -n {ns} edit {kind} {name}`{gitops}"

PRIVILEGED = Code(
    "privileged-container", _D, _W, _R, "A container runs privileged: it is root on its node",
    "Take `privileged: true` out of the securityContext of {container}; add the one capability it needs instead, or a "
    "device plugin for a device:\n" + _EDIT, 0.97,
)  # fmt: skip
RUNTIME_SOCKET = Code(
    "container-runtime-socket-mounted", _D, _W, _R, "A pod mounts the container runtime's socket: it controls the node",
    "Build images without the socket (rootless BuildKit, Kaniko), then take the volume out:\n" + _EDIT, 0.96,
)  # fmt: skip
HOST_PATH = Code(
    "host-path-volume", _D, _W, _R, "A pod mounts a directory of its node (hostPath)",
    "Use a PersistentVolumeClaim, an emptyDir or a local volume instead; if it must be the node's directory, mount the "
    "narrowest path with `readOnly: true`:\n" + _EDIT, 0.95,
)  # fmt: skip
HOST_PID = Code(
    "host-process-namespace", _D, _W, _R, "A pod shares the process or IPC namespace of its node",
    "Take `hostPID` and `hostIPC` out of the pod template:\n" + _EDIT, 0.95,
)  # fmt: skip
HOST_NETWORK = Code(
    "host-network", _D, _W, _R, "A pod uses the network of its node: NetworkPolicies do not hold for it",
    "Take `hostNetwork: true` out and publish the port with a Service:\n" + _EDIT, 0.93,
)  # fmt: skip
CAPABILITIES = Code(
    "dangerous-capabilities", _D, _W, _R, "A container adds Linux capabilities that can take over the node",
    "Take {added} out of `capabilities.add` of {container}, and drop the others (`drop: [ALL]`):\n" + _EDIT, 0.93,
)  # fmt: skip
ESCALATION = Code(
    "privilege-escalation-allowed", _D, _W, _R, "A container explicitly allows its processes to gain privileges",
    "Set `allowPrivilegeEscalation: false` in the securityContext of {container}:\n" + _EDIT, 0.9,
)  # fmt: skip
RUNS_AS_ROOT = Code(
    "runs-as-root", _D, _W, _R, "A container is set to run as root (uid 0)",
    "Set `runAsNonRoot: true` and a `runAsUser` above 0 that the image supports (`fsGroup` for volumes):\n" + _EDIT,
    0.9,
)  # fmt: skip
UNCONFINED = Code(
    "confinement-switched-off", _D, _W, _R, "Seccomp, AppArmor or SELinux confinement is switched off for a container",
    "Set the profile to RuntimeDefault, or to a Localhost profile made for it:\n" + _EDIT, 0.93,
)  # fmt: skip
HOST_PORT = Code(
    "host-port", _D, _W, _R, "A container opens a port on its node",
    "Publish the port with a Service (NodePort, LoadBalancer) or an Ingress, and take `hostPort` out:\n" + _EDIT, 0.9,
)  # fmt: skip
PROC_MOUNT = Code(
    "proc-mount-unmasked", _D, _W, _R, "A container sees the unmasked /proc of the kernel",
    "Set `procMount: Default` (or take it out) in the securityContext of {container}:\n" + _EDIT, 0.93,
)  # fmt: skip
SYSCTLS = Code(
    "unsafe-sysctls", _D, _W, _R, "A pod sets kernel parameters that are not safe to share a node with",
    "Take the sysctls out of the pod's securityContext, or set them on dedicated, tainted nodes:\n" + _EDIT, 0.9,
)  # fmt: skip
NOT_HARDENED = Code(
    "container-not-hardened", _D, _I, _R, "A container leaves restrictions unset that cost nothing",
    "Add to the securityContext of each container: `runAsNonRoot: true`, `allowPrivilegeEscalation: false`,\n"
    "`capabilities: {{drop: [ALL]}}`, `seccompProfile: {{type: RuntimeDefault}}`; then test it:\n" + _EDIT, 0.85,
)  # fmt: skip

_DANGEROUS = frozenset(
    ("ALL", "BPF", "DAC_OVERRIDE", "DAC_READ_SEARCH", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD",
     "NET_ADMIN", "PERFMON", "SETFCAP", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO",
     "SYS_TIME", "SYSLOG", "NET_RAW")
)  # fmt: skip
# Pod Security Standards, baseline: the sysctls that are namespaced and harmless to neighbours.
_SAFE_SYSCTLS = frozenset(
    ("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
     "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
     "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
     "net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem")
)  # fmt: skip
_SAFE_SELINUX = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_SOCKETS = ("docker.sock", "containerd.sock", "crio.sock", "cri-dockerd.sock", "/var/run/docker", "/run/containerd")
_HARMLESS_PATHS = (
    "/etc/localtime",
    "/etc/timezone",
    "/usr/share/zoneinfo",
    "/etc/ssl",
    "/etc/pki",
    "/usr/share/ca-cert",
)


@dataclass(frozen=True, slots=True)
class _Hit:
    """One fault in a template: words for the message, evidence, whether a node agent's kind of need."""

    words: str
    evidence: Sequence[Evidence]
    container: str = ""
    severity: Severity | None = None
    facts: Mapping[str, Any] | None = None


_Check = Callable[[K8sObject], Iterator[_Hit]]


def _contexts(workload: K8sObject) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(container name, field path of its securityContext, securityContext), init containers first."""
    base = pod_spec_path(workload.kind)
    for path, container in containers(pod_spec(workload)):
        yield text(container, "name"), f"{base}.{path}.securityContext", mapping(container, "securityContext")


def _privileged(workload: K8sObject) -> Iterator[_Hit]:
    for name, path, context in _contexts(workload):
        if context.get("privileged") is True:
            words = f"container {name} runs privileged (privileged: true), so whoever gets into it is root on the node"
            yield _Hit(words, [seen_field(workload, f"{path}.privileged", value=True)], name)
        elif mapping(context, "windowsOptions").get("hostProcess") is True:
            words = f"container {name} runs as a Windows HostProcess container, with the privileged rights of the node"
            yield _Hit(words, [seen_field(workload, f"{path}.windowsOptions.hostProcess", value=True)], name)


def _host_paths(workload: K8sObject) -> Iterator[tuple[str, str, list[str], bool]]:
    """(field path of the volume, host path, `container at mount path` of each mount, whether any may write)."""
    spec, base = pod_spec(workload), pod_spec_path(workload.kind)
    mounts: dict[str, list[tuple[str, bool]]] = {}
    for _, container in containers(spec):
        for mount in mappings(container, "volumeMounts"):
            shown = f"{text(container, 'name')} at {text(mount, 'mountPath')}"
            mounts.setdefault(text(mount, "name"), []).append((shown, mount.get("readOnly") is not True))
    for index, volume in enumerate(mappings(spec, "volumes")):
        if "hostPath" in volume:
            used = mounts.get(text(volume, "name"), [])
            path = text(volume, "hostPath", "path")
            yield f"{base}.volumes[{index}].hostPath", path, [u for u, _ in used], any(w for _, w in used)


def _is_socket(path: str) -> bool:
    return any(part in path for part in _SOCKETS)


def _sockets(workload: K8sObject) -> Iterator[_Hit]:
    for field, path, mounted, _ in _host_paths(workload):
        if _is_socket(path):
            users = ", ".join(mounted) or "no container"
            words = f"it mounts the runtime's socket {path} of the node by hostPath into {users}"
            yield _Hit(words, [seen_field(workload, field, path)])


def _host_path(workload: K8sObject) -> Iterator[_Hit]:
    for field, path, mounted, writable in _host_paths(workload):
        if _is_socket(path):
            continue
        harmless = not writable and path.rstrip("/").startswith(_HARMLESS_PATHS)
        quiet = Severity.INFO if harmless or not mounted else None
        how = "read-write" if writable else "read-only"
        words = f"hostPath {path} of the node is mounted {how} into {', '.join(mounted) or 'no container'}"
        yield _Hit(words, [seen_field(workload, f"{field}.path", path)], severity=quiet)


def _host_pid(workload: K8sObject) -> Iterator[_Hit]:
    spec, base = pod_spec(workload), pod_spec_path(workload.kind)
    for field, what in (("hostPID", "sees and can signal every process"), ("hostIPC", "shares memory with processes")):
        if spec.get(field) is True:
            yield _Hit(
                f"{field}: true, so it {what} of the node", [seen_field(workload, f"{base}.{field}", value=True)]
            )


def _host_network(workload: K8sObject) -> Iterator[_Hit]:
    if pod_spec(workload).get("hostNetwork") is True:
        path = f"{pod_spec_path(workload.kind)}.hostNetwork"
        words = "hostNetwork: true, so it listens on the node's addresses and no NetworkPolicy holds for it"
        yield _Hit(words, [seen_field(workload, path, value=True)])


def _capabilities(workload: K8sObject) -> Iterator[_Hit]:
    for name, path, context in _contexts(workload):
        added = [c.upper().removeprefix("CAP_") for c in strings(context, "capabilities", "add")]
        bad = [c for c in added if c in _DANGEROUS]
        if bad:
            words = f"container {name} adds the capabilities {', '.join(bad)}"
            only_raw = Severity.INFO if bad == ["NET_RAW"] else None
            evidence = [seen_field(workload, f"{path}.capabilities.add", added)]
            yield _Hit(words, evidence, name, only_raw, {"added": ", ".join(bad)})


def _escalation(workload: K8sObject) -> Iterator[_Hit]:
    for name, path, context in _contexts(workload):
        if context.get("allowPrivilegeEscalation") is True and context.get("privileged") is not True:
            evidence = [seen_field(workload, f"{path}.allowPrivilegeEscalation", value=True)]
            yield _Hit(
                f"container {name} sets allowPrivilegeEscalation: true (setuid programs gain root)", evidence, name
            )


def _root(workload: K8sObject) -> Iterator[_Hit]:
    pod, base = mapping(pod_spec(workload), "securityContext"), pod_spec_path(workload.kind)
    for name, path, context in _contexts(workload):
        own = integer(context, "runAsUser")
        if own == 0:
            yield _Hit(
                f"container {name} has runAsUser: 0 (root)", [seen_field(workload, f"{path}.runAsUser", 0)], name
            )
        elif own is None and integer(pod, "runAsUser") == 0:
            evidence = [seen_field(workload, f"{base}.securityContext.runAsUser", 0)]
            yield _Hit("the pod has runAsUser: 0 (root)", evidence, name)
            return


def _unconfined(workload: K8sObject) -> Iterator[_Hit]:
    base = pod_spec_path(workload.kind)
    places = [("the pod", f"{base}.securityContext", mapping(pod_spec(workload), "securityContext"))]
    places += [(f"container {name}", path, context) for name, path, context in _contexts(workload)]
    for who, path, context in places:
        for field, what in (("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")):
            if text(context, field, "type") == "Unconfined":
                yield _Hit(f"{who} has {what} Unconfined", [seen_field(workload, f"{path}.{field}.type", "Unconfined")])
        selinux = mapping(context, "seLinuxOptions")
        if text(selinux, "type") not in _SAFE_SELINUX or text(selinux, "user") or text(selinux, "role"):
            shown = text(selinux, "type") or text(selinux, "user") or text(selinux, "role")
            yield _Hit(
                f"{who} sets its own SELinux label ({shown})", [seen_field(workload, f"{path}.seLinuxOptions", selinux)]
            )
    for key, value in string_map(pod_template(workload), "metadata", "annotations").items():
        if key.startswith("container.apparmor.security.beta.kubernetes.io/") and value == "unconfined":
            words = f"container {key.partition('/')[2]} has AppArmor unconfined"
            yield _Hit(words, [seen_field(workload, f"template annotation {key}", value)])


def _host_ports(workload: K8sObject) -> Iterator[_Hit]:
    if pod_spec(workload).get("hostNetwork") is True:
        return  # the API server sets hostPort itself there; the host network is what is reported
    base = pod_spec_path(workload.kind)
    for path, container in containers(pod_spec(workload)):
        for index, port in enumerate(mappings(container, "ports")):
            number = integer(port, "hostPort")
            if number:
                field = f"{base}.{path}.ports[{index}].hostPort"
                name = text(container, "name")
                yield _Hit(
                    f"container {name} opens port {number} of the node", [seen_field(workload, field, number)], name
                )


def _proc_mount(workload: K8sObject) -> Iterator[_Hit]:
    for name, path, context in _contexts(workload):
        if text(context, "procMount") == "Unmasked":
            evidence = [seen_field(workload, f"{path}.procMount", "Unmasked")]
            yield _Hit(f"container {name} has procMount: Unmasked", evidence, name)


def _sysctls(workload: K8sObject) -> Iterator[_Hit]:
    base = pod_spec_path(workload.kind)
    for index, entry in enumerate(mappings(pod_spec(workload), "securityContext", "sysctls")):
        name = text(entry, "name")
        if name and name.replace("/", ".") not in _SAFE_SYSCTLS:
            field = f"{base}.securityContext.sysctls[{index}]"
            yield _Hit(f"it sets {name}={text(entry, 'value')}", [seen_field(workload, field, name)])


def _hardening(workload: K8sObject) -> Iterator[_Hit]:
    pod = mapping(pod_spec(workload), "securityContext")
    for name, path, context in _contexts(workload):
        if context.get("privileged") is True:
            continue
        unset = []
        if flag(context, "runAsNonRoot") is not True and flag(pod, "runAsNonRoot") is not True:
            user = integer(context, "runAsUser")
            user = integer(pod, "runAsUser") if user is None else user
            unset += [] if user else ["runAsNonRoot"]
        if "allowPrivilegeEscalation" not in context:
            unset.append("allowPrivilegeEscalation: false")
        if "ALL" not in strings(context, "capabilities", "drop"):
            unset.append("capabilities.drop: [ALL]")
        if not text(context, "seccompProfile", "type") and not text(pod, "seccompProfile", "type"):
            unset.append("seccompProfile")
        if len(unset) >= 2:  # one alone is taste; two and more is a container nobody has looked at
            shown = Evidence(
                kind="absence", object=workload.ref, locator=path, excerpt=f"{path} does not set {', '.join(unset)}"
            )
            yield _Hit(f"container {name} does not set {', '.join(unset)}", [shown], name)


_CHECKS: tuple[tuple[Code, _Check], ...] = (
    (PRIVILEGED, _privileged),
    (RUNTIME_SOCKET, _sockets),
    (HOST_PATH, _host_path),
    (HOST_PID, _host_pid),
    (HOST_NETWORK, _host_network),
    (CAPABILITIES, _capabilities),
    (ESCALATION, _escalation),
    (RUNS_AS_ROOT, _root),
    (UNCONFINED, _unconfined),
    (HOST_PORT, _host_ports),
    (PROC_MOUNT, _proc_mount),
    (SYSCTLS, _sysctls),
    (NOT_HARDENED, _hardening),
)
_MAX_HITS = 4


def pod_hardening(view: ClusterView) -> Iterator[Finding]:
    """Every fault of the table above, once per workload and code."""
    for workload in deployed_workloads(view):
        if workload.namespace == "kube-system":
            continue
        agent = is_node_agent(workload)
        for code, check in _CHECKS:
            hits = list(check(workload))
            if hits and not (agent and code is NOT_HARDENED):
                yield _found(code, workload, hits, agent=agent)


def _found(code: Code, workload: K8sObject, hits: Sequence[_Hit], *, agent: bool) -> Finding:
    quiet = agent or all(h.severity is Severity.INFO for h in hits)
    loudest = next((h for h in hits if h.severity is not Severity.INFO), hits[0])
    rest = [h for h in hits if h is not loudest]
    words = "; ".join(h.words for h in (loudest, *rest[: _MAX_HITS - 1]))
    more = f"; and {len(hits) - _MAX_HITS} more" if len(hits) > _MAX_HITS else ""
    evidence = [e for h in (loudest, *rest) for e in h.evidence][:_MAX_HITS]
    together, seen = _together(code, workload)
    facts = {"container": f"container {loudest.container}" if loudest.container else "the pod", "added": ""}
    return finding(
        code,
        workload,
        f"{workload.kind} {workload.name}: {words}{more}.{together}"
        + (" It looks like a node agent, for which this can be needed." if agent else ""),
        [*evidence, *seen][:5],
        severity=Severity.INFO if quiet and code.severity is Severity.WARNING else None,
        **{**facts, **(loudest.facts or {}), "gitops": manual_change_note(workload)},
    )


def _together(code: Code, workload: K8sObject) -> tuple[str, list[Evidence]]:
    """What makes a privileged container or a host path worse: the other host rights of the same pod."""
    if code not in (PRIVILEGED, HOST_PATH, HOST_PID):
        return "", []
    worse: list[str] = []
    evidence: list[Evidence] = []
    for other, check in ((PRIVILEGED, _privileged), (HOST_PATH, _host_path), (HOST_PID, _host_pid)):
        if other is code:
            continue
        for hit in list(check(workload))[:1]:
            worse.append(hit.words)
            evidence.extend(hit.evidence)
    return (f" The same pod: {'; '.join(worse)}." if worse else ""), evidence


ANALYZERS: tuple[Analyzer, ...] = (pod_hardening,)
CODES: tuple[Code, ...] = tuple(code for code, _ in _CHECKS)
