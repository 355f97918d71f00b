"""Bindings that reach too far or nowhere: to callers without credentials, to everybody, to a role or account that is
not there.

The bindings that a cluster makes for itself are left out. A missing role is only reported where roles were completely
listed, and never for the built-in roles, which records often leave out.
"""

from __future__ import annotations

from collections.abc import Iterator

from agents.analyzers.accounts import WRITE_VERBS, AccessIndex, Grant, Subject, describe_rule, is_built_in
from agents.analyzers.base import Analyzer, Code, Role, finding, not_listed, seen_field
from agents.analyzers.grants import (
    DISCOVERY_ROLES,
    account_refs,
    binds,
    full_rule,
    grant_evidence,
    in_ns,
    is_built_in_binding,
    named,
    ordinary_accounts,
    reads_secrets,
    remedy_facts,
)
from agents.analyzers.nearness import near_or_all
from agents.analyzers.ownership import is_platform_namespace
from agents.cluster.objects import strings
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Finding, ObjectRef, Severity

ANONYMOUS_ADMIN = Code(
    "anonymous-cluster-admin", Domain.SECURITY, Severity.ERROR, Role.CAUSE,
    "Anybody who reaches the API server may do everything, without credentials",
    "Delete the binding at once, then look through the audit log for what was done by system:anonymous:\n"
    "`kubectl delete {kind} {name}{in_ns}`", 0.98,
)  # fmt: skip
ANONYMOUS = Code(
    "anonymous-access-granted", Domain.SECURITY, Severity.WARNING, Role.RISK,
    "Callers without credentials have rights in the cluster",
    "Take system:anonymous and system:unauthenticated out of the binding:\n`kubectl edit {kind} {name}{in_ns}`{gitops}",
    0.95,
)  # fmt: skip
EVERYONE = Code(
    "every-account-bound", Domain.SECURITY, Severity.WARNING, Role.RISK,
    "Every account has rights that only some need",
    "Name the accounts that need the role instead of the group:\n`kubectl edit {kind} {name}{in_ns}`{gitops}", 0.92,
)  # fmt: skip
MISSING_ROLE = Code(
    "binding-to-missing-role", Domain.SECURITY, Severity.WARNING, Role.RISK,
    "A binding names a role that does not exist, so it grants nothing",
    "roleRef cannot be changed in place. Make the role, or delete the binding and make it again with the right name:\n"
    "`kubectl get {role_kind}{role_ns}`\n`kubectl get {kind} {name}{in_ns} -o yaml`", 0.9,
)  # fmt: skip
MISSING_ACCOUNT = Code(
    "binding-to-missing-account", Domain.SECURITY, Severity.INFO, Role.RISK,
    "A binding names a service account that does not exist",
    "Correct the subject's name or namespace, or take it out; whoever may make that account gets the rights:\n"
    "`kubectl edit {kind} {name}{in_ns}`", 0.9,
)  # fmt: skip
_EVERYONE_GROUPS = ("system:authenticated", "system:serviceaccounts")


def bound_to_everyone(view: ClusterView) -> Iterator[Finding]:
    """Bindings to callers without credentials, or to every account there is."""
    for grant in view.derived(AccessIndex).grants:
        if (
            is_built_in_binding(grant.binding)
            or grant.role_ref.name in DISCOVERY_ROLES
            or grant.role_ref.name == "view"
        ):
            if not any(s.name in ("system:anonymous", "system:unauthenticated") for s in grant.subjects):
                continue
            if ":" in grant.role_ref.name:
                continue
        for subject in grant.subjects:
            if found := _everyone_finding(grant, subject):
                yield found
                break


def _everyone_finding(grant: Grant, subject: Subject) -> Finding | None:
    rule = full_rule(grant.rules)
    anonymous = subject.name in ("system:anonymous", "system:unauthenticated")
    everyone = subject.kind == "Group" and subject.name.startswith(_EVERYONE_GROUPS)
    if not anonymous and not everyone:
        return None
    writes = any(WRITE_VERBS & set(strings(r, "verbs")) for r in grant.rules)
    shown = rule or next(iter(grant.rules), None)
    if anonymous:
        code = ANONYMOUS_ADMIN if rule is not None and not grant.scope else ANONYMOUS
        who = "callers without any credentials"
    else:
        code, who = EVERYONE, "every authenticated user and account"
        if subject.name.startswith("system:serviceaccounts"):
            namespace = subject.name.removeprefix("system:serviceaccounts").lstrip(":")
            who = f"every service account of {f'namespace {namespace}' if namespace else 'the cluster'}"
    quiet = code is EVERYONE and not writes and reads_secrets(grant.rules) is None
    return finding(
        code,
        grant.binding,
        f"{binds(grant)} to {subject}: "
        f"{who} may use it {grant.where}" + (f" ({describe_rule(shown)})." if shown is not None else "."),
        grant_evidence(grant, subject, shown),
        severity=Severity.INFO if quiet else None,
        related=[grant.role_ref],
        **remedy_facts(grant.binding.ref, [], grant.binding),
    )


def dangling_bindings(view: ClusterView) -> Iterator[Finding]:
    """Bindings whose role or account does not exist."""
    for grant in view.derived(AccessIndex).grants:
        if is_built_in_binding(grant.binding) or is_platform_namespace(grant.binding.namespace):
            continue
        ref = grant.role_ref
        if grant.role is None and not is_built_in(ref.name) and view.listed(ref.kind, ref.namespace):
            names = [o.name for o in view.in_namespace(ref.kind, ref.namespace) if not is_built_in(o.name)]
            near = near_or_all(ref.name, names)
            accounts = [s.account for s in grant.subjects if s.account is not None]
            yield finding(
                MISSING_ROLE,
                grant.binding,
                f"{grant.binding.kind} {grant.binding.name} names {ref.kind} {ref.name}, which does not exist, so "
                f"{named(accounts) or 'its subjects'} get no rights from it."
                + (f" There are: {', '.join(near)}." if near else ""),
                [seen_field(grant.binding, "roleRef", f"{ref.kind} {ref.name}"), not_listed(view, ref, near)],
                related=[ref, *account_refs(accounts)],
                role_kind=ref.kind.lower(),
                role_ns=in_ns(ref),
                in_ns=in_ns(grant.binding.ref),
            )
        yield from _missing_accounts(view, grant)


def _missing_accounts(view: ClusterView, grant: Grant) -> Iterator[Finding]:
    for subject, (namespace, name) in ordinary_accounts(grant):
        if not view.listed("ServiceAccount", namespace) or view.get("ServiceAccount", namespace, name) is not None:
            continue
        account = ObjectRef("v1", "ServiceAccount", namespace, name)
        near = near_or_all(name, (o.name for o in view.in_namespace("ServiceAccount", namespace)))
        yield finding(
            MISSING_ACCOUNT,
            grant.binding,
            f"{binds(grant)} to ServiceAccount {namespace}/{name}, which does not exist."
            + (f" There are: {', '.join(near)}." if near else ""),
            [seen_field(grant.binding, subject.path, str(subject)), not_listed(view, account, near)],
            related=[account, grant.role_ref],
            in_ns=in_ns(grant.binding.ref),
        )


ANALYZERS: tuple[Analyzer, ...] = (bound_to_everyone, dangling_bindings)
CODES: tuple[Code, ...] = (ANONYMOUS_ADMIN, ANONYMOUS, EVERYONE, MISSING_ROLE, MISSING_ACCOUNT)
