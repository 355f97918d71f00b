"""Images that cannot be pulled or cannot run on the node: which image, why, and what worked before.

Reads the kubelet's waiting reasons and the container runtime's messages (containerd, CRI-O and dockershim word them
differently); where the back-off hides the cause, the newest Failed event has it. One finding per workload and
container.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from agents.analyzers.base import (
    Analyzer,
    Code,
    Role,
    finding,
    missing_field,
    not_listed,
    seen_event,
    seen_field,
    seen_log,
)
from agents.analyzers.nearness import listing
from agents.analyzers.pods import (
    Case,
    Container,
    containers_of,
    crashing,
    event_evidence,
    events_of,
    is_ready,
    last_words,
    per_workload,
    state_evidence,
    template_field,
    unwell_containers,
)
from agents.cluster.objects import K8sObject, containers, integer, mapping, mappings, pod_spec, strings, text
from agents.cluster.secrets import secret_keys
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity

_D, _E, _C = Domain.DEPLOYMENT, Severity.ERROR, Role.CAUSE
_SET_IMAGE = "Set the image that exists: `kubectl -n {ns} set image {target} {container}={good_image}`"
_WATCH = "Then watch it: `kubectl -n {ns} get pods -w`"

NOT_FOUND = Code(
    "image-not-found", _D, _E, _C, "The image or its tag does not exist in the registry",
    "Check that the tag exists: `crane ls {repository}` or the registry's page.\n"
    + _SET_IMAGE + "\nor go back: `kubectl -n {ns} rollout undo {target}`\n" + _WATCH, 0.97,
)  # fmt: skip
UNAUTHORIZED = Code(
    "image-pull-unauthorized", _D, _E, _C, "The registry refuses the pull: credentials are missing or not accepted",
    "Make a pull secret for {registry}: `kubectl -n {ns} create secret docker-registry {secret} "
    "--docker-server={registry} --docker-username=USER --docker-password=TOKEN`\n"
    "Name it in the pod template under `imagePullSecrets` (or on the ServiceAccount), then `kubectl -n {ns} rollout "
    "restart {target}`", 0.93,
)  # fmt: skip
SECRET_MISSING = Code(
    "image-pull-secret-missing", _D, _E, _C, "The pull secret that the pod names does not exist",
    "Make the secret: `kubectl -n {ns} create secret docker-registry {secret} --docker-server={registry} "
    "--docker-username=USER --docker-password=TOKEN`\nThe kubelet tries again by itself.", 0.96,
)  # fmt: skip
UNREACHABLE = Code(
    "image-registry-unreachable", _D, _E, _C, "The node cannot reach the image registry",
    "From the node, try the registry: `curl -sv https://{registry}/v2/`\n"
    "Check name resolution, proxy and firewall of the nodes; the pull is repeated by itself once it answers.", 0.9,
)  # fmt: skip
UNTRUSTED = Code(
    "image-registry-untrusted", _D, _E, _C, "The node does not trust the registry's certificate, or it speaks no TLS",
    "Put the registry's CA into the runtime's trust on every node (containerd: `/etc/containerd/certs.d/{registry}/"
    "hosts.toml`), or mend the certificate: `openssl s_client -connect {registry}:443 -servername {registry}`", 0.93,
)  # fmt: skip
NAME_INVALID = Code(
    "image-name-invalid", _D, _E, _C, "The image name is not a valid reference",
    "Write a valid name (lower case, one tag, no blanks): " + _SET_IMAGE, 0.98,
)  # fmt: skip
NEVER_PRESENT = Code(
    "image-never-present", _D, _E, _C, "imagePullPolicy is Never and the node does not have the image",
    "Allow pulling: set `imagePullPolicy: IfNotPresent` for container {container} (`kubectl -n {ns} edit {target}`), "
    "or load the image onto the node first.", 0.97,
)  # fmt: skip
RATE_LIMITED = Code(
    "image-pull-rate-limited", _D, _E, _C, "The registry limits the number of pulls",
    "Wait for the window to pass, or pull with an account: `kubectl -n {ns} create secret docker-registry {secret} "
    "--docker-server={registry} --docker-username=USER --docker-password=TOKEN`\nLasting: a mirror or pull-through "
    "cache, and `imagePullPolicy: IfNotPresent`.", 0.95,
)  # fmt: skip
WRONG_ARCHITECTURE = Code(
    "image-wrong-architecture", _D, _E, _C, "The image is not built for the node's processor architecture",
    "Build the image for the node's platform (`docker buildx build --platform linux/amd64,linux/arm64 …`), or pin the "
    "pods to fitting nodes with `nodeSelector: {{kubernetes.io/arch: …}}`.", 0.95,
)  # fmt: skip
NO_SPACE = Code(
    "image-no-disk-space", Domain.STORAGE, _E, _C, "The node has no disk space left to unpack the image",
    "Free space on the node: `crictl rmi --prune`, and look at its disk: `kubectl describe node {node}`", 0.95,
)  # fmt: skip
PULL_FAILED = Code(
    "image-pull-failed", _D, _E, _C, "The image cannot be pulled",
    "Read the runtime's words: `kubectl -n {ns} describe pod {pod}`, and try the pull on the node: `crictl pull "
    "{image}`", 0.8,
)  # fmt: skip

_WAITING = frozenset({
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
    "ImageInspectError", "SignatureValidationFailed",
})  # fmt: skip
_REFUSED = (
    r"unauthorized|authentication required|authorization failed|access denied|\bdenied\b|no basic auth|"
    r"insufficient_scope|40[13] (?:Unauthorized|Forbidden)|status(?: code)?:? 40[13]\b|failed to authorize|"
    r"failed to fetch oauth token"
)
_NO_ANSWER = (
    r"dial tcp|no such host|i/o timeout|connection (?:refused|reset)|handshake timeout|deadline exceeded|"
    r"no route to host|network is unreachable|server misbehaving|RegistryUnavailable|unexpected EOF|"
    r"status(?: code)?:? 50[0-9]\b|50[234] (?:Bad|Service|Gateway)|proxyconnect"
)
_RULES: tuple[tuple[Code, re.Pattern[str]], ...] = tuple(
    (code, re.compile(pattern, re.IGNORECASE))
    for code, pattern in (
        (NAME_INVALID, r"InvalidImageName|couldn't parse image (?:name|reference)|invalid reference format"),
        (NEVER_PRESENT, r"ErrImageNeverPull|is not present with pull policy of Never"),
        (RATE_LIMITED, r"toomanyrequests|429 too many requests|status(?: code)?:? 429|pull rate limit|rate exceeded"),
        (WRONG_ARCHITECTURE, r"no match for platform|no matching manifest for|no image found in .* for architecture"),
        (NO_SPACE, r"no space left on device"),
        (UNTRUSTED, r"x509:|certificate (?:is not|signed by|has expired)|server gave HTTP response to HTTPS client"),
        (UNAUTHORIZED, _REFUSED),
        (UNREACHABLE, _NO_ANSWER),
        (NOT_FOUND, r"not ?found|manifest unknown|name unknown|does not exist|no such image|404\b"),
    )
)  # fmt: skip
_HIDDEN = re.compile(r"repository does not exist or may require", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ImageName:
    """The parts of an image reference; `registry` is docker.io where none is written."""

    registry: str
    repository: str
    tag: str

    @property
    def without_tag(self) -> str:
        return f"{self.registry}/{self.repository}"


def image_name(image: str) -> ImageName:
    """Splits a reference as the runtimes do; a missing tag is `latest`, a digest counts as the tag."""
    name, _, digest = image.partition("@")
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, path = first, rest
    else:
        registry, path = "docker.io", name if slash else f"library/{name}"
    path, colon, tag = path.partition(":")
    return ImageName(registry, path, digest or (tag if colon else "latest"))


def image_pulls(view: ClusterView) -> Iterator[Finding]:
    """Containers that wait for an image that cannot be had."""
    hits = ((c.pod, c.name, c) for c in unwell_containers(view) if c.waiting in _WAITING)
    for case in per_workload(view, hits):
        said = _what_was_said(view, case.fact)
        code = next((code for code, pattern in _RULES if pattern.search(said)), PULL_FAILED)
        hidden = code is UNAUTHORIZED and _HIDDEN.search(said) and _repository_mistyped(view, case)
        if hidden and not _credentials(view, case.pod, image_name(case.fact.image))[0]:
            code = NOT_FOUND  # a registry that hides what one may not see says "denied" for a mistyped name
        yield _pull_finding(view, case, code)


def _what_was_said(view: ClusterView, container: Container) -> str:
    """The waiting reason and message, and the newest events about this container's image."""
    failed = [e.message for e in events_of(view, container.pod.ref, "Failed") if container.image in e.message]
    return "\n".join((container.waiting, container.waiting_message, *failed[:2]))


def _pull_finding(view: ClusterView, case: Case[Container], code: Code) -> Finding:
    container, workload = case.fact, case.workload
    image, good = container.image, _image_that_worked(view, case)
    name = image_name(image)
    holder, path = template_field(workload, case.pod, container, "image")
    evidence = [seen_field(holder, path, image), *state_evidence(container)[:1]]
    if "rror" not in container.waiting_message:  # the back-off hides the cause, the event tells it
        evidence += event_evidence(view, case.pod.ref, image, "Failed")
    why = f"{code.title[0].lower()}{code.title[1:]}"
    message = f"Container {container.name} of {case.count} cannot start: {why} ({image})."
    related = list(case.related)
    secret = f"{name.registry.partition(':')[0]}-pull"
    if code is UNAUTHORIZED:
        absent, note, found, refs = _credentials(view, case.pod, name)
        code, secret = (SECRET_MISSING, absent) if absent else (code, secret)
        message, evidence, related = message + " " + note, [*evidence, *found], [*related, *refs]
        if absent:
            message = f"Container {container.name} of {case.count} cannot pull {image}: {note}"
    elif code is NEVER_PRESENT:
        message += " imagePullPolicy is Never."
        evidence.append(seen_field(case.pod, f"{container.path}.imagePullPolicy", "Never"))
    elif code in (NOT_FOUND, NAME_INVALID, WRONG_ARCHITECTURE) and good:
        message += " " + _difference(image, good[0])
        evidence.append(good[1])
    if code is WRONG_ARCHITECTURE:
        evidence += _architecture(view, case.pod)
    return finding(
        code, workload, message, evidence, related=related,
        image=image, good_image=good[0] if good else f"{name.without_tag}:TAG", repository=name.without_tag,
        registry=name.registry, container=container.name, target=f"{workload.kind.lower()}/{workload.name}",
        secret=secret, pod=case.pod.name, node=text(case.pod.spec, "nodeName") or "NODE",
    )  # fmt: skip


def _difference(image: str, good: str) -> str:
    bad, was = image_name(image), image_name(good)
    if bad.without_tag == was.without_tag:
        return f"The tag {was.tag} of the same image works: {good}; the tag asked for is {bad.tag}."
    what = "registry" if bad.registry != was.registry else "repository"
    return f"{good} works; the {what} asked for is another one: {bad.without_tag} instead of {was.without_tag}."


def _image_that_worked(view: ClusterView, case: Case[Container]) -> tuple[str, Evidence] | None:
    """The image of an earlier revision of the workload, or of a running pod with the same or a very similar repository,
    with evidence that it is in use."""
    container = case.fact
    for pod in view.pods_of(case.workload):
        if is_ready(pod):
            for other in containers_of(pod):
                if other.name == container.name and other.image != container.image:
                    return other.image, seen_field(pod, f"{other.path}.image", other.image)
    revisions = sorted(
        (r for r in view.owned_by(case.workload, "ReplicaSet")),
        key=lambda r: integer(r.annotations, "deployment.kubernetes.io/revision") or 0,
        reverse=True,
    )
    for replica_set in revisions:
        for path, spec in containers(pod_spec(replica_set)):
            if text(spec, "name") == container.name and text(spec, "image") not in ("", container.image):
                image = text(spec, "image")
                return image, seen_field(replica_set, f"spec.template.spec.{path}.image", image)
    running = view.derived(_running_images)
    repository = image_name(container.image).without_tag
    near = get_close_matches(repository, list(running), n=1, cutoff=0.9)
    if not near or running[near[0]].image == container.image:
        return None
    other = running[near[0]]
    return other.image, seen_field(other.pod, f"{other.path}.image", other.image)


def _running_images(view: ClusterView) -> Mapping[str, Container]:
    """repository -> one container of a ready pod that runs it."""
    found: dict[str, Container] = {}
    for pod in view.of_kind("Pod"):
        if is_ready(pod):
            for container in containers_of(pod):
                found.setdefault(image_name(container.image).without_tag, container)
    return found


def _repository_mistyped(view: ClusterView, case: Case[Container]) -> bool:
    """Whether the repository is nearly that of an image that works; another registry altogether is no slip."""
    good = _image_that_worked(view, case)
    if good is None:
        return False
    worked, asked = image_name(good[0]).without_tag, image_name(case.fact.image).without_tag
    return worked != asked and bool(get_close_matches(asked, [worked], n=1, cutoff=0.8))


def _credentials(
    view: ClusterView, pod: K8sObject, name: ImageName
) -> tuple[str, str, list[Evidence], list[ObjectRef]]:
    """(name of a missing pull secret or "", what is wrong with the pod's credentials, evidence, related Secrets)."""
    named = [text(s, "name") for s in mappings(pod.spec, "imagePullSecrets") if text(s, "name")]
    refs = [ObjectRef("v1", "Secret", pod.namespace, n) for n in named]
    if not named:
        note = f"The pod names no imagePullSecrets, so {name.registry} is asked without credentials."
        account = text(pod.spec, "serviceAccountName") or "default"
        return "", note, [missing_field(pod, "spec.imagePullSecrets", f"ServiceAccount {account}")], []
    evidence = [seen_field(pod, "spec.imagePullSecrets", named)]
    for ref in refs:
        secret = view.resolve(ref)
        if secret is None and view.listed("Secret", pod.namespace):
            present = [s.name for s in view.in_namespace("Secret", pod.namespace) if "docker" in text(s.raw, "type")]
            near = f" Pull secrets that exist there: {listing(present)}." if present else ""
            where = f"named in imagePullSecrets does not exist in namespace {pod.namespace}"
            note = f"the pull secret {ref.name} {where}.{near}"
            return ref.name, note, [*evidence, not_listed(view, ref, present)], [ref]
    notes = [note for ref in refs if (note := _coverage(view.resolve(ref), name.registry))]
    for ref in refs:
        if (secret := view.resolve(ref)) is not None:
            evidence.append(seen_field(secret, "registries", _registries(secret) or "none"))
    refused = f"The registry does not accept the credentials of {listing(named)}."
    return "", " ".join(notes) or refused, evidence, refs


def _registries(secret: K8sObject) -> list[str]:
    return [host for facts in secret_keys(secret.raw).values() for host in strings(facts, "registries")]


def _coverage(secret: K8sObject | None, registry: str) -> str:
    """What keeps a Secret from serving this registry; "" when it seems to."""
    if secret is None:
        return ""
    hosts = _registries(secret)
    if not hosts:
        kind = text(secret.raw, "type") or "Opaque"
        return f"Secret {secret.name} (type {kind}) holds no registry credentials."
    plain = {re.sub(r"^https?://", "", h).split("/")[0] for h in hosts}
    wanted = {"index.docker.io", "docker.io", "registry-1.docker.io"} if registry == "docker.io" else {registry}
    if plain & wanted:
        return ""
    return f"Secret {secret.name} holds credentials for {listing(sorted(plain))}, not for {registry}."


def foreign_binaries(view: ClusterView) -> Iterator[Finding]:
    """Containers whose program is built for another processor: the kernel says "exec format error"."""
    hits = ((c.pod, c.name, c) for c in unwell_containers(view) if crashing(view, c) and _format_error(view, c))
    for case in per_workload(view, hits):
        container = case.fact
        message = (
            f'Container {container.name} of {case.count} ends at once with "exec format error": {container.image} is '
            f"not built for the architecture of node {text(case.pod.spec, 'nodeName')}, or its entry point is a script "
            "without an interpreter line."
        )
        evidence = [*state_evidence(container), *_format_error(view, container), *_architecture(view, case.pod)]
        yield finding(
            WRONG_ARCHITECTURE, case.workload, message, evidence[:5], related=case.related, confidence=0.85
        )  # fmt: skip


def _format_error(view: ClusterView, container: Container) -> list[Evidence]:
    words = "exec format error"
    previous, number, lines = last_words(view, container)
    at = [i for i, line in enumerate(lines) if words in line]
    if at:
        return [seen_log(container.pod, container.name, [lines[at[0]]], previous=previous, number=number + at[0])]
    told = words in text(container.ended, "message") or words in container.waiting_message
    events = [e for e in events_of(view, container.pod.ref, "Failed") if words in e.message]
    return [seen_event(e) for e in events[:1]] or (state_evidence(container)[-1:] if told else [])


def _architecture(view: ClusterView, pod: K8sObject) -> list[Evidence]:
    node = view.get("Node", "", text(pod.spec, "nodeName"))
    architecture = text(mapping(node.status, "nodeInfo"), "architecture") if node else ""
    return [seen_field(node, "status.nodeInfo.architecture", architecture)] if node and architecture else []


CODES: tuple[Code, ...] = (
    NOT_FOUND, UNAUTHORIZED, SECRET_MISSING, UNREACHABLE, UNTRUSTED, NAME_INVALID, NEVER_PRESENT, RATE_LIMITED,
    WRONG_ARCHITECTURE, NO_SPACE, PULL_FAILED,
)  # fmt: skip
ANALYZERS: tuple[Analyzer, ...] = (image_pulls, foreign_binaries)
