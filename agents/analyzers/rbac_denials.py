"""What the API server refused to a workload, read from its log or events, and which role or binding is at fault.

A denial is compared with the roles and bindings that were read: a rule that is missing, a role bound in the wrong
namespace, a binding that names another account, a workload that runs with the wrong account. A denial that the present
roles would permit is history and is not reported. It is an error when the container that was refused is not well, or
when a workload that was asked about is refused again and again until now; else a warning, and an info for single lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agents.analyzers.accounts import (
    AccessIndex,
    Grant,
    Permission,
    describe_rule,
    grant_allows,
    is_built_in,
    resource_in,
    rule_allows,
)
from agents.analyzers.base import Analyzer, Code, Role, finding, seen_field
from agents.analyzers.denials import Denial, denials
from agents.analyzers.grants import binds, grant_evidence, in_ns, rule_evidence
from agents.analyzers.nearness import likeness
from agents.analyzers.ownership import account_name, account_path, manual_change_note
from agents.analyzers.remedies import Composed, word
from agents.cluster.objects import K8sObject, mappings, strings
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, ObjectRef, Severity
from agents.prose import one_line

_CHECK = "`kubectl auth can-i {verb} {resource}{scope_flag} --as=system:serviceaccount:{account_ns}:{account}`"

PERMISSION_MISSING = Code(
    "rbac-permission-missing", Domain.SECURITY, Severity.ERROR, Role.CAUSE,
    "A workload is refused by the API server: no role gives it the permission it needs",
    "Add this rule (`kubectl edit {target}`):\n{rule_yaml}\nThen check: " + _CHECK + "{gitops}", 0.94,
)  # fmt: skip
BINDING_TOO_NARROW = Code(
    "rbac-binding-too-narrow", Domain.SECURITY, Severity.ERROR, Role.CAUSE,
    "The role permits it, but the binding holds in another namespace or in one alone",
    "Bind the role where the call is made (a cluster-wide list needs a ClusterRoleBinding):\n"
    "`{bind_command}`\nThen check: " + _CHECK + "{gitops}", 0.92,
)  # fmt: skip
BINDING_WRONG_SUBJECT = Code(
    "rbac-binding-wrong-subject", Domain.SECURITY, Severity.ERROR, Role.CAUSE,
    "A binding gives the needed rights to another account than the one the workload uses",
    "Correct the subject of the binding to {account_ns}/{account}: `kubectl edit {kind} {name}{in_ns}`\n"
    "Then check: " + _CHECK + "{gitops}", 0.88,
)  # fmt: skip
WRONG_ACCOUNT = Code(
    "workload-uses-wrong-account", Domain.SECURITY, Severity.ERROR, Role.CAUSE,
    "A workload runs with the default account although an account with the needed rights exists",
    "`kubectl -n {ns} set serviceaccount {kind}/{name} {right_account}`\n"
    "Then watch: `kubectl -n {ns} get pods -w`{gitops}",
    0.9,
)  # fmt: skip
_READ_TOGETHER = {"list": ["get", "list", "watch"], "watch": ["get", "list", "watch"]}
_NAME_LIKE = 0.6
_CALM_REPEATS = 3  # a ready workload that was refused less often than this probably asks for something optional


def refused_permissions(view: ClusterView) -> Iterator[Finding]:
    """Refusals that the roles read would still give, one finding per account, thing to change and workload."""
    index = view.derived(AccessIndex)
    groups: dict[tuple[Any, ...], list[Denial]] = {}
    for denial in view.derived(denials):
        if not index.allows(*denial.account, denial.wanted):
            key = (denial.account, denial.workload.ref.key, denial.wanted.scope == "")
            groups.setdefault(key, []).append(denial)
    for group in groups.values():
        group.sort(key=lambda d: (not d.unwell, -d.count))
        yield _explained(view, index, group)


def _explained(view: ClusterView, index: AccessIndex, group: Sequence[Denial]) -> Finding:
    denial = group[0]
    grants = index.direct_grants(*denial.account)
    for grant in grants:
        if grant_allows(grant, denial.wanted):
            return _too_narrow(grant, denial)
    missing = next((g for g in grants if g.role is None and not g.rules and _role_known_absent(view, g)), None)
    if missing is not None:
        return _role_gone(missing, denial, group)
    if not grants and (found := _misdirected(view, index, denial)) is not None:
        return found
    return _rule_missing(view, _grant_to_extend(grants, denial), denial, group)


def _role_known_absent(view: ClusterView, grant: Grant) -> bool:
    return not is_built_in(grant.role_ref.name) and view.listed(grant.role_ref.kind, grant.role_ref.namespace)


def _refused(denial: Denial) -> str:
    namespace, account = denial.account
    where = f"in namespace {denial.wanted.scope}" if denial.wanted.scope else "at the cluster scope"
    said = "" if denial.wanted.path else f" {where}"
    return (
        f"{denial.workload.kind} {denial.workload.name} runs with ServiceAccount {namespace}/{account}, which is "
        f"forbidden to {denial.wanted}{said}"
    )


def _severity(denial: Denial) -> Severity:
    if denial.unwell or denial.lasting:
        return Severity.ERROR
    return Severity.WARNING if denial.count >= _CALM_REPEATS else Severity.INFO


def _facts(denial: Denial, holder: K8sObject | None) -> dict[str, Any]:
    wanted = denial.wanted
    resource = wanted.path or (f"{wanted.resource}.{wanted.group}" if wanted.group else wanted.resource)
    return {
        "verb": wanted.verb,
        "resource": resource,
        "scope_flag": Composed(f" -n {word(wanted.scope)}" if wanted.scope else ("" if wanted.path else " -A")),
        "account_ns": denial.account[0],
        "account": denial.account[1],
        "gitops": manual_change_note(holder) if holder is not None else "",
    }


def _related(denial: Denial, *others: ObjectRef) -> list[ObjectRef]:
    refs = [ObjectRef("v1", "ServiceAccount", *denial.account), denial.workload.ref, *others]
    return refs if denial.pod is None else [*refs, denial.pod.ref]


def _too_narrow(grant: Grant, denial: Denial) -> Finding:
    namespace, account = denial.account
    scope = denial.wanted.scope
    role, holder = word(grant.role_ref.name), word(f"{namespace}:{account}")
    if scope:
        kind = "role" if grant.role_ref.kind == "Role" else "clusterrole"
        command = (
            f"kubectl -n {word(scope)} create rolebinding {word(grant.binding.name)} --{kind}={role} "
            f"--serviceaccount={holder}"
        )
    else:
        command = (
            f"kubectl create clusterrolebinding {word(f'{namespace}-{account}')} --clusterrole={role} "
            f"--serviceaccount={holder}"
        )
    needed = f"in namespace {scope}" if scope else "cluster-wide, which needs a ClusterRoleBinding of a ClusterRole"
    return finding(
        BINDING_TOO_NARROW,
        grant.binding,
        f"{_refused(denial)}. {grant.role_ref.kind} {grant.role_ref.name} permits it, but "
        f"{grant.binding.kind} {grant.binding.name} binds it {grant.where} only; the call is made {needed}.",
        [
            denial.evidence,
            *_binding_evidence(grant, denial),
            *rule_evidence(grant, _closest(grant.rules, denial.wanted)),
        ],
        severity=_severity(denial),
        related=_related(denial, grant.role_ref),
        bind_command=Composed(command),
        **_facts(denial, grant.binding),
    )


def _binding_evidence(grant: Grant, denial: Denial) -> list[Evidence]:
    subject = next((s for s in grant.subjects if s.account == denial.account), None)
    if subject is None:
        return [seen_field(grant.binding, "roleRef", f"{grant.role_ref.kind} {grant.role_ref.name}")]
    return grant_evidence(grant, subject, None)


def _role_gone(grant: Grant, denial: Denial, group: Sequence[Denial]) -> Finding:
    return finding(
        PERMISSION_MISSING,
        grant.binding,
        f"{_refused(denial)}: {binds(grant)} to it, but that role does not exist (not found), so it grants nothing.",
        [denial.evidence, *_binding_evidence(grant, denial)],
        severity=_severity(denial),
        related=_related(denial, grant.role_ref),
        target=_editable(grant.role_ref),
        rule_yaml=_rule_yaml(group),
        **_facts(denial, grant.binding),
    )


def _misdirected(view: ClusterView, index: AccessIndex, denial: Denial) -> Finding | None:
    """For an account that no binding names: the workload's true account, or the binding that missed this account."""
    namespace, account = denial.account
    fitting = [g for g in index.grants if g.scope in ("", denial.wanted.scope) and grant_allows(g, denial.wanted)]
    for grant in fitting:
        for subject in grant.subjects:
            key = subject.account
            if key is None or is_built_in(grant.role_ref.name):
                continue
            exists = view.get("ServiceAccount", *key) is not None
            if (
                account == "default"
                and key[0] == namespace
                and exists
                and likeness(key[1], denial.workload.name) >= 0.6
            ):
                return _wrong_account(grant, denial, key[1])
            same_name = key[1] == account and key[0] != namespace
            gone = view.listed("ServiceAccount", key[0]) and not exists
            if same_name or (gone and key[0] == namespace and likeness(key[1], account) >= _NAME_LIKE):
                return _wrong_subject(grant, denial, subject.path, str(subject))
    return None


def _wrong_account(grant: Grant, denial: Denial, right: str) -> Finding:
    workload = denial.workload
    path = account_path(workload)
    shown = account_name(workload)
    return finding(
        WRONG_ACCOUNT,
        workload,
        f"{_refused(denial)}. {binds(grant)}, which permits it, to ServiceAccount {right} of the same namespace; the "
        f"pod template names no account or `{shown}` instead of `{right}` in serviceAccountName.",
        [
            denial.evidence,
            Evidence(kind="field", object=workload.ref, locator=path, excerpt=f"{path}: {shown}"),
            *[seen_field(grant.binding, s.path, str(s)) for s in grant.subjects if s.account][:1],
        ],
        severity=_severity(denial),
        related=_related(denial, ObjectRef("v1", "ServiceAccount", workload.namespace, right), grant.binding.ref),
        right_account=right,
        **_facts(denial, workload),
    )


def _wrong_subject(grant: Grant, denial: Denial, path: str, subject: str) -> Finding:
    namespace, account = denial.account
    return finding(
        BINDING_WRONG_SUBJECT,
        grant.binding,
        f"{_refused(denial)}. {binds(grant)}, which permits it, but to {subject} instead of ServiceAccount "
        f"{namespace}/{account}.",
        [denial.evidence, seen_field(grant.binding, path, subject), *_closest_evidence(grant, denial)],
        severity=_severity(denial),
        related=_related(denial, grant.role_ref),
        in_ns=in_ns(grant.binding.ref),
        **_facts(denial, grant.binding),
    )


def _grant_to_extend(grants: Sequence[Grant], denial: Denial) -> Grant | None:
    """The grant whose role should get the rule: one that holds where the call is made, whose role is not built in, with
    rules for the same resource or API group, and with a name like the account's."""
    usable = [
        g
        for g in grants
        if g.role is not None
        and not is_built_in(g.role_ref.name)
        and (g.scope == "" if denial.wanted.scope == "" else g.scope in ("", denial.wanted.scope))
    ]
    wanted = denial.wanted

    def fit(grant: Grant) -> tuple[bool, bool, bool, float]:
        resources = any(resource_in(wanted.resource, strings(r, "resources")) for r in grant.rules)
        groups = any(wanted.group in strings(r, "apiGroups") for r in grant.rules)
        return (resources, groups, grant.scope == wanted.scope, likeness(grant.role_ref.name, denial.account[1]))

    return max(usable, key=fit, default=None)


def _closest(rules: Sequence[Mapping[str, Any]], wanted: Permission) -> Mapping[str, Any]:
    """The rule that comes nearest to a permission, to show beside the refusal."""

    def fit(rule: Mapping[str, Any]) -> tuple[bool, bool, bool]:
        return (
            resource_in(wanted.resource, strings(rule, "resources")),
            wanted.group in strings(rule, "apiGroups"),
            wanted.verb in strings(rule, "verbs"),
        )

    return max(rules, key=fit, default={})


def _closest_evidence(grant: Grant, denial: Denial) -> list[Evidence]:
    return rule_evidence(grant, _closest(grant.rules, denial.wanted))


def _unbound_role(view: ClusterView, wanted: Permission) -> str:
    """Words about a role that would permit it and that nothing has to be added to, "" where there is none."""
    places = [("ClusterRole", ""), *([("Role", wanted.scope)] if wanted.scope else [])]
    for kind, namespace in places:
        for role in view.in_namespace(kind, namespace):
            if not is_built_in(role.name) and any(rule_allows(r, wanted) for r in mappings(role.raw, "rules")):
                return f" {kind} {role.name} would permit it, but no binding gives it to this account."
    return ""


def _rule_missing(view: ClusterView, grant: Grant | None, denial: Denial, group: Sequence[Denial]) -> Finding:
    wanted = denial.wanted
    also = "; ".join(dict.fromkeys(str(d.wanted) for d in group[1:6] if str(d.wanted) != str(wanted)))
    also_text = f" It is refused as well: {also}." if also else ""
    if grant is None or grant.role is None:
        known = view.listed("RoleBinding", denial.account[0]) or view.listed("ClusterRoleBinding")
        bound = view.derived(AccessIndex).direct_grants(*denial.account)
        names = ", ".join(f"{g.role_ref.kind} {g.role_ref.name} ({g.where})" for g in bound[:4])
        none = "no role is bound to this account" if known else "the roles bound to this account could not be read"
        account = view.get("ServiceAccount", *denial.account) or ObjectRef("v1", "ServiceAccount", *denial.account)
        return finding(
            PERMISSION_MISSING,
            account,
            f"{_refused(denial)}: "
            + (f"it only has {names}." if names else f"{none}.")
            + _unbound_role(view, wanted)
            + also_text,
            [denial.evidence, *[e for g in bound[:2] for e in _binding_evidence(g, denial)]],
            severity=_severity(denial),
            related=_related(denial, *(g.binding.ref for g in bound), *(g.role_ref for g in bound)),
            target=Composed(f"a new {'Role' if wanted.scope else 'ClusterRole'} bound to the account"),
            rule_yaml=_rule_yaml(group),
            **_facts(denial, None),
        )
    closest = _closest(grant.rules, wanted)
    return finding(
        PERMISSION_MISSING,
        grant.role,
        f"{_refused(denial)}: {grant.role_ref.kind} {grant.role_ref.name}, bound to it by {grant.binding.kind} "
        f"{grant.binding.name}, has no rule for that permission{_difference(closest, wanted)}.{also_text}",
        [denial.evidence, *_rules_evidence(grant), *_binding_evidence(grant, denial)][:5],
        severity=_severity(denial),
        related=_related(denial, grant.binding.ref),
        target=_editable(grant.role_ref),
        rule_yaml=_rule_yaml(group),
        **_facts(denial, grant.role),
    )


def _rules_evidence(grant: Grant) -> list[Evidence]:
    if grant.role is None:
        return []
    shown = "; ".join(describe_rule(r) for r in mappings(grant.role.raw, "rules")) or "[]"
    return [seen_field(grant.role, "rules", shown)]


def _difference(rule: Mapping[str, Any], wanted: Permission) -> str:
    """How the nearest rule falls short, for the rules that nearly fit."""
    if not rule or not resource_in(wanted.resource, strings(rule, "resources")):
        return ""
    groups, verbs, names = strings(rule, "apiGroups"), strings(rule, "verbs"), strings(rule, "resourceNames")
    if wanted.group not in groups and "*" not in groups:
        shown = ", ".join(f'"{g}"' for g in groups)
        return f': its rule names {wanted.resource} in API group {shown}, and they are in "{wanted.group}"'
    if wanted.verb not in verbs and "*" not in verbs:
        return f": its rule for {wanted.resource} permits {', '.join(verbs)}, not {wanted.verb}"
    if names:
        return f": its rule for {wanted.resource} holds only for those named {', '.join(names)}"
    return ""


def _editable(ref: ObjectRef) -> Composed:
    """What `kubectl edit` is given to change a role."""
    return Composed(f"{word(ref.kind.lower())} {word(ref.name)}{in_ns(ref)}")


def _rule_yaml(group: Sequence[Denial]) -> Composed:
    """The smallest rules that permit all refusals of a group, as YAML under `rules:`."""
    needed: dict[tuple[str, str], list[str]] = {}
    for denial in group:
        wanted = denial.wanted
        verbs = needed.setdefault((wanted.group, wanted.path or wanted.resource), [])
        for verb in _READ_TOGETHER.get(wanted.verb, [wanted.verb]):
            if verb not in verbs:
                verbs.append(verb)
    lines = []
    for (api_group, resource), verbs in needed.items():
        shown = ", ".join(verbs)
        if resource.startswith("/"):
            url = one_line(resource).replace("`", "'")
            lines.append(f'- nonResourceURLs: ["{url}"]\n  verbs: [{shown}]')
        else:
            lines.append(f'- apiGroups: ["{api_group}"]\n  resources: ["{resource}"]\n  verbs: [{shown}]')
    return Composed("\n".join(lines))


ANALYZERS: tuple[Analyzer, ...] = (refused_permissions,)
CODES: tuple[Code, ...] = (
    PERMISSION_MISSING,
    BINDING_TOO_NARROW,
    BINDING_WRONG_SUBJECT,
    WRONG_ACCOUNT,
)
