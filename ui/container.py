"""The composition root: builds everything that a command needs from the settings, and takes it down again.

Two sizes: `open_source` for what only looks at a cluster (no database, no model), `open_app` for conversations. Heavy
imports stand inside the functions that need them, so that `kubechat --help` and `kubechat diagnose` pay for neither
the database nor the model layer.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agents.cluster.identity import ClusterChoice, OpenedCluster, open_cluster
from agents.cluster.source import ViewSource
from agents.evidence import ClusterIdentity
from assistant.errors import StorageUnavailable
from assistant.guardrails.credentials import CREDENTIAL_RULES
from assistant.guardrails.masking import Masker
from assistant.settings import Settings

if TYPE_CHECKING:
    from agents.conversation import Conversation
    from agents.greeting import Greeting
    from agents.state import ModelAccess, Services
    from assistant.models.embeddings import MiniLMEmbedder
    from knowledge.search import RunbookSearch

PROJECT = Path(__file__).resolve().parent.parent
DEMO_SNAPSHOT = Path(__file__).resolve().parent / "demo" / "snapshot"
CORPUS = PROJECT / "knowledge" / "corpus"


@dataclass(frozen=True, slots=True)
class OpenSource:
    """A cluster to look at, and the masker for what is said about it."""

    source: ViewSource
    opened: OpenedCluster
    masker: Masker

    def mask(self, text: str) -> str:
        """The text without credentials."""
        return self.masker.mask(text).text


@dataclass(slots=True)
class App:
    """Everything that a conversation needs, and the lines that say what it uses."""

    settings: Settings
    conversation: Conversation
    services: Services
    opened: OpenedCluster
    masker: Masker
    model_line: str
    lines: list[str] = field(default_factory=list)

    async def identity(self) -> ClusterIdentity:
        """Which cluster this is."""
        return await self.services.source.identity()

    @property
    def namespace(self) -> str | None:
        """The namespace that questions are about where they name none: the flag's, else the context's own."""
        return self.settings.cluster.namespace or self.opened.default_namespace or None

    async def require_namespace(self) -> None:
        """Raises NamespaceNotFound, with similar names, when the namespace that was named by a flag is not there.

        The context's own is not required: `kubectl` too answers in a namespace that is gone.
        """
        from agents.examination import require_namespaces

        if self.settings.cluster.namespace:
            asked = frozenset({self.settings.cluster.namespace})
            require_namespaces(await self.services.source.view(asked), asked)

    async def greeting(self) -> Greeting:
        """The opening of a conversation about the cluster as it is now. Raises ClusterError."""
        from agents.greeting import greet

        return await greet(self.services.source, self.services.mask)


@asynccontextmanager
async def open_source(
    settings: Settings,
    environment: Mapping[str, str] | None = None,
    *,
    masking_key: bytes | None = None,
    demo: bool = True,
    demo_when_unreachable: bool = False,
) -> AsyncIterator[OpenSource]:
    """The cluster that the settings name; the demo snapshot where none is configured. Raises ClusterError,
    SnapshotUnreadable.

    `demo` False: nothing stands in. `demo_when_unreachable`: whether the demo also stands in for a cluster that is
    configured by default and cannot be reached (the page starts anyhow and says so; a command that was asked about a
    cluster does not answer about another).
    """
    env = os.environ if environment is None else environment
    masker = Masker(masking_key or secrets.token_bytes(32), CREDENTIAL_RULES)
    opened = await open_cluster(
        _choice(settings, env, DEMO_SNAPSHOT if demo else None, demo_when_unreachable), environ=env
    )
    source = ViewSource(
        opened.reader, reuse_seconds=settings.cluster.view_reuse, parallel=settings.cluster.max_concurrent_reads
    )
    try:
        yield OpenSource(source, opened, masker)
    finally:
        await source.aclose()


def _choice(
    settings: Settings, env: Mapping[str, str], demo: Path | None, demo_when_unreachable: bool
) -> ClusterChoice:
    cluster = settings.cluster
    # KUBECONFIG is read by kubectl's own rules (it may list several files); only a flag names one file for good
    flagged = cluster.kubeconfig is not None and cluster.kubeconfig != env.get("KUBECONFIG")
    return ClusterChoice(
        snapshot=cluster.snapshot,
        kubeconfig=Path(cluster.kubeconfig) if flagged and cluster.kubeconfig else None,
        context=cluster.context or "",
        namespaces=(cluster.namespace,) if cluster.namespace else (),
        demo=demo,
        demo_when_unreachable=demo_when_unreachable,
    )


@asynccontextmanager
async def open_app(
    settings: Settings, environment: Mapping[str, str] | None = None, *, server: bool = False
) -> AsyncIterator[App]:
    """Conversations over the cluster, the database and the model that the settings name.

    `server`: this process stays, so it starts on the demo when the cluster cannot be reached, and warms up its parts.
    Raises ClusterError, SnapshotUnreadable, StorageUnavailable, MigrationFailed.
    """
    from agents.conversation import Conversation
    from agents.record import Record, record_migrations
    from agents.routing import Router
    from agents.state import Services
    from assistant.models.embeddings import MiniLMEmbedder
    from assistant.storage.migrations import migrate
    from assistant.storage.opening import open_database
    from knowledge.search import RunbookSearch

    env = os.environ if environment is None else environment
    storage = settings.storage
    url = storage.database_url.get_secret_value() if storage.database_url else None
    key = masking_key(storage.data_dir)
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(
            open_source(settings, env, masking_key=key, demo_when_unreachable=server)
        )
        database = await stack.enter_async_context(
            open_database(url, storage.data_dir, max_connections=storage.max_connections)
        )
        await migrate(database, record_migrations())
        record = Record(database)
        stack.push_async_callback(record.close)
        await record.recover_interrupted()
        embedder: MiniLMEmbedder = MiniLMEmbedder()
        runbooks = RunbookSearch(embedder, CORPUS, storage.data_dir / "cache")
        warming = asyncio.create_task(asyncio.to_thread(_warm, embedder, runbooks if server else None), name="warm")
        stack.push_async_callback(_settled, warming)
        model, model_line = await _open_model(settings, env, opened.masker, stack)
        services = Services(
            source=opened.source,
            record=record,
            router=Router.load(embedder),
            mask=opened.mask,
            runbooks=runbooks,
            model=model,
        )
        conversation = Conversation(services)
        stack.push_async_callback(conversation.close)
        app = App(settings, conversation, services, opened.opened, opened.masker, model_line)
        app.lines = await _start_lines(app, env)
        yield app


async def _open_model(
    settings: Settings, env: Mapping[str, str], masker: Masker, stack: AsyncExitStack
) -> tuple[ModelAccess | None, str]:
    """(the model, what is said of it). litellm itself is imported in the background, after everything else is up."""
    from agents.state import ModelAccess
    from assistant.models.catalog import destination
    from assistant.models.gateway import open_gateway
    from assistant.models.litellm_adapter import LitellmAdapter
    from assistant.models.request import ModelChoice

    chosen = settings.model
    if chosen.name is None:
        return None, "none; answers are rendered from the evidence, and no text leaves this machine"
    choice = ModelChoice(chosen.name, chosen.url, chosen.key.get_secret_value() if chosen.key else None)
    where = destination(choice, env)
    adapter = LitellmAdapter(choice, env)
    stack.push_async_callback(adapter.aclose)
    warming = asyncio.create_task(adapter.warm(), name="warm-litellm")
    stack.push_async_callback(_settled, warming)
    port = open_gateway(adapter, masker=masker, sink=lambda _: None, model=chosen.name, destination=where)
    access = ModelAccess(port, chosen.name, where, timeout_s=chosen.timeout, max_steps=chosen.max_steps)
    return access, f"{chosen.name}; questions, findings and excerpts go, masked, to {where}"


def _warm(embedder: MiniLMEmbedder, runbooks: RunbookSearch | None) -> None:
    """Loads what the first question needs; the index of the runbooks only where questions will follow."""
    embedder.warm_up()
    if runbooks is not None:
        runbooks.warm_up()


async def _settled(task: asyncio.Task[None]) -> None:
    """Waits for a background task to end; an import that runs in a thread cannot be cut short."""
    await asyncio.wait([task])


async def _start_lines(app: App, env: Mapping[str, str]) -> list[str]:
    """What KubeChat uses, a line each: cluster, database, cache, model and where text goes, data folder."""
    from assistant.models.catalog import found_keys
    from assistant.models.request import ModelChoice

    settings = app.settings
    identity = await app.identity()
    database = "PostgreSQL at KUBECHAT_DATABASE_URL" if settings.storage.database_url else "embedded PostgreSQL"
    lines = [
        f"cluster   {identity.label} ({app.opened.reason})",
        f"database  {database}",
        "cache     in this process",
        f"model     {app.model_line}",
        f"data      {settings.storage.data_dir}",
    ]
    if app.opened.notice:
        lines.insert(0, f"notice    {app.opened.notice}")
    used = ModelChoice(settings.model.name, settings.model.url) if settings.model.name else None
    for found in found_keys(env, used):
        if used is None:
            lines.append(f"note      {found.variable} is set but not used; to use it: {found.example_line}")
    return lines


def masking_key(data_dir: Path) -> bytes:
    """This installation's masking key, made on first use. Raises StorageUnavailable when it cannot be kept."""
    path = data_dir / "masking.key"
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            key = path.read_bytes()
            if len(key) >= 32:
                return key
            descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC, 0o600)  # a start that was killed left it short
        key = secrets.token_bytes(32)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
        return key
    except OSError as error:
        raise StorageUnavailable(
            f"The data folder {data_dir} cannot be written. Set KUBECHAT_DATA_DIR to one that can."
        ) from error
