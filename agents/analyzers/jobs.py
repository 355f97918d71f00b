"""Jobs that fail and CronJobs that do not run as they should.

A failed Job is nothing once a later run of the same CronJob, or of the same name up to its last part, has succeeded; a
day later it is only a remark. A CronJob that was suspended is a remark, too: somebody did it on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from agents.analyzers.base import Analyzer, Code, Role, finding, seen_event, seen_field, seen_log
from agents.analyzers.pods import containers_of, current, failed_now, last_words, succeeded_later
from agents.cluster.objects import K8sObject, flag, integer, mapping, moment, text
from agents.cluster.view import ClusterView
from agents.evidence import Domain, Evidence, Finding, Severity

_T, _D, _E, _C, _S = Domain.TROUBLESHOOTING, Domain.DEPLOYMENT, Severity.ERROR, Role.CAUSE, Role.SYMPTOM
_EDIT = "`kubectl -n {ns} edit {kind} {name}`"

FAILED = Code(
    "job-failed", _T, _E, _S, "The Job failed, and no later run has made up for it",
    "Read what it said: `kubectl -n {ns} logs job/{job} --all-containers --tail=50`\nAfter mending the cause, run it "
    "again: `kubectl -n {ns} create job {job}-again --from=cronjob/NAME` (or delete the Job and apply it anew).", 0.9,
)  # fmt: skip
DEADLINE = Code(
    "job-deadline-exceeded", _T, _E, _C, "The Job was stopped because it took longer than its deadline",
    "See how far it came: `kubectl -n {ns} logs job/{job} --tail=50`\nRaise `activeDeadlineSeconds` or make the work "
    "smaller: " + _EDIT, 0.9,
)  # fmt: skip
SUSPENDED = Code(
    "cronjob-suspended", _D, Severity.INFO, Role.RISK, "The CronJob is suspended and does not run",
    "If the pause is over: `kubectl -n {ns} patch cronjob {name} -p '{{\"spec\":{{\"suspend\":false}}}}'`", 0.97,
)  # fmt: skip
JOB_SUSPENDED = Code(
    "job-suspended", _D, Severity.INFO, Role.RISK, "The Job is suspended and does not run",
    "If the pause is over: `kubectl -n {ns} patch job {name} -p '{{\"spec\":{{\"suspend\":false}}}}'`", 0.95,
)  # fmt: skip
BAD_SCHEDULE = Code(
    "cronjob-bad-schedule", _D, _E, _C, "The CronJob never runs: its schedule or time zone is not valid",
    "Correct `schedule` (five fields) or `timeZone` (a name such as Europe/Berlin): " + _EDIT, 0.96,
)  # fmt: skip
MISSED = Code(
    "cronjob-missed-start", _D, _E, _C, "The CronJob misses its starts",
    "See what it says: `kubectl -n {ns} describe cronjob {name}`\nRaise or remove `startingDeadlineSeconds` (below "
    "10 s it may never start): " + _EDIT, 0.85,
)  # fmt: skip
BLOCKED = Code(
    "cronjob-blocked-by-running-job", _T, _E, _C, "A run of the CronJob does not end, and no further run may start",
    "Look at the run: `kubectl -n {ns} describe job {job}`\nIf it hangs: `kubectl -n {ns} delete job {job}`; give it "
    "an `activeDeadlineSeconds`: " + _EDIT, 0.85,
)  # fmt: skip
_FIELD = re.compile(r"^[0-9*/,\-?LWA-Za-z#]+$")
_ZONE = re.compile(r"(?:CRON_)?TZ=")
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MACROS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_REMEMBERED = timedelta(days=7)
_HANGS_AFTER = timedelta(hours=1)
_PATIENCE = timedelta(minutes=10)


def failed_jobs(view: ClusterView) -> Iterator[Finding]:
    """Failed Jobs: an error while nothing has made up for them, a remark when they are old."""
    for job in view.of_kind("Job"):
        condition = job.condition("Failed")
        if failed_now(view, job):
            yield _failed(view, job)
        elif condition.get("status") == "True" and not succeeded_later(view, job):
            age = view.age(moment(condition, "lastTransitionTime"))
            if age is not None and age <= _REMEMBERED:
                yield _failed(view, job, Severity.INFO)


def _failed(view: ClusterView, job: K8sObject, severity: Severity | None = None) -> Finding:
    condition = job.condition("Failed")
    reason, said = text(condition, "reason"), text(condition, "message")
    top = view.top_owner(job)
    pods = sorted(view.pods_of(job), key=lambda p: (p.created is not None, p.created or view.taken_at, p.name))
    shown = f"{reason}: {said}" if condition else f"{integer(job.status, 'failed')} pods failed"
    evidence: list[Evidence] = [seen_field(job, "status.conditions[Failed]" if condition else "status.failed", shown)]
    words = ""
    for container in (c for pod in reversed(pods) for c in containers_of(pod)):
        previous, number, lines = last_words(view, container)
        if integer(container.ended, "exitCode") and lines:
            shown_end = {k: container.ended[k] for k in ("reason", "exitCode") if k in container.ended}
            evidence.append(seen_field(container.pod, container.ended_path, shown_end))
            evidence.append(seen_log(container.pod, container.name, lines, previous=previous, number=number))
            words = f" Its last words: {lines[-1].strip()[:200]}"
            break
    what = f"Job {job.name} of CronJob {top.name}" if top.kind == "CronJob" else f"Job {job.name}"
    limit = integer(job.spec, "backoffLimit")
    tries = f" after {integer(job.status, 'failed') or 0} failed pods (backoffLimit {6 if limit is None else limit})"
    code = DEADLINE if reason == "DeadlineExceeded" else FAILED
    why = f" ({reason})" if reason else ""
    if code is DEADLINE:
        seconds = integer(job.spec, "activeDeadlineSeconds")
        tries = f": it took longer than activeDeadlineSeconds {seconds}"
        evidence.append(seen_field(job, "spec.activeDeadlineSeconds", seconds))
    message = f"{what} failed{why}{tries}.{words}"
    related = [job.ref, *(p.ref for p in pods[:10])]
    return finding(code, top, message, evidence[:5], severity=severity, related=related, job=job.name)


def cron_jobs(view: ClusterView) -> Iterator[Finding]:
    """CronJobs that are suspended, cannot be scheduled, miss their starts or hang."""
    for cron in view.of_kind("CronJob"):
        if flag(cron.spec, "suspend") is True:
            last = text(cron.status, "lastScheduleTime")
            message = f"CronJob {cron.name} is suspended{f'; it last ran at {last}' if last else ''}."
            yield finding(SUSPENDED, cron, message, [seen_field(cron, "spec.suspend", "true")])
            continue
        yield from _schedule(view, cron)
        yield from _starts(view, cron)
        yield from _hanging(view, cron)


def suspended_jobs(view: ClusterView) -> Iterator[Finding]:
    """Jobs that wait because they are suspended."""
    for job in view.of_kind("Job"):
        if flag(job.spec, "suspend") is True:
            message = f"Job {job.name} is suspended; none of its pods run."
            yield finding(JOB_SUSPENDED, job, message, [seen_field(job, "spec.suspend", "true")])


def _schedule(view: ClusterView, cron: K8sObject) -> Iterator[Finding]:
    schedule, zone = text(cron.spec, "schedule"), text(cron.spec, "timeZone")
    events = [e for e in view.events(cron.ref) if current(view, e) and e.reason in
              ("UnparseableSchedule", "InvalidSchedule", "UnknownTimeZone", "UnsupportedSchedule")]  # fmt: skip
    wrong = schedule_fault(schedule)
    if not events and not wrong:
        return
    about_zone = bool(events) and "TimeZone" in events[0].reason
    why = wrong or (events[0].message if events else "")
    evidence = [seen_field(cron, "spec.timeZone" if about_zone else "spec.schedule", zone if about_zone else schedule)]
    evidence += [seen_event(e) for e in events[:1]]
    what = f'time zone "{zone}"' if about_zone else f'schedule "{schedule}"'
    yield finding(BAD_SCHEDULE, cron, f"CronJob {cron.name} never runs: its {what} is not valid ({why}).", evidence)


def schedule_fault(schedule: str) -> str:
    """What is wrong with a cron schedule in words, "" when it can be understood (robfig/cron's standard parser)."""
    schedule = _ZONE.split(schedule)[-1].partition(" ")[2] if _ZONE.match(schedule) else schedule
    if schedule.startswith("@"):
        return "" if schedule in _MACROS or schedule.startswith("@every ") else f"unknown descriptor {schedule}"
    fields = schedule.split()
    if len(fields) != 5:
        return f"it has {len(fields)} fields instead of 5"
    for field, (low, high) in zip(fields, _RANGES, strict=True):
        if not _FIELD.match(field):
            return f"field {field} is not valid"
        for number in re.findall(r"\d+", re.sub(r"/\d+", "", field)):
            if not low <= int(number) <= high:
                return f"{number} in field {field} is outside {low}-{high}"
    return ""


def widest_gap(schedule: str) -> timedelta | None:
    """The longest time between two starts of a schedule that runs every day; None for one that does not, or that is
    not understood. The same in any time zone."""
    named = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *"}
    fields = named.get(schedule, _ZONE.split(schedule)[-1].partition(" ")[2] if _ZONE.match(schedule) else schedule)
    parts = fields.split()
    if schedule_fault(schedule) or len(parts) != 5 or any(part not in ("*", "?") for part in parts[2:]):
        return None
    minutes, hours = _values(parts[0], 59), _values(parts[1], 23)
    starts = sorted(60 * hour + minute for hour in hours for minute in minutes)
    if not starts:
        return None
    return timedelta(minutes=max(b - a for a, b in zip(starts, [*starts[1:], starts[0] + 1440], strict=True)))


def _values(field: str, highest: int) -> set[int]:
    """The numbers that a field of a schedule stands for: `*/5`, `1-5`, `0,30`, `8-18/2`."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if (
            not (span in ("*", "?") or first.isdigit())
            or (dash and not last.isdigit())
            or (step and not step.isdigit())
        ):
            return set()
        low = 0 if span in ("*", "?") else int(first)
        high = highest if span in ("*", "?") or (step and not dash) else int(last or first)
        found.update(range(low, high + 1, max(1, int(step or 1))))
    return found


def _late_by_the_clock(view: ClusterView, cron: K8sObject) -> Iterator[Finding]:
    """Starts that did not happen, seen from the schedule and the last start alone: events are kept for an hour."""
    gap = widest_gap(text(cron.spec, "schedule"))
    last = moment(cron.status, "lastScheduleTime")
    age = view.age(last or cron.created)
    if gap is None or age is None or age <= 2 * gap + _PATIENCE or view.age(cron.created) is None:
        return
    if text(cron.spec, "concurrencyPolicy") == "Forbid" and any(
        integer(job.status, "active") for job in view.owned_by(cron, "Job")
    ):
        return
    deadline = integer(cron.spec, "startingDeadlineSeconds")
    note = f" startingDeadlineSeconds is {deadline}." if deadline is not None else ""
    since = f"it last started at {last:%Y-%m-%d %H:%M} UTC" if last else "it has never started"
    message = (
        f'CronJob {cron.name} misses its starts: its schedule is "{text(cron.spec, "schedule")}" and {since}, '
        f"{int(age.total_seconds() // 60)} minutes ago.{note}"
    )
    evidence = [seen_field(cron, "spec.schedule", text(cron.spec, "schedule"))]
    evidence.append(seen_field(cron, "status.lastScheduleTime", text(cron.status, "lastScheduleTime") or "not set"))
    if deadline is not None:
        evidence.append(seen_field(cron, "spec.startingDeadlineSeconds", deadline))
    yield finding(MISSED, cron, message, evidence, confidence=0.8)


def _starts(view: ClusterView, cron: K8sObject) -> Iterator[Finding]:
    told = [e for e in view.events(cron.ref) if current(view, e) and e.reason in ("MissSchedule", "TooManyMissedTimes",
            "FailedNeedsStart", "FailedCreate", "JobAlreadyActive")]  # fmt: skip
    missed = [e for e in told if e.reason in ("MissSchedule", "TooManyMissedTimes", "FailedNeedsStart")]
    if missed and (missed[0].count > 1 or missed[0].reason != "MissSchedule"):
        deadline = integer(cron.spec, "startingDeadlineSeconds")
        note = f" startingDeadlineSeconds is {deadline}." if deadline is not None else ""
        message = f"CronJob {cron.name} misses its starts: {missed[0].message}.{note}"
        evidence = [seen_event(missed[0]), seen_field(cron, "spec.schedule", text(cron.spec, "schedule"))]
        if deadline is not None:
            evidence.append(seen_field(cron, "spec.startingDeadlineSeconds", deadline))
        yield finding(MISSED, cron, message, evidence)
    else:
        yield from _late_by_the_clock(view, cron)


def _hanging(view: ClusterView, cron: K8sObject) -> Iterator[Finding]:
    """A run that is active for long while Forbid keeps further runs from starting."""
    if text(cron.spec, "concurrencyPolicy") != "Forbid":
        return
    for job in view.owned_by(cron, "Job"):
        age = view.age(moment(job.status, "startTime") or job.created)
        if not integer(job.status, "active") or age is None or age < _HANGS_AFTER:
            continue
        blocked = [e for e in view.events(cron.ref) if e.reason == "JobAlreadyActive" and current(view, e)]
        gap = widest_gap(text(cron.spec, "schedule"))
        if not blocked and (gap is None or age < 3 * gap):
            continue
        message = (
            f"Run {job.name} of CronJob {cron.name} is active for {int(age.total_seconds() // 60)} minutes, and "
            "concurrencyPolicy Forbid lets no further run start."
        )
        evidence = [seen_field(cron, "spec.concurrencyPolicy", "Forbid"), *map(seen_event, blocked[:1]),
                    seen_field(cron, "spec.schedule", text(cron.spec, "schedule")),
                    seen_field(job, "status", mapping(job.raw, "status"))]  # fmt: skip
        yield finding(BLOCKED, cron, message, evidence, related=[job.ref], job=job.name)


CODES: tuple[Code, ...] = (FAILED, DEADLINE, SUSPENDED, JOB_SUSPENDED, BAD_SCHEDULE, MISSED, BLOCKED)
ANALYZERS: tuple[Analyzer, ...] = (failed_jobs, cron_jobs, suspended_jobs)
