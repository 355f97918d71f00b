"""Failed Jobs while nothing has made up for them, and CronJobs that do not run."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agents.analyzers.jobs import cron_jobs, failed_jobs, schedule_fault, suspended_jobs, widest_gap
from agents.evidence import Severity
from tests.support.views import codes_of, view_of
from tests.unit.analyzers.workloads import SIMPLE, ago, event, pod


def job(name: str, condition: str, *, hours: float = 1, reason: str = "BackoffLimitExceeded", owner: str = "") -> str:
    owners = (
        f"ownerReferences: [{{apiVersion: batch/v1, kind: CronJob, name: {owner}, uid: c, controller: true}}], "
        if owner
        else ""
    )
    since = f'lastTransitionTime: "{ago(hours=hours)}"'
    done = f'conditions: [{{type: {condition}, status: "True", reason: {reason}, {since}}}]'
    return f"""
    apiVersion: batch/v1
    kind: Job
    metadata: {{name: {name}, namespace: shop, uid: {name}, {owners}creationTimestamp: "{ago(hours=hours)}"}}
    spec: {{backoffLimit: 2, activeDeadlineSeconds: 60}}
    status: {{failed: 3, {done if condition else ""}}}
    """


def cron(spec: str, name: str = "nightly") -> str:
    return f"{{apiVersion: batch/v1, kind: CronJob, metadata: {{name: {name}, namespace: shop}}, spec: {{{spec}}}}}"


def test_a_failed_job_is_told_with_its_last_words() -> None:
    ended = "[{name: app, state: {terminated: {exitCode: 3, reason: Error}}}]"
    failed_pod = pod(SIMPLE, ended, name="load-x", owner="load", owner_kind="Job", phase="Failed")
    view = view_of(job("load", "Failed"), failed_pod, logs={("shop", "load-x", "app"): "cannot read input"})
    (found,) = failed_jobs(view)
    assert (found.code, found.severity) == ("job-failed", Severity.ERROR)
    assert "cannot read input" in found.message


def test_a_deadline_is_a_cause_of_its_own() -> None:
    assert codes_of(failed_jobs, view_of(job("load", "Failed", reason="DeadlineExceeded"))) == ["job-deadline-exceeded"]


def test_a_failed_run_of_a_cron_job_is_told_on_the_cron_job() -> None:
    view = view_of(cron('schedule: "0 2 * * *"'), job("nightly-1", "Failed", owner="nightly"))
    (found,) = failed_jobs(view)
    assert found.object.kind == "CronJob"


@pytest.mark.parametrize("owner", ["nightly", ""])
def test_a_later_success_makes_up_for_a_failure(owner: str) -> None:
    later = job("nightly-2", "Complete", hours=0.5, owner=owner).replace("failed: 3", "succeeded: 1")
    view = view_of(cron('schedule: "0 2 * * *"'), job("nightly-1", "Failed", owner=owner), later)
    assert codes_of(failed_jobs, view) == []


def test_an_old_failure_is_only_a_remark() -> None:
    (found,) = failed_jobs(view_of(job("load", "Failed", hours=30)))
    assert found.severity is Severity.INFO


def test_a_job_that_completed_is_nothing() -> None:
    assert codes_of(failed_jobs, view_of(job("load", "Complete"))) == []


@pytest.mark.parametrize(
    ("schedule", "valid"),
    [
        ("*/5 * * * *", True),
        ("0 2 * * MON-FRI", True),
        ("@daily", True),
        ("CRON_TZ=Europe/Berlin 0 2 * * *", True),
        ("0 2 * *", False),
        ("0 25 * * *", False),
        ("0 2 32 * *", False),
        ("@nightly", False),
        ("every day", False),
    ],
)
def test_schedules_are_read_as_the_controller_reads_them(schedule: str, valid: bool) -> None:
    assert (schedule_fault(schedule) == "") is valid


def test_a_cron_job_with_a_bad_schedule_or_time_zone_never_runs() -> None:
    assert codes_of(cron_jobs, view_of(cron('schedule: "0 25 * * *"'))) == ["cronjob-bad-schedule"]
    zone = view_of(
        cron('schedule: "0 2 * * *", timeZone: Europe/Berln'),
        event("UnknownTimeZone", "invalid timeZone: Europe/Berln", kind="CronJob", name="nightly"),
    )
    (found,) = cron_jobs(zone)
    assert "Europe/Berln" in found.message
    assert codes_of(cron_jobs, view_of(cron('schedule: "0 2 * * *"'))) == []


def test_suspended_is_a_remark() -> None:
    (found,) = cron_jobs(view_of(cron('schedule: "0 2 * * *", suspend: true')))
    assert (found.code, found.severity) == ("cronjob-suspended", Severity.INFO)
    held = "{apiVersion: batch/v1, kind: Job, metadata: {name: j, namespace: shop}, spec: {suspend: true}}"
    assert codes_of(suspended_jobs, view_of(held)) == ["job-suspended"]
    assert codes_of(suspended_jobs, view_of(held.replace("true", "false"))) == []


def test_missed_starts_are_told_with_the_deadline() -> None:
    told = event("TooManyMissedTimes", "too many missed start times", kind="CronJob", name="nightly")
    (found,) = cron_jobs(view_of(cron('schedule: "* * * * *", startingDeadlineSeconds: 5'), told))
    assert found.code == "cronjob-missed-start"
    assert "startingDeadlineSeconds is 5" in found.message


def test_a_run_that_does_not_end_blocks_the_next() -> None:
    running = job("nightly-1", "", hours=5, owner="nightly").replace("failed: 3, ", "active: 1")
    told = event(
        "JobAlreadyActive", "Not starting job because prior execution is running", kind="CronJob", name="nightly"
    )
    forbid = cron('schedule: "0 * * * *", concurrencyPolicy: Forbid')
    assert codes_of(cron_jobs, view_of(forbid, running, told)) == ["cronjob-blocked-by-running-job"]
    assert codes_of(cron_jobs, view_of(forbid, running)) == [
        "cronjob-blocked-by-running-job"
    ]  # five starts by the clock
    daily = cron('schedule: "0 3 * * *", concurrencyPolicy: Forbid')
    assert codes_of(cron_jobs, view_of(daily, running)) == []


@pytest.mark.parametrize(
    ("schedule", "minutes"),
    [
        ("*/15 * * * *", 15),
        ("0 * * * *", 60),
        ("0,10 8-18 * * *", 830),
        ("30 4 * * *", 1440),
        ("CRON_TZ=Europe/Berlin 5/20 * * * *", 20),
        ("@hourly", 60),
        ("0 3 * * 1-5", None),
        ("0 3 1 * *", None),
        ("@every 90m", None),
        ("0 25 * * *", None),
    ],
)
def test_the_widest_gap_of_a_schedule(schedule: str, minutes: int | None) -> None:
    assert widest_gap(schedule) == (None if minutes is None else timedelta(minutes=minutes))


@pytest.mark.parametrize(("minutes", "codes"), [(70, ["cronjob-missed-start"]), (35, [])])
def test_starts_that_did_not_happen_are_seen_by_the_clock(minutes: float, codes: list[str]) -> None:
    late = f"""
    apiVersion: batch/v1
    kind: CronJob
    metadata: {{name: sync, namespace: shop, creationTimestamp: "{ago(hours=90)}"}}
    spec: {{schedule: "*/15 * * * *", startingDeadlineSeconds: 5}}
    status: {{lastScheduleTime: "{ago(minutes=minutes)}"}}
    """
    assert codes_of(cron_jobs, view_of(late)) == codes
    assert codes_of(cron_jobs, view_of(late.replace("startingDeadlineSeconds: 5", "suspend: true"))) == [
        "cronjob-suspended"
    ]
