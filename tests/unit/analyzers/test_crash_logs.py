"""The cause of a crash in the words of common runtimes, databases and shells."""

from __future__ import annotations

import pytest

from agents.analyzers.crash_logs import told_by_logs
from agents.evidence import Finding
from tests.support.views import codes_of, view_of
from tests.unit.analyzers.workloads import RUNNING, UNREADY, crashed, workload

SPEC = """
securityContext: {runAsUser: 1200}
volumes: [{name: data, persistentVolumeClaim: {claimName: store}}, {name: cfg, configMap: {name: settings}}]
containers:
- name: app
  image: a/b:1
  args: [--workers=4]
  env: [{name: DATABASE_HOST, value: "db.data:5432"}]
  securityContext: {readOnlyRootFilesystem: true}
  volumeMounts: [{name: data, mountPath: /data}, {name: cfg, mountPath: /etc/app}]
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: db, namespace: data}
spec: {clusterIP: 10.9.9.9, selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: data}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {app.yaml: x}
"""
KEY = ("shop", "web-1-a", "app")


def told(line: str, status: str = "") -> list[Finding]:
    return list(
        told_by_logs(view_of(*workload(SPEC, status or crashed()), SERVICE, logs={KEY: f"starting up\n{line}"}))
    )


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('{"level":"fatal","err":"open /data/0001.wal: permission denied"}', "volume-permission-denied"),
        ("PermissionError: [Errno 13] Permission denied: '/data/x'", "volume-permission-denied"),
        ("Error: EACCES: permission denied, mkdir '/data/cache'", "volume-permission-denied"),
        ("mkdir: can't create directory '/data/db': Permission denied", "volume-permission-denied"),
        ("chown: changing ownership of '/data/pg': Operation not permitted", "volume-permission-denied"),
        ("java.nio.file.AccessDeniedException: /data/lock", "volume-permission-denied"),
        ("UnauthorizedAccessException: Access to the path '/data/x' is denied.", "volume-permission-denied"),
        ("open /var/cache/x: permission denied", "file-permission-denied"),
        ("OSError: [Errno 30] Read-only file system: '/tmp/x'", "read-only-file-system"),
        ("Error: EROFS: read-only file system, open '/app/log.txt'", "read-only-file-system"),
        ("nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)", "port-bind-denied"),
        ("listen tcp :80: bind: permission denied", "port-bind-denied"),
        ("KeyError: 'SESSION_KEY'", "environment-variable-missing"),
        ("required environment variable API_TOKEN is not set", "environment-variable-missing"),
        ("Error: missing environment variable: SMTP_HOST", "environment-variable-missing"),
        ("DATABASE_URL must be set", "environment-variable-missing"),
        ("Could not resolve placeholder 'app.region' in value", "environment-variable-missing"),
        ("sh: 1: QUEUE_URL: parameter not set", "environment-variable-missing"),
        ("Error: unknown flag: --worker", "unknown-argument"),
        ("flag provided but not defined: -prot", "unknown-argument"),
        ("error: unrecognized arguments: --fast", "unknown-argument"),
        ('FATAL:  password authentication failed for user "app"', "credentials-rejected"),
        ("ERROR 1045 (28000): Access denied for user 'app'@'10.0.0.1' (using password: YES)", "credentials-rejected"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "credentials-rejected"),
        ("User: arn:aws:sts::1:x is not authorized to perform: s3:ListBucket", "cloud-permission-denied"),
        ("listen tcp 0.0.0.0:8080: bind: address already in use", "port-already-in-use"),
        ("Error: listen EADDRINUSE: address already in use :::3000", "port-already-in-use"),
        ("java.lang.OutOfMemoryError: Java heap space", "runtime-out-of-memory"),
        ("FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory", "runtime-out-of-memory"),
        ("write /data/x: no space left on device", "disk-full"),
        ("dial tcp: lookup db.datas on 10.96.0.10:53: no such host", "name-resolution-failed"),
        ("Error: getaddrinfo ENOTFOUND cache.shop", "name-resolution-failed"),
        ("java.net.UnknownHostException: broker", "name-resolution-failed"),
        ('could not translate host name "dbx" to address: Name or service not known', "name-resolution-failed"),
        ("2026-05-04T11:59:00Z dial tcp 10.9.9.9:5432: connect: connection refused", "connection-refused"),
        ("Error: connect ECONNREFUSED 10.9.9.9:5432", "connection-refused"),
        ('connection to server at "db.data" (10.9.9.9), port 5432 failed: Connection refused', "connection-refused"),
        ("dial tcp 10.9.9.9:5432: i/o timeout", "connection-timed-out"),
        ("x509: certificate signed by unknown authority", "tls-failed"),
        ("FATAL: sorry, too many clients already", "connections-exhausted"),
        ("accept: too many open files", "open-files-exhausted"),
        ('ERROR: relation "orders" does not exist', "database-schema-mismatch"),
        ("database is locked", "lock-held"),
        ("failed to load config /etc/app/app.yaml: yaml: mapping values are not allowed", "config-file-invalid"),
        ("open /etc/app/main.yaml: no such file or directory", "file-missing"),
        ("Error: Cannot find module 'express'", "program-part-missing"),
        ("panic: runtime error: index out of range", "application-error"),
    ],
)  # fmt: skip
def test_a_line_tells_the_cause(line: str, code: str) -> None:
    assert [f.code for f in told(line)] == [code]


@pytest.mark.parametrize(
    "line",
    [
        "2026-05-04T11:59:00Z level=info msg=ready",
        "request done status=200 path=/v1/errors",
        'nodes is forbidden: User "system:serviceaccount:shop:web" cannot list resource "nodes"',
        "listening on 0.0.0.0:8080",
        "loaded configuration from /etc/app/app.yaml",
    ],
)
def test_ordinary_lines_and_what_roles_explain_are_nothing(line: str) -> None:
    assert told(line) == []


def test_a_ready_container_is_not_judged_by_its_log() -> None:
    documents = workload(SPEC, RUNNING, ready=True)
    view = view_of(*documents, logs={KEY: "dial tcp 10.9.9.9:5432: connect: connection refused"})
    assert codes_of(told_by_logs, view) == []


def test_a_program_that_runs_and_is_not_ready_is_read_too() -> None:
    assert [f.code for f in told("dial tcp 10.9.9.9:5432: connect: connection refused", UNREADY)] == [
        "connection-refused"
    ]
    assert told("panic: recovered", UNREADY) == []


def test_a_denied_path_is_tied_to_its_claim_and_the_security_context() -> None:
    (found,) = told("open /data/0001.wal: permission denied")
    assert {r.name for r in found.related} >= {"store"}
    assert all(word in found.message for word in ("/data", "store", "1200", "fsGroup"))


def test_a_refused_address_is_tied_to_the_service_behind_it() -> None:
    (found,) = told("dial tcp 10.9.9.9:5432: connect: connection refused")
    assert ("Service", "data", "db") in {r.key for r in found.related}


def test_the_variable_that_is_missing_is_named_with_those_that_are_set() -> None:
    (found,) = told("DATABASE_HOSTS is not set")
    assert "DATABASE_HOSTS is not set; there is DATABASE_HOST" in found.message


def test_a_missing_file_names_the_keys_of_the_config_map_mounted_there() -> None:
    (found,) = told("open /etc/app/main.yaml: no such file or directory")
    assert "app.yaml" in found.message


def test_a_time_of_day_is_not_taken_for_an_address() -> None:
    (found,) = told("2026-05-04 11:59:07 connection refused")
    assert "11:59" not in found.message.split("Its log says")[0]


def test_the_message_that_a_program_left_behind_is_read_where_there_is_no_log() -> None:
    view = view_of(*workload(SPEC, crashed(message="unknown flag: --x")))
    assert codes_of(told_by_logs, view) == ["unknown-argument"]
