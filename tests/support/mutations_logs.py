"""Crashes whose cause stands in the log only, in the words of many languages and libraries."""
# ruff: noqa: E501  # messages of kubelet, scheduler and controllers stand as they are written, in one piece
# A state reads as a table, one fact a line:
# fmt: off

from __future__ import annotations

from collections.abc import Callable

from tests.support.healthy import claim, database
from tests.support.judging import Expected
from tests.support.kubelet import crash, unready
from tests.support.scene import Scene
from tests.support.simulation import Raw

VARIABLE = (
    "KeyError: 'TENANT_REGION'",
    'Error: Missing required environment variable: TENANT_REGION\n    at Object.<anonymous> (/app/config.js:14:11)',
    "panic: env: required environment variable \"TENANT_REGION\" is not set",
    "java.lang.IllegalArgumentException: Could not resolve placeholder 'TENANT_REGION' in value \"${TENANT_REGION}\"",
    "key not found: \"TENANT_REGION\" (KeyError)",
    "pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings\ntenant_region\n  Field required [type=missing]\nTENANT_REGION must be set",
    "thread 'main' panicked at src/main.rs:12:44: TENANT_REGION must be set: NotPresent",
    "Unhandled exception. System.InvalidOperationException: Environment variable TENANT_REGION was not found.",
    "/entrypoint.sh: line 7: TENANT_REGION: unbound variable",
    "/docker-entrypoint.sh: TENANT_REGION: parameter not set",
)
REFUSED = (
    "dial tcp 10.96.41.2:6379: connect: connection refused",
    "redis.exceptions.ConnectionError: Error 111 connecting to shard-cache:6379. Connection refused.",
    "Error: connect ECONNREFUSED 10.96.41.2:6379\n    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1611:16)",
    "java.net.ConnectException: Connection refused: shard-cache/10.96.41.2:6379",
    "Cannot connect to redis://shard-cache:6379/0: Error 111 connecting to shard-cache:6379. Connection refused..",
    "RedisConnectionException: It was not possible to connect to the redis server(s). Error connecting right now. UnableToConnect on shard-cache:6379",
)
UNRESOLVED = (
    "dial tcp: lookup shard-cahce on 10.96.0.10:53: no such host",
    "socket.gaierror: [Errno -2] Name or service not known: shard-cahce",
    "Error: getaddrinfo ENOTFOUND shard-cahce",
    "java.net.UnknownHostException: shard-cahce: Name or service not known",
    "could not translate host name \"shard-cahce\" to address: Name or service not known",
    "nginx: [emerg] host not found in upstream \"shard-cahce:6379\" in /etc/nginx/conf.d/default.conf:3",
    "wget: bad address 'shard-cahce:6379'",
    "curl: (6) Could not resolve host: shard-cahce",
    "php_network_getaddresses: getaddrinfo for shard-cahce failed: Name or service not known",
)
DENIED = (
    "OSError: [Errno 13] Permission denied: '/var/spool/batch/index.db'",
    "open /var/spool/batch/index.db: permission denied",
    "Error: EACCES: permission denied, open '/var/spool/batch/index.db'",
    "java.io.FileNotFoundException: /var/spool/batch/index.db (Permission denied)",
    "java.nio.file.AccessDeniedException: /var/spool/batch/index.db",
    "mkdir: can't create directory '/var/spool/batch/index.db': Permission denied",
    "chown: changing ownership of '/var/spool/batch/index.db': Operation not permitted\nfatal: /var/spool/batch/index.db: permission denied",
    "Unhandled exception. System.UnauthorizedAccessException: Access to the path '/var/spool/batch/index.db' is denied.",
)
FULL = (
    "write /var/spool/batch/seg-0042: no space left on device",
    "OSError: [Errno 28] No space left on device: '/var/spool/batch/seg-0042'",
    "Error: ENOSPC: no space left on device, write '/var/spool/batch/seg-0042'",
    "java.io.IOException: No space left on device",
    "System.IO.IOException: No space left on device : '/var/spool/batch/seg-0042'",
)
CREDENTIALS = (
    'FATAL: password authentication failed for user "planner"',
    "psycopg2.OperationalError: FATAL:  password authentication failed for user \"planner\"",
    "Access denied for user 'planner'@'10.244.1.7' (using password: YES)",
    "MongoServerError: Authentication failed. user planner",
    "NOAUTH Authentication required. user planner",
    "WRONGPASS invalid username-password pair or user is disabled. planner",
    "com.rabbitmq.client.AuthenticationFailureException: ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN for planner",
    "HTTP 401 Unauthorized: invalid client credentials for planner",
)
CERTIFICATE = (
    "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-05-03T06:17:30Z is after 2026-04-30T12:00:00Z (https://auth.fern.example)",
    "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1006) auth.fern.example",
    "Error: certificate has expired code: 'CERT_HAS_EXPIRED' auth.fern.example",
    "javax.net.ssl.SSLHandshakeException: PKIX path validation failed: java.security.cert.CertPathValidatorException: validity check failed: certificate expired auth.fern.example",
    "curl: (60) SSL certificate problem: certificate has expired auth.fern.example",
)
MISSING_TABLE = (
    'ERROR: relation "shipment_legs" does not exist',
    "sqlalchemy.exc.ProgrammingError: (psycopg2.errors.UndefinedTable) relation \"shipment_legs\" does not exist",
    "SQLSTATE[42S02]: Base table or view not found: 1146 Table 'app.shipment_legs' doesn't exist",
    "org.flywaydb.core.api.FlywayException: Validate failed: Migrations have failed validation: table shipment_legs missing",
)
MODULE = (
    "ModuleNotFoundError: No module named 'shapely_x'",
    "Error: Cannot find module 'shapely_x'\nRequire stack:\n- /app/server.js",
    "Exception in thread \"main\" java.lang.NoClassDefFoundError: com/fern/shapely_x",
    "error while loading shared libraries: libshapely_x.so.1: cannot open shared object file: No such file or directory",
)
ARGUMENT = (
    "unknown flag: --max-shards",
    "flag provided but not defined: -max-shards",
    "error: unrecognized arguments: --max-shards=4",
    "error: unexpected argument '--max-shards' found",
    "Error: Unrecognized option: --max-shards",
)
IN_USE = (
    "listen tcp :7070: bind: address already in use",
    "OSError: [Errno 98] Address already in use: ('0.0.0.0', 7070)",
    "Error: listen EADDRINUSE: address already in use :::7070",
    "java.net.BindException: Address already in use (port 7070)",
    "nginx: [emerg] bind() to 0.0.0.0:7070 failed (98: Address in use)",
)


def _phrase(s: Scene, phrases: tuple[str, ...], *, patch: Callable[[Raw], object] = lambda c: None) -> None:
    text = phrases[s.seed % len(phrases)]
    head = f"{s.sim.ago(2.1)} INFO starting version 4.2"
    for pod in s.container(patch):
        if s.seed % 3 == 1 and s.work.kind == "Deployment":
            unready(s.sim, pod, "HTTP probe failed with statuscode: 503", log=f"{head}\n" + f"{s.sim.ago(1)} ERROR {text}\n" * 3)
        else:
            crash(s.sim, pod, 1, f"{head}\n{text}")


def _with(*pairs: tuple[str, str]) -> Callable[[Raw], object]:
    return lambda c: c.update(env=[{"name": n, "value": v} for n, v in pairs])


def missing_variable(s: Scene) -> Expected:
    _phrase(s, VARIABLE, patch=_with(("PORT", "8080")))
    return s.cause("TENANT_REGION")


def refused_by_dead_dependency(s: Scene) -> Expected:
    """What it needs crashes itself."""
    cache = s.sim.workload("Deployment", s.ns, "shard-cache", port=6379)
    s.sim.get("Service", s.ns, "shard-cache")["spec"]["ports"][0]["port"] = 6379
    cache.extra["was_ready"] = True
    _phrase(s, REFUSED, patch=_with(("CACHE_HOST", "shard-cache"), ("CACHE_PORT", "6379")))
    for pod in s.sim.pods(s.ns, "shard-cache"):
        crash(s.sim, pod, 1, "*** FATAL CONFIG FILE ERROR (Redis 7.4.1) ***\nReading the configuration file, at line 12\n>>> 'maxmemory-polcy allkeys-lru'\nBad directive or wrong number of arguments")
    return s.cause("maxmemory-polcy|line 12|configuration", of=(s.ref(cache),))


def name_misspelt(s: Scene) -> Expected:
    s.sim.workload("Deployment", s.ns, "shard-cache", port=6379)
    _phrase(s, UNRESOLVED, patch=_with(("CACHE_ADDR", "shard-cahce:6379")))
    return s.cause("shard-cahce", "shard-cache")


def path_denied(s: Scene) -> Expected:
    def patch(spec: Raw) -> None:
        spec["volumes"] = [{"name": "spool", "persistentVolumeClaim": {"claimName": "spool"}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "spool", "mountPath": "/var/spool/batch"}]

    claim(s.sim, s.ns, "spool", mode="ReadWriteMany")
    for pod in s.release(patch, kinds=("Deployment",)):
        crash(s.sim, pod, 1, DENIED[s.seed % len(DENIED)])
    return s.cause("denied|not permitted", "/var/spool/batch", "fsGroup|10001|runAsUser")


def disk_full(s: Scene) -> Expected:
    def patch(spec: Raw) -> None:
        spec["volumes"] = [{"name": "spool", "persistentVolumeClaim": {"claimName": "spool"}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "spool", "mountPath": "/var/spool/batch"}]

    claim(s.sim, s.ns, "spool", mode="ReadWriteMany")
    for pod in s.release(patch, kinds=("Deployment",)):
        crash(s.sim, pod, 1, FULL[s.seed % len(FULL)])
    return s.cause("no space left", "spool", of=(s.ref(s.work), f"PersistentVolumeClaim/{s.ns}/spool"))


def login_rejected(s: Scene) -> Expected:
    database(s.sim, s.ns, "route-db")
    _phrase(s, CREDENTIALS, patch=_with(("DB_HOST", "route-db"), ("DB_USER", "planner")))
    return s.cause("planner", "authenti|credential|denied|unauthorized|refused|WRONGPASS|rejected")


def certificate_expired(s: Scene) -> Expected:
    _phrase(s, CERTIFICATE, patch=_with(("AUTH_URL", "https://auth.fern.example")))
    return s.cause("certificate", "expired", "auth.fern.example")


def table_missing(s: Scene) -> Expected:
    database(s.sim, s.ns, "route-db")
    _phrase(s, MISSING_TABLE, patch=_with(("DB_HOST", "route-db")))
    return s.cause("shipment_legs")


def module_missing(s: Scene) -> Expected:
    _phrase(s, MODULE)
    return s.cause("shapely_x")


def argument_unknown(s: Scene) -> Expected:
    _phrase(s, ARGUMENT, patch=lambda c: c.update(args=["--max-shards=4"]))
    return s.cause("max-shards")


def port_taken(s: Scene) -> Expected:
    _phrase(s, IN_USE)
    return s.cause("7070", "in use")


MUTATIONS: tuple[Callable[[Scene], Expected], ...] = (
    missing_variable, refused_by_dead_dependency, name_misspelt, path_denied, disk_full, login_rejected,
    certificate_expired, table_missing, module_missing, argument_unknown, port_taken,
)  # fmt: skip
