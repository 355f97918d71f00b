"""Finds which cluster is meant, by the rules of kubectl: `--kubeconfig`, KUBECONFIG with its files merged,
`~/.kube/config`, and inside a pod its service account.

Promise: nothing is contacted and nothing is written. `load_access` gives None only when nothing at all is configured;
whatever is configured and cannot be used raises ClusterConfigInvalid, in a sentence that names the file, the context or
the field. Of several files the first that sets a value wins, and relative paths count from the file they stand in.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from agents.cluster.objects import mapping, mappings, text
from assistant.errors import ClusterConfigInvalid

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_USER_PATHS = ("client-certificate", "client-key", "tokenFile")


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """How to reach one cluster and as whom. `user` is the kubeconfig's user entry with its paths made absolute.

    `name` is the cluster's name in the kubeconfig, `namespace` the context's default ("" for none), `origin` says in
    words where all this was found. `folder` is where relative commands of an exec plugin count from.
    """

    server: str
    name: str
    context: str = ""
    namespace: str = ""
    ca_pem: bytes = b""
    verify: bool = True
    tls_server_name: str = ""
    proxy_url: str = ""
    user: Mapping[str, Any] = field(default_factory=dict, repr=False)
    exec_config: Any = None
    folder: Path = Path()
    files: tuple[Path, ...] = ()
    origin: str = ""

    @property
    def host(self) -> str:
        """Host and port of the server, as messages name it."""
        parts = urlsplit(self.server)
        return parts.netloc.rpartition("@")[2] or self.server


@dataclass(frozen=True, slots=True)
class _Entry:
    """A named entry of a kubeconfig and the folder of the file it stands in."""

    value: Mapping[str, Any]
    folder: Path


@dataclass(slots=True)
class _Merged:
    files: list[Path]
    current: str = ""
    contexts: dict[str, _Entry] = field(default_factory=dict)
    clusters: dict[str, _Entry] = field(default_factory=dict)
    users: dict[str, _Entry] = field(default_factory=dict)


def load_access(
    *,
    kubeconfig: Path | None = None,
    context: str = "",
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
) -> ClusterAccess | None:
    """The access that is configured, or None when there is none at all. Raises ClusterConfigInvalid."""
    merged = _merge(_paths(kubeconfig, environ), explicit=kubeconfig is not None)
    if not (merged.contexts or merged.clusters or merged.current):
        if context or kubeconfig is not None:
            where = f"The kubeconfig {kubeconfig} holds no context" if kubeconfig else "There is no kubeconfig"
            wanted = f", so there is no context {context!r}" if context else ""
            raise ClusterConfigInvalid(f"{where}{wanted}.")
        return _in_cluster(environ, service_account)
    name = context or merged.current
    if not name:
        raise ClusterConfigInvalid(
            f"No current context is set in {_names(merged.files)}. Choose one with --context: {_list(merged.contexts)}."
        )
    if name not in merged.contexts:
        raise ClusterConfigInvalid(
            f"There is no context {name!r} in {_names(merged.files)}. It has: {_list(merged.contexts)}."
        )
    return _access(merged, name)


def _paths(explicit: Path | None, environ: Mapping[str, str]) -> list[Path]:
    if explicit is not None:
        return [explicit.expanduser()]
    listed = [part for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if listed:
        return [Path(part).expanduser() for part in dict.fromkeys(listed)]
    home = environ.get("HOME", "")
    return [Path(home) / ".kube" / "config"] if home else []


def _merge(paths: list[Path], *, explicit: bool) -> _Merged:
    merged = _Merged([])
    for path in paths:
        if not path.exists():
            if explicit:
                raise ClusterConfigInvalid(f"There is no kubeconfig {path}.")
            continue  # as kubectl: a file of KUBECONFIG that does not exist (yet) is skipped
        document = _read(path)
        merged.files.append(path)
        merged.current = merged.current or text(document, "current-context")
        for plural, singular, found in (
            ("contexts", "context", merged.contexts),
            ("clusters", "cluster", merged.clusters),
            ("users", "user", merged.users),
        ):
            for item in mappings(document, plural):
                found.setdefault(text(item, "name"), _Entry(mapping(item, singular), path.absolute().parent))
    return merged


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise ClusterConfigInvalid(f"The kubeconfig {path} cannot be read.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}" if mark is not None else ""
        raise ClusterConfigInvalid(f"The kubeconfig {path} is not valid YAML{at}.") from error
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        raise ClusterConfigInvalid(f"The kubeconfig {path} is not a kubeconfig: it holds no fields.")
    return document


def _access(merged: _Merged, name: str) -> ClusterAccess:
    context = merged.contexts[name].value
    cluster_name, user_name = text(context, "cluster"), text(context, "user")
    cluster = merged.clusters.get(cluster_name)
    if cluster is None:
        raise ClusterConfigInvalid(f"The context {name!r} names the cluster {cluster_name!r}, which is not defined.")
    user = merged.users.get(user_name, _Entry({}, cluster.folder))
    if user_name and user_name not in merged.users:
        raise ClusterConfigInvalid(f"The context {name!r} names the user {user_name!r}, which is not defined.")
    server = text(cluster.value, "server").rstrip("/")
    if urlsplit(server).scheme not in ("http", "https") or not urlsplit(server).hostname:
        raise ClusterConfigInvalid(f"The cluster {cluster_name!r} of context {name!r} has no usable server address.")
    proxy = text(cluster.value, "proxy-url")
    if proxy and urlsplit(proxy).scheme not in ("http", "https"):
        raise ClusterConfigInvalid(
            f"The proxy-url of cluster {cluster_name!r} is neither http nor https; other kinds of proxy do not work."
        )
    return ClusterAccess(
        server=server,
        name=cluster_name,
        context=name,
        namespace=text(context, "namespace"),
        ca_pem=_pem(cluster, "certificate-authority", f"cluster {cluster_name!r}"),
        verify=cluster.value.get("insecure-skip-tls-verify") is not True,
        tls_server_name=text(cluster.value, "tls-server-name"),
        proxy_url=proxy,
        user={k: str(user.folder / v) if k in _USER_PATHS and isinstance(v, str) else v for k, v in user.value.items()},
        exec_config=_exec_extension(cluster.value),
        folder=user.folder,
        files=tuple(merged.files),
        origin=f"context {name} of {_names(merged.files)}",
    )


def _pem(entry: _Entry, key: str, owner: str) -> bytes:
    """What `key-data` (base64) or the file `key` holds, b"" where neither is given."""
    data, path = text(entry.value, f"{key}-data"), text(entry.value, key)
    try:
        if data:
            return base64.b64decode(data, validate=False)
        return (entry.folder / path).expanduser().read_bytes() if path else b""
    except OSError as error:
        raise ClusterConfigInvalid(f"The file {path} that {owner} names as {key} cannot be read.") from error
    except (binascii.Error, ValueError) as error:
        raise ClusterConfigInvalid(f"The {key}-data of {owner} is not base64.") from error


def _exec_extension(cluster: Mapping[str, Any]) -> Any:
    for extension in mappings(cluster, "extensions"):
        if extension.get("name") == "client.authentication.k8s.io/exec":
            return extension.get("extension")
    return None


def _in_cluster(environ: Mapping[str, str], folder: Path) -> ClusterAccess | None:
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    token = folder / "token"
    if not host or not port or not token.is_file():
        return None
    try:
        ca_pem = (folder / "ca.crt").read_bytes()
        namespace_file = folder / "namespace"
        namespace = namespace_file.read_text().strip() if namespace_file.is_file() else ""
    except OSError as error:
        raise ClusterConfigInvalid("The service account of this pod cannot be read.") from error
    return ClusterAccess(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        name="in-cluster",
        namespace=namespace,
        ca_pem=ca_pem,
        user={"tokenFile": str(token)},
        origin="the service account of this pod",
    )


def _names(files: list[Path]) -> str:
    return ", ".join(str(f) for f in files)


def _list(contexts: Mapping[str, _Entry]) -> str:
    shown = sorted(contexts)[:20]
    more = f" and {len(contexts) - len(shown)} more" if len(contexts) > len(shown) else ""
    return (", ".join(shown) or "none") + more
