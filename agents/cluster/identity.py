"""Chooses the cluster to ask and opens it: a snapshot that was named, else what kubectl would take, else the demo.

Promise: what was asked for by name (a snapshot, a kubeconfig, a context) is opened or raises; nothing else stands in
for it. Only where nothing is configured does the demo snapshot answer, and, for a server that is to start anyhow
(`demo_when_unreachable`), where what is configured cannot be reached. `reason` says which it was and why.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agents.cluster.api import ClusterAccess, KubeApi, load_access
from agents.cluster.api.kubeconfig import SERVICE_ACCOUNT
from agents.cluster.live import LiveReader
from agents.cluster.reader import ClusterReader
from agents.cluster.snapshot import SnapshotReader, load_snapshot
from agents.evidence import ClusterIdentity
from assistant.errors import ClusterConfigInvalid, ClusterError


@dataclass(frozen=True, slots=True)
class ClusterChoice:
    """What a person asked for. `namespaces` are those of `-n`, read where the whole cluster may not be listed.

    `demo` is the folder of the demo snapshot, None where there is none to fall back to.
    """

    snapshot: Path | None = None
    kubeconfig: Path | None = None
    context: str = ""
    namespaces: tuple[str, ...] = ()
    demo: Path | None = None
    demo_when_unreachable: bool = False

    @property
    def explicit(self) -> bool:
        """Whether a cluster was named, so that no other may stand in for it."""
        return self.snapshot is not None or self.kubeconfig is not None or bool(self.context)


@dataclass(frozen=True, slots=True)
class OpenedCluster:
    """An open reader, whose cluster it is, and why this one. `notice` is set when it is not what was configured.

    `default_namespace` is the context's own, "" where it names none.
    """

    reader: ClusterReader
    identity: ClusterIdentity
    reason: str
    notice: str = ""
    default_namespace: str = ""


async def open_cluster(
    choice: ClusterChoice,
    *,
    environ: Mapping[str, str] = os.environ,
    hash_key: bytes | None = None,
    service_account: Path = SERVICE_ACCOUNT,
) -> OpenedCluster:
    """Opens the cluster and asks who it is. Close `reader` when done.

    Raises SnapshotUnreadable, ClusterConfigInvalid, ClusterUnreachable or ClusterCredentialsRejected.
    """
    if choice.snapshot is not None:
        return await _open_snapshot(choice.snapshot, hash_key, "the snapshot that was named")
    try:
        access = await asyncio.to_thread(
            load_access,
            kubeconfig=choice.kubeconfig,
            context=choice.context,
            environ=environ,
            service_account=service_account,
        )
        if access is not None:
            return await _open_live(access, choice, environ, hash_key)
    except ClusterError as error:
        if choice.explicit or not choice.demo_when_unreachable or choice.demo is None:
            raise
        notice = f"The configured cluster cannot be used, so this is the demo snapshot. {error.message}"
        return await _open_snapshot(choice.demo, hash_key, "the configured cluster cannot be used", notice=notice)
    if choice.demo is None:
        raise ClusterConfigInvalid("There is no kubeconfig and no --snapshot, so there is no cluster to ask.")
    return await _open_snapshot(choice.demo, hash_key, "no kubeconfig and no service account were found", demo=True)


async def _open_snapshot(
    folder: Path, hash_key: bytes | None, reason: str, *, notice: str = "", demo: bool = False
) -> OpenedCluster:
    snapshot = await asyncio.to_thread(load_snapshot, folder, hash_key)
    reader = SnapshotReader(snapshot, demo=demo or bool(notice))
    return OpenedCluster(reader, await reader.identity(), reason, notice)


async def _open_live(
    access: ClusterAccess, choice: ClusterChoice, environ: Mapping[str, str], hash_key: bytes | None
) -> OpenedCluster:
    api = KubeApi(access, environ=environ)
    namespaces = choice.namespaces or ((access.namespace,) if access.namespace else ())
    reader = LiveReader(api, hash_key=hash_key, namespaces=namespaces)
    try:
        identity = await reader.identity()
    except BaseException:
        await reader.aclose()
        raise
    return OpenedCluster(reader, identity, access.origin, default_namespace=access.namespace)
