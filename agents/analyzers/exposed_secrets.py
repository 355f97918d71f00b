"""Credentials that stand where everybody who may read workloads or ConfigMaps reads them.

Judged by the name of a variable or key together with the look of its value: references, paths, placeholders, numbers,
switches and addresses are no credentials. A value is never shown: messages and evidence name the variable, the key or
the argument alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from agents.analyzers.base import Analyzer, Code, Role, finding
from agents.analyzers.ownership import deployed_workloads, manual_change_note
from agents.cluster.objects import K8sObject, containers, mappings, pod_spec, pod_spec_path, string_map, strings, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

PLAIN_ENV = Code(
    "secret-in-plain-env", Domain.SECURITY, Severity.WARNING, Role.RISK,
    "A credential stands as plain text in an environment variable of a workload",
    "Put the value into a Secret, refer to it with `valueFrom.secretKeyRef`, and change the credential (it was "
    "readable):\n"
    "`kubectl -n {ns} create secret generic {secret} --from-literal={first}=NEW-VALUE`\n"
    "`kubectl -n {ns} set env {kind}/{name} {first}-` and `kubectl -n {ns} set env {kind}/{name} "
    "--from=secret/{secret} --keys={first}`{gitops}", 0.92,
)  # fmt: skip
IN_ARGUMENTS = Code(
    "secret-in-arguments", Domain.SECURITY, Severity.WARNING, Role.RISK,
    "A credential stands in the command line of a container",
    "Put the value into a Secret, give it to the container as a variable, and refer to it in the argument as "
    "`$(NAME)`; "
    "then change the credential:\n`kubectl -n {ns} edit {kind} {name}`{gitops}", 0.88,
)  # fmt: skip
IN_CONFIGMAP = Code(
    "secret-in-configmap", Domain.SECURITY, Severity.WARNING, Role.RISK,
    "A ConfigMap holds a credential",
    "Move the keys named into a Secret of the same keys, let the workloads refer to it, and change the credentials:\n"
    "`kubectl -n {ns} create secret generic {name} --from-literal=KEY=NEW-VALUE`\n"
    "then take them out: `kubectl -n {ns} edit configmap {name}`{gitops}", 0.88,
)  # fmt: skip

_SECRET_NAME = re.compile(
    r"(?:^|[_.\-])(?:password|passwd|passphrase|pwd|pass|secret|token|credentials?|apikey|api[_.\-]?key|"
    r"(?:access|private|secret|encryption|signing|master|account|auth|license)[_.\-]?key|client[_.\-]?secret|"
    r"bearer|jwt|secret[_.\-]?key[_.\-]?base)(?:$|[_.\-](?:key|value|string|b64|base64|\d+)$|\d+$)",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# The name's end turns the matter: a file, a name, a switch or a lifetime about a secret is not the secret.
_ABOUT = re.compile(
    r"(?:file|path|dir|name|ref|url|uri|endpoint|host|type|ttl|expiry|expiration|lifetime|timeout|length|min|max|enabled|"
    r"id|header|field|prefix|algorithm|policy|required|rotation|interval|issuer|audience|mode|count|size|provider)s?$",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"^(?:\$\{?\(?.*|<.*>|\{\{.*\}\}|%\(?.*|x{3,}|\*+|\.{3,}|placeholder|replace.*|todo|tbd|none|null|nil|n/a|empty|"
    r"your[-_ ].*|redacted|masked|true|false|yes|no|on|off|enabled|disabled|optional|required|vault:.*|ref\+.*|arn:.*|"
    r"projects/.*|ssm:.*|aws-?sm:.*|gcp-?sm:.*|file:.*|env:.*|secret(?:ref)?:.*|op://.*|\d{1,5})$",
    re.IGNORECASE,
)
_PATH = re.compile(r"^(?:/|\./|~/|[A-Za-z]:\\)[\w./\\~-]*$")
_URL = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s:/@${}<>]*:(?P<password>[^\s/@]{3,})@", re.IGNORECASE)
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")
_KNOWN_SHAPE = re.compile(
    r"\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}|"
    r"sk_live_\w{16,}|AIza[\w-]{35}|npm_\w{36}|hvs\.\w{24,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})"
)
_SHAPE_STARTS = ("AKIA", "gh", "glpat-", "xox", "sk_live_", "AIza", "npm_", "hvs.", "eyJ")
_FLAG = re.compile(r"^--?(?P<name>[A-Za-z][\w.-]*)(?:=(?P<value>.*))?$", re.DOTALL)
_SHELL_FLAG = re.compile(r"(?:^|\s)--?(?P<name>[A-Za-z][\w.-]{2,40})[= ](?P<value>[^\s\"';|&]+)")
# under a name that only ends in KEY: long, of one piece, letters and digits mixed
_RANDOM = re.compile(r"^(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9+/=_-]{20,}$")
_LINE = re.compile(
    r"""^\s*["']?(?P<name>[A-Za-z][\w.\-]{2,60})["']?\s*[:=]\s*["']?(?P<value>[^\s"',;#]+)""", re.MULTILINE
)
# A line without any of these names no credential; searching a file for them is much faster than reading its lines.
_HINT = re.compile(
    r"(?i)pass|pwd|secret|token|credential|bearer|jwt|api.?key|(?:access|private|encryption|signing).?key"
)
_MOST_TEXT = 200_000  # characters of one ConfigMap value that are looked at


def is_secret_name(name: str) -> bool:
    """Whether a variable, key or flag of this name holds a credential itself (`DB_PASSWORD`, not `PASSWORD_FILE`)."""
    plain = _CAMEL.sub("_", name)
    return bool(_SECRET_NAME.search(plain)) and not _ABOUT.search(plain)


def is_literal_secret(value: str) -> bool:
    """Whether a value under such a name reads like the credential and not like a pointer, placeholder or switch."""
    value = value.strip()
    if len(value) < 3 or _PLACEHOLDER.match(value) or _PATH.match(value):
        return False
    if _URL.match(value):
        return _has_url_password(value)
    return not re.fullmatch(r"[\w-]+(?:\.[\w-]+)*\.svc(?:\.cluster\.local)?(?::\d+)?", value)


def _has_url_password(value: str) -> bool:
    if "://" not in value or "@" not in value:
        return False
    match = _URL_PASSWORD.search(value)
    return match is not None and not _PLACEHOLDER.match(match["password"])


def _has_known_token(value: str) -> bool:
    # plain searches first: the pattern is slow on a long text that holds none
    return any(start in value for start in _SHAPE_STARTS) and _KNOWN_SHAPE.search(value) is not None


def _given_away(name: str, value: str) -> str:
    """Why a named value is a credential, in words; "" when it is not."""
    if "PRIVATE KEY" in value and _PRIVATE_KEY.search(value):
        return "a private key"
    if _has_known_token(value):
        return "a token of a known form"
    if _has_url_password(value):
        return "a URL with a password in it"
    named = is_secret_name(name) or (name.lower().endswith(("_key", "-key", ".key")) and bool(_RANDOM.match(value)))
    return "a literal value" if named and is_literal_secret(value) else ""


def _hidden(obj: K8sObject, path: str, what: str) -> Evidence:
    return Evidence(kind="field", object=obj.ref, locator=path, excerpt=f"{path}: {what} (value not shown)")


def plain_variables(view: ClusterView) -> Iterator[Finding]:
    """Workloads with credentials in `env`."""
    for workload in deployed_workloads(view):
        base = pod_spec_path(workload.kind)
        names: list[str] = []
        evidence: list[Evidence] = []
        for path, container in containers(pod_spec(workload)):
            for index, variable in enumerate(mappings(container, "env")):
                name, value = text(variable, "name"), variable.get("value")
                why = _given_away(name, value) if isinstance(value, str) else ""
                if why:
                    names.append(name)
                    field = f"{base}.{path}.env[{index}]"
                    evidence.append(_hidden(workload, field, f"name {name}, value is {why}"))
        if names:
            yield finding(
                PLAIN_ENV,
                workload,
                f"{workload.kind} {workload.name} sets {_listed(names)} to a plain value in its pod template: "
                "everyone who "
                "may read workloads in this namespace reads the credential (secret), and so does every backup of the "
                "manifest.",
                evidence[:5],
                first=names[0],
                secret=f"{workload.name}-credentials",
                gitops=manual_change_note(workload),
            )


def _listed(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    return ", ".join(unique[:8]) + (f" and {len(unique) - 8} more" if len(unique) > 8 else "")


def secret_arguments(view: ClusterView) -> Iterator[Finding]:
    """Workloads with credentials in `command` or `args`."""
    for workload in deployed_workloads(view):
        base = pod_spec_path(workload.kind)
        names: list[str] = []
        evidence: list[Evidence] = []
        for path, container in containers(pod_spec(workload)):
            for field in ("command", "args"):
                for index, name in _secret_flags(strings(container, field)):
                    names.append(name)
                    evidence.append(
                        _hidden(workload, f"{base}.{path}.{field}[{index}]", f"argument {name} with a value")
                    )
        if names:
            yield finding(
                IN_ARGUMENTS,
                workload,
                f"{workload.kind} {workload.name} passes {_listed(names)} with a plain value on the command line: "
                "the secret "
                "is readable in the workload, in process lists on the node and in crash reports.",
                evidence[:5],
                gitops=manual_change_note(workload),
            )


def _secret_flags(arguments: Sequence[str]) -> Iterator[tuple[int, str]]:
    for index, argument in enumerate(arguments):
        match = _FLAG.match(argument)
        if match is not None:
            value = match["value"]
            if value is None and index + 1 < len(arguments) and not arguments[index + 1].startswith("-"):
                value = arguments[index + 1]
            if value is not None and _given_away(match["name"], value):
                yield index, f"--{match['name']}"
            continue
        for inner in _SHELL_FLAG.finditer(argument[:_MOST_TEXT]):
            if _given_away(inner["name"], inner["value"]):
                yield index, f"--{inner['name']}"
        if _has_url_password(argument[:_MOST_TEXT]):
            yield index, "a URL with a password"


def secrets_in_configmaps(view: ClusterView) -> Iterator[Finding]:
    """ConfigMaps with credentials as keys or inside their files."""
    for configmap in view.of_kind("ConfigMap"):
        if configmap.namespace == "kube-public":
            continue  # the cluster's own bootstrap facts, published on purpose
        hits = [(key, why) for key, value in string_map(configmap.raw, "data").items() if (why := _in_text(key, value))]
        if not hits:
            continue
        users = [
            obj.ref for obj, _ in view.referrers(ObjectRef("v1", "ConfigMap", configmap.namespace, configmap.name))
        ]
        keys = _listed([key for key, _ in hits])
        yield finding(
            IN_CONFIGMAP,
            configmap,
            f"ConfigMap {configmap.name} holds {hits[0][1]} in {keys}: ConfigMaps are neither encrypted nor kept "
            "from readers "
            "as a Secret is.",
            [_hidden(configmap, f"data[{key}]", why) for key, why in hits[:5]],
            related=users[:20],
            gitops=manual_change_note(configmap),
        )


def _in_text(key: str, value: str) -> str:
    """Why this entry of a ConfigMap holds a credential; a certificate bundle (public) does not."""
    value = value[:_MOST_TEXT]
    if "\n" not in value.strip():
        return _given_away(key, value)
    if "PRIVATE KEY" in value and _PRIVATE_KEY.search(value):
        return "a private key"
    if _has_known_token(value):
        return "a token of a known form"
    if _has_url_password(value):
        return "a URL with a password in it"
    for match in _LINE.finditer(value):
        if is_secret_name(match["name"]) and is_literal_secret(match["value"]) and len(match["value"]) >= 6:
            return f"a value for {match['name']}"
    return ""


ANALYZERS: tuple[Analyzer, ...] = (plain_variables, secret_arguments, secrets_in_configmaps)
CODES: tuple[Code, ...] = (PLAIN_ENV, IN_ARGUMENTS, IN_CONFIGMAP)
