"""What a question is about: whether it needs a cluster, which namespaces and objects it names, what "it" refers to.

Two steps. `read_question` looks at the words alone. `resolve` compares them with the names that really exist, so that
"checkout" is the Deployment `checkout` and not a verb, and a name that does not exist is said together with those that
are similar. A follow-up that names nothing new ("and its logs?") keeps what the conversation was about; "the other
namespace" moves to where the same names stand.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agents.cluster.objects import K8sObject
from agents.cluster.similar import is_slip, nearest
from agents.evidence import ObjectRef

MAX_OBJECTS = 20
MAX_QUESTION = 20_000
_READ_CHARACTERS = 4_000  # beyond that a question is a pasted log: names in it are read from its beginning


class Intent(StrEnum):
    """What kind of look is asked for, beside the diagnosis."""

    LOGS = "logs"
    EVENTS = "events"
    DESCRIBE = "describe"


@dataclass(frozen=True, slots=True)
class Mentions:
    """The words of a question that may name something."""

    tokens: tuple[str, ...]
    namespaces: tuple[str, ...]
    places: tuple[str, ...]
    kinds_and_names: tuple[tuple[str, str], ...]
    intents: frozenset[Intent]
    conceptual: bool
    refers_back: bool
    other_namespace: bool
    about_here: bool


@dataclass(frozen=True, slots=True)
class Unknown:
    """A name in the question that does not exist, and names that resemble it."""

    kind: str
    name: str
    similar: tuple[str, ...]

    def __str__(self) -> str:
        hint = f" Similar: {', '.join(self.similar)}." if self.similar else ""
        return f"There is no {self.kind} named {self.name}.{hint}"


@dataclass(frozen=True, slots=True)
class Scope:
    """What the turn looks at. No namespaces and no objects: the whole cluster."""

    needs_cluster: bool = True
    namespaces: frozenset[str] = frozenset()
    objects: tuple[ObjectRef, ...] = ()
    intents: frozenset[Intent] = frozenset()
    unknown: tuple[Unknown, ...] = ()
    follow_up: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of the objects named, once each."""
        return tuple(dict.fromkeys(ref.kind for ref in self.objects))

    def sentence(self) -> str:
        """The scope in words, for the step that people see."""
        if not self.needs_cluster:
            return "a general question: no cluster is read"
        named = ", ".join(str(ref) for ref in self.objects[:4]) + (" and more" if len(self.objects) > 4 else "")
        spaces = ", ".join(sorted(self.namespaces))
        if named:
            return f"{named}" + (" (as before)" if self.follow_up else "")
        if spaces:
            return f"namespace {spaces}" + (" (as before)" if self.follow_up else "")
        return "the whole cluster"


_NAME = r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?"
_TOKEN = re.compile(rf"(?<![\w/-]){_NAME}(?![\w-])")
_NAMESPACE = re.compile(rf"(?:\bnamespaces?\s+|\bns\s+|(?:^|\s)-n[ =]|--namespace[ =])[\"'`]?({_NAME})")
_NAMESPACE_AFTER = re.compile(rf"\b[\"'`]?({_NAME})[\"'`]?\s+namespace\b")
_IN_PLACE = re.compile(rf"\b(?:in|of|from|inside|within)\s+(?:the\s+)?[\"'`]?({_NAME})[\"'`]?")
_KIND_WORDS: Mapping[str, str] = {
    "pod": "Pod",
    "po": "Pod",
    "deployment": "Deployment",
    "deploy": "Deployment",
    "statefulset": "StatefulSet",
    "sts": "StatefulSet",
    "daemonset": "DaemonSet",
    "ds": "DaemonSet",
    "replicaset": "ReplicaSet",
    "service": "Service",
    "svc": "Service",
    "ingress": "Ingress",
    "job": "Job",
    "cronjob": "CronJob",
    "node": "Node",
    "pvc": "PersistentVolumeClaim",
    "claim": "PersistentVolumeClaim",
    "persistentvolumeclaim": "PersistentVolumeClaim",
    "pv": "PersistentVolume",
    "persistentvolume": "PersistentVolume",
    "configmap": "ConfigMap",
    "cm": "ConfigMap",
    "secret": "Secret",
    "hpa": "HorizontalPodAutoscaler",
    "networkpolicy": "NetworkPolicy",
    "serviceaccount": "ServiceAccount",
    "storageclass": "StorageClass",
    "servicemonitor": "ServiceMonitor",
}
_KIND_THEN_NAME = re.compile(
    rf"\b({'|'.join(sorted(_KIND_WORDS, key=len, reverse=True))})s?(?:\s+(?:called|named)\s+|[ /]+)[\"'`]?({_NAME})"
)
_CONCEPT = re.compile(
    r"^\s*(?:so,?\s+|please\s+|can you\s+)*(?:"
    r"what(?:'s| is| are)\s+(?:an?|the (?:difference|purpose|meaning|role|point))\b|what does .* (?:mean|stand for)"
    r"|how (?:do|can|should|would) (?:i|you|we|one)\b|how does\b|how to\b|explain\b|define\b|tell me about\b"
    r"|(?:what|which) is the difference|difference between|when should (?:i|we|you)|should (?:i|we) use"
    r"|(?:hi|hello|hey|thanks|thank you|good (?:morning|evening))\b|who are you|what can you do|help\W*$"
    r"|why (?:would|should) (?:i|we|one)|describe how|can (?:i|you) use|is it possible|what are (?!the pods|our|my))"
)
_HERE = re.compile(r"\b(?:my|our|this|these|here|current(?:ly)?|now|running|cluster has|in the cluster|today)\b")
_BACK = re.compile(
    r"\b(?:it|its|it's|they|them|their|that one|this one|the same|these|those)\b"
    r"|^\s*(?:and|also|what about|how about|why\??$|then)\b"
)
_OTHER_NAMESPACE = re.compile(r"\bother (?:namespace|environment|one)s?\b")
_INTENTS: Mapping[Intent, re.Pattern[str]] = {
    Intent.LOGS: re.compile(r"\blogs?\b|\blog (?:lines?|output)\b|\bstack ?trace\b|\bstdout\b"),
    Intent.EVENTS: re.compile(r"\bevents?\b"),
    Intent.DESCRIBE: re.compile(r"\bdescribe\b|\byaml\b|\bmanifest of\b|\bspec of\b|\bstatus of\b|\bshow me\b"),
}
# Words that happen to be names of namespaces or workloads; they count only where the question says that they are one.
_COMMON_WORDS = """
other others same another each every both whole entire first second next last
a an and any are as at be but by can could did do does for from get go has have how i if in into is it its me my no
not of on or our please should show so some tell than that the their them then there these they this to up us use
was we well were what when where which who why will with would you your all also after before again anything
everything something nothing app application apps api access alert alerts auth autoscaler backend backup cache ci
cluster clusters config configmap configuration container containers cpu cron cronjob daemonset dashboard data
database db default deploy deployment deployments dev disk dns down endpoint endpoints error errors event events
fail failed failing fine fix frontend gateway healthy helm http https image images info ingress ingresses job jobs
kube kubelet kubernetes limit limits log logging logs main master memory metrics monitoring name namespace
namespaces network networking new node nodes old operator operators permission permissions pending pod pods policy
prod production problem problems proxy public queue ready release replica replicas request requests restart restarts
role roles rollout route running scale scheduler secret secrets secure security server service services set slow
stage staging start status storage store system test tests traffic update upgrade user users version volume volumes
web webhook worker workers workload workloads wrong
"""
_COMMON = frozenset(_COMMON_WORDS.split())
_NAMED_KINDS = (
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "CronJob",
    "Job",
    "Service",
    "Ingress",
    "PersistentVolumeClaim",
    "HorizontalPodAutoscaler",
    "ConfigMap",
    "Secret",
    "NetworkPolicy",
    "ServiceMonitor",
    "Node",
    "PersistentVolume",
    "StorageClass",
    "Pod",
)


def read_question(question: str) -> Mentions:
    """What the words say, without looking at a cluster. Linear in the length of the question."""
    text = question[:_READ_CHARACTERS].lower()
    return Mentions(
        tokens=tuple(dict.fromkeys(t.strip(".") for t in _TOKEN.findall(text))),
        namespaces=tuple(dict.fromkeys((*_NAMESPACE.findall(text), *_NAMESPACE_AFTER.findall(text)))),
        places=tuple(dict.fromkeys(_IN_PLACE.findall(text))),
        kinds_and_names=tuple((_KIND_WORDS[k], n) for k, n in _KIND_THEN_NAME.findall(text)),
        intents=frozenset(i for i, pattern in _INTENTS.items() if pattern.search(text)),
        conceptual=bool(_CONCEPT.search(text)),
        refers_back=bool(_BACK.search(text)),
        other_namespace=bool(_OTHER_NAMESPACE.search(text)),
        about_here=bool(_HERE.search(text)),
    )


def resolve(
    mentions: Mentions,
    objects: Sequence[K8sObject],
    *,
    namespace: str | None = None,
    previous: Scope | None = None,
) -> Scope:
    """The scope of a question over the objects that exist.

    `namespace` is the asking person's own (it narrows an ambiguous name and is the focus when nothing is named);
    `previous` is the scope of the turn before, None for the first.
    """
    names = _Names(objects)
    spaces = {n for n in (*mentions.namespaces, *mentions.places) if n in names.namespaces}
    found = names.objects_named(mentions, spaces, namespace)
    in_words = {t for t in mentions.tokens if t in names.namespaces and t not in _COMMON and not names.by_name.get(t)}
    spaces |= in_words
    unknown = _unknown(mentions, names, found)
    follow_up = False
    if not found and not spaces and previous is not None and (mentions.refers_back or mentions.intents):
        found, spaces, follow_up = _carried_over(mentions, names, previous)
    if not found and not spaces and mentions.conceptual and not mentions.about_here:
        return Scope(needs_cluster=False, intents=mentions.intents)
    if not found and not spaces and namespace and namespace in names.namespaces:
        spaces = {namespace}
    spaces |= {ref.namespace for ref in found if ref.namespace}
    return Scope(True, frozenset(spaces), tuple(found[:MAX_OBJECTS]), mentions.intents, tuple(unknown), follow_up)


def needs_no_cluster(mentions: Mentions) -> bool:
    """Whether the words alone show a general question, so that no cluster need be read to know it."""
    return mentions.conceptual and not mentions.about_here and not mentions.namespaces and not mentions.kinds_and_names


class _Names:
    """The names that exist, and what bears them."""

    def __init__(self, objects: Iterable[K8sObject]) -> None:
        self.by_name: dict[str, list[ObjectRef]] = defaultdict(list)
        self.by_kind: dict[str, dict[str, list[ObjectRef]]] = defaultdict(lambda: defaultdict(list))
        self.namespaces: set[str] = set()
        for obj in objects:
            if obj.kind == "Namespace":
                self.namespaces.add(obj.name)
            elif obj.namespace:
                self.namespaces.add(obj.namespace)
            if obj.kind in _NAMED_KINDS:
                self.by_name[obj.name].append(obj.ref)
                self.by_kind[obj.kind][obj.name].append(obj.ref)

    def objects_named(self, mentions: Mentions, spaces: set[str], namespace: str | None) -> list[ObjectRef]:
        found: dict[tuple[str, str, str], ObjectRef] = {}
        for kind, name in mentions.kinds_and_names:
            for ref in self._narrowed(self.by_kind[kind].get(name, []), spaces, namespace):
                found.setdefault(ref.key, ref)
        for token in mentions.tokens:
            if token in _COMMON or token in spaces:
                continue
            for ref in self._best_kind(self._narrowed(self.by_name.get(token, []), spaces, namespace)):
                found.setdefault(ref.key, ref)
        if not found:
            for token in mentions.tokens:
                if len(token) >= 4 and token not in _COMMON and token not in self.namespaces:
                    for ref in self._begins_with(token, spaces, namespace):
                        found.setdefault(ref.key, ref)
        return list(found.values())

    @staticmethod
    def _narrowed(refs: list[ObjectRef], spaces: set[str], namespace: str | None) -> list[ObjectRef]:
        inside = [r for r in refs if r.namespace in spaces] or [
            r for r in refs if namespace and r.namespace == namespace
        ]
        return inside or refs

    @staticmethod
    def _best_kind(refs: list[ObjectRef]) -> list[ObjectRef]:
        """Of things that share a name, the workload: a Deployment's Service and ConfigMap are found through it."""
        if not refs:
            return []
        best = min(_NAMED_KINDS.index(r.kind) for r in refs)
        return [r for r in refs if _NAMED_KINDS.index(r.kind) == best]

    def _begins_with(self, token: str, spaces: set[str], namespace: str | None) -> list[ObjectRef]:
        """Workloads whose name begins with the word: "checkout" for checkout-api and checkout-web."""
        refs = [
            ref
            for kind in ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job")
            for name, refs in self.by_kind[kind].items()
            if name.startswith(f"{token}-")
            for ref in refs
        ]
        refs = self._narrowed(refs, spaces, namespace)
        return refs if len(refs) <= MAX_OBJECTS else []


def _unknown(mentions: Mentions, names: _Names, found: Sequence[ObjectRef]) -> list[Unknown]:
    unknown = []
    known = {ref.name for ref in found}
    for name in mentions.namespaces:
        if name not in names.namespaces and name not in _COMMON:
            unknown.append(Unknown("Namespace", name, tuple(nearest(name, names.namespaces))))
    for kind, name in mentions.kinds_and_names:
        near = nearest(name, names.by_kind[kind], limit=1)
        slip = name not in _COMMON and any(is_slip(name, other) for other in near)
        plausible = slip or "-" in name or (name not in _COMMON and any(c.isdigit() for c in name))
        if plausible and name not in known and name not in names.by_name and name not in names.namespaces:
            similar = nearest(name, names.by_kind[kind]) or nearest(name, names.by_name)
            if not any(n.startswith(f"{name}-") for n in names.by_name):
                unknown.append(Unknown(kind, name, tuple(similar)))
    return unknown


def _carried_over(mentions: Mentions, names: _Names, previous: Scope) -> tuple[list[ObjectRef], set[str], bool]:
    """(objects, namespaces, whether it is a follow-up) of a question that names nothing itself."""
    if not mentions.other_namespace:
        return list(previous.objects), set(previous.namespaces), True
    elsewhere = [
        ref
        for old in previous.objects
        for ref in names.by_kind[old.kind].get(old.name, [])
        if ref.namespace not in previous.namespaces
    ]
    if elsewhere:
        return elsewhere, {ref.namespace for ref in elsewhere}, True
    return [], {n for n in names.namespaces if n not in previous.namespaces and not n.startswith("kube-")}, False
