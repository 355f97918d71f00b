"""The codes of what programs say in their logs about why they do not work; the patterns are in `log_patterns`.

A cause lies in the workload itself; where the log speaks of somebody else (a host that refuses, a name that is not
known) the code is a symptom, so that what is wrong there explains it.
"""

from __future__ import annotations

from agents.analyzers.base import Code, Role
from agents.evidence import Domain, Severity

_E, _C, _S = Severity.ERROR, Role.CAUSE, Role.SYMPTOM
_T, _N = Domain.TROUBLESHOOTING, Domain.NETWORKING
_LOG = "Read the whole log: `kubectl -n {ns} logs {pod} -c {container} --previous`"
_EDIT = "`kubectl -n {ns} edit {kind} {name}`"

VOLUME_PERMISSION = Code(
    "volume-permission-denied", Domain.STORAGE, _E, _C, "The program may not write to its volume",
    "Let the volume belong to the pod's group: `kubectl -n {ns} patch {kind} {name} --type merge -p "
    "'{{\"spec\":{{\"template\":{{\"spec\":{{\"securityContext\":{{\"fsGroup\":{user}}}}}}}}}}}'`\nNFS and hostPath "
    "ignore fsGroup: change the owner on the server (`chown -R {user}:{user} DIR`), or run with the owner's uid.", 0.93,
)  # fmt: skip
FILE_PERMISSION = Code(
    "file-permission-denied", _T, _E, _C, "The program may not use a file or directory of its image",
    "See who it runs as and who owns the path: `kubectl -n {ns} debug {pod} -it --copy-to=look --container={container} "
    "-- ls -ld {path}`\nMount an emptyDir where it writes, or set `runAsUser` to the image's user: " + _EDIT, 0.85,
)  # fmt: skip
READ_ONLY = Code(
    "read-only-file-system", Domain.SECURITY, _E, _C, "The program writes to a file system that is read-only",
    "Mount an emptyDir at the directory it writes to ({path}), or make the mount writable: " + _EDIT, 0.92,
)  # fmt: skip
BIND_DENIED = Code(
    "port-bind-denied", Domain.SECURITY, _E, _C, "The program may not listen on a port below 1024",
    "Let it listen on a port above 1023 (and the Service's targetPort follow), or allow it: `capabilities: {{add: "
    "[NET_BIND_SERVICE]}}` in " + _EDIT, 0.93,
)  # fmt: skip
VARIABLE_MISSING = Code(
    "environment-variable-missing", _T, _E, _C, "The program needs an environment variable that is not set",
    "Set it: `kubectl -n {ns} set env {kind}/{name} -c {container} {variable}=VALUE` (a password from a Secret with "
    "`valueFrom.secretKeyRef`)\n" + _LOG, 0.9,
)  # fmt: skip
UNKNOWN_ARGUMENT = Code(
    "unknown-argument", _T, _E, _C, "The program is given an argument that it does not know",
    "Correct `args`/`command` of container {container}: " + _EDIT + "\nor go back: `kubectl -n {ns} rollout undo "
    "{kind}/{name}`", 0.93,
)  # fmt: skip
CONFIG_INVALID = Code(
    "config-file-invalid", _T, _E, _C, "The program cannot read its configuration",
    "Correct the configuration it reads, then restart: `kubectl -n {ns} rollout restart {kind}/{name}`\n" + _LOG, 0.88,
)  # fmt: skip
FILE_MISSING = Code(
    "file-missing", _T, _E, _C, "The program needs a file that is not there",
    "Compare the path {path} with `volumeMounts` and with the keys of what is mounted: " + _EDIT, 0.85,
)  # fmt: skip
PROGRAM_PART_MISSING = Code(
    "program-part-missing", _T, _E, _C, "The image lacks a module or library that the program needs",
    "Build the image anew with the missing part, or go back: `kubectl -n {ns} rollout undo {kind}/{name}`", 0.88,
)  # fmt: skip
DISK_FULL = Code(
    "disk-full", Domain.STORAGE, _E, _C, "The program cannot write: no space is left",
    "See how full it is: `kubectl -n {ns} exec {pod} -c {container} -- df -h`\nGrow the claim (`kubectl -n {ns} edit "
    "pvc CLAIM`, if its class allows expansion) or remove what is not needed.", 0.93,
)  # fmt: skip
PORT_IN_USE = Code(
    "port-already-in-use", _T, _E, _C, "The program cannot listen: its port is in use already",
    "Give the containers of one pod different ports; with hostNetwork, one pod per node and port: " + _EDIT, 0.9,
)  # fmt: skip
RUNTIME_MEMORY = Code(
    "runtime-out-of-memory", Domain.PERFORMANCE, _E, _C, "The language runtime runs out of memory by its own limit",
    "Raise the runtime's limit together with the container's memory limit: " + _EDIT, 0.9,
)  # fmt: skip
CREDENTIALS = Code(
    "credentials-rejected", _T, _E, _C, "The server that the program signs in to rejects its credentials",
    "Compare user and Secret with what the server was set up with (names, not values): `kubectl -n {ns} describe "
    "{kind} {name}`\nAfter mending the Secret: `kubectl -n {ns} rollout restart {kind}/{name}`", 0.88,
)  # fmt: skip
CLOUD_DENIED = Code(
    "cloud-permission-denied", Domain.SECURITY, _E, _C, "The cloud provider refuses what the program asks for",
    "Check the identity of the pod: `kubectl -n {ns} get serviceaccount {account} -o yaml` (role annotation), and the "
    "role's policy at the provider.", 0.85,
)  # fmt: skip
SCHEMA = Code(
    "database-schema-mismatch", _T, _E, _C, "The database does not have the tables or version that the program needs",
    "Run the migrations of this version (its Job or command), or go back: `kubectl -n {ns} rollout undo "
    "{kind}/{name}`\n" + _LOG, 0.85,
)  # fmt: skip
LOCK_HELD = Code(
    "lock-held", _T, _E, _C, "The program waits for a lock that somebody else holds",
    "Find who holds it (another replica, an earlier run that died); if nobody does, release it with the tool's own "
    "command.\n" + _LOG, 0.8,
)  # fmt: skip
CONNECTIONS = Code(
    "connections-exhausted", Domain.PERFORMANCE, _E, _S, "The server has no connection left for the program",
    "Count replicas × pool size against the server's limit; make the pools smaller or put a pooler between.", 0.85,
)  # fmt: skip
FILES_EXHAUSTED = Code(
    "open-files-exhausted", Domain.PERFORMANCE, _E, _C, "The program has too many open files",
    "Look for a leak, or raise the limit of the runtime on the node (LimitNOFILE) and inotify limits.", 0.8,
)  # fmt: skip
NAME_RESOLUTION = Code(
    "name-resolution-failed", _N, _E, _S, "The program cannot resolve a host name",
    "Try it: `kubectl -n {ns} run dns --rm -it --image=busybox --restart=Never -- nslookup {host}`\nCheck the name's "
    "Service and namespace: `kubectl get services -A`", 0.85,
)  # fmt: skip
CONNECTION_REFUSED = Code(
    "connection-refused", _N, _E, _S, "Nobody listens where the program connects to",
    "See whether the target has ready endpoints on that port: `kubectl get endpointslices -A`\nTry it: `kubectl -n "
    "{ns} run probe --rm -it --image=busybox --restart=Never -- nc -zv {host} {port}`", 0.85,
)  # fmt: skip
CONNECTION_TIMEOUT = Code(
    "connection-timed-out", _N, _E, _S, "The program gets no answer from where it connects to",
    "Look for a policy that drops it: `kubectl get networkpolicies -A`\nTry it: `kubectl -n {ns} run probe --rm -it "
    "--image=busybox --restart=Never -- nc -zvw 3 {host} {port}`", 0.8,
)  # fmt: skip
TLS = Code(
    "tls-failed", _N, _E, _S, "The program cannot make a TLS connection",
    "Look at the certificate that is served: `openssl s_client -connect {host}:{port} -servername {host} </dev/null`\n"
    + _LOG, 0.82,
)  # fmt: skip
APPLICATION_ERROR = Code(
    "application-error", _T, _E, _S, "The program ends with an error of its own",
    _LOG + "\nIf it came with the last release: `kubectl -n {ns} rollout undo {kind}/{name}`", 0.6,
)  # fmt: skip

LOG_CODES: tuple[Code, ...] = (
    VOLUME_PERMISSION, FILE_PERMISSION, READ_ONLY, BIND_DENIED, VARIABLE_MISSING, UNKNOWN_ARGUMENT, CONFIG_INVALID,
    FILE_MISSING, PROGRAM_PART_MISSING, DISK_FULL, PORT_IN_USE, RUNTIME_MEMORY, CREDENTIALS, CLOUD_DENIED, SCHEMA,
    LOCK_HELD, CONNECTIONS, FILES_EXHAUSTED, NAME_RESOLUTION, CONNECTION_REFUSED, CONNECTION_TIMEOUT, TLS,
    APPLICATION_ERROR,
)  # fmt: skip
