"""Image faults are told apart by what the runtime said, and show what worked before."""

from __future__ import annotations

import pytest

from agents.analyzers.images import foreign_binaries, image_name, image_pulls
from tests.support.views import codes_of, view_of
from tests.unit.analyzers.workloads import (
    RUNNING,
    SIMPLE,
    crashed,
    deployment,
    event,
    pod,
    replica_set,
    waiting,
    workload,
)

PULL = 'Back-off pulling image "registry.example/team/web:1.0": ErrImagePull: rpc error: '


@pytest.mark.parametrize(
    ("reason", "said", "code"),
    [
        ("ImagePullBackOff", PULL + "registry.example/team/web:1.0: not found", "image-not-found"),
        ("ErrImagePull", "manifest unknown: manifest unknown", "image-not-found"),
        ("ErrImagePull", "pull access denied, repository does not exist or may require authorization",
         "image-pull-unauthorized"),
        ("ErrImagePull", "failed to authorize: unexpected status: 403 Forbidden", "image-pull-unauthorized"),
        ("ErrImagePull", 'Head "https://r.example/v2/": dial tcp: lookup r.example: no such host',
         "image-registry-unreachable"),
        ("ErrImagePull", "dial tcp 10.0.0.1:443: i/o timeout", "image-registry-unreachable"),
        ("ErrImagePull", "tls: failed to verify certificate: x509: certificate signed by unknown authority",
         "image-registry-untrusted"),
        ("InvalidImageName", "couldn't parse image name", "image-name-invalid"),
        ("ErrImageNeverPull", "Container image is not present with pull policy of Never", "image-never-present"),
        ("ErrImagePull", "429 Too Many Requests - toomanyrequests: rate limit", "image-pull-rate-limited"),
        ("ErrImagePull", "no match for platform in manifest: not found", "image-wrong-architecture"),
        ("ErrImagePull", "write /var/lib/containerd/x: no space left on device", "image-no-disk-space"),
        ("ErrImagePull", "something new", "image-pull-failed"),
    ],
)  # fmt: skip
def test_the_runtimes_words_decide_the_code(reason: str, said: str, code: str) -> None:
    assert codes_of(image_pulls, view_of(*workload(SIMPLE, waiting(reason, said), phase="Pending"))) == [code]


def test_the_event_tells_the_cause_that_a_back_off_hides() -> None:
    view = view_of(
        *workload(SIMPLE, waiting("ImagePullBackOff", "Back-off pulling image"), phase="Pending"),
        event("Failed", 'Failed to pull image "registry.example/team/web:1.0": manifest unknown'),
    )
    assert codes_of(image_pulls, view) == ["image-not-found"]


def test_the_image_of_the_revision_before_is_named_with_the_difference() -> None:
    good = SIMPLE.replace(":1.0", ":0.9")
    view = view_of(
        deployment(SIMPLE),
        replica_set(good, name="web-0"),
        replica_set(SIMPLE, revision=2),
        pod(good, RUNNING.replace(":1.0", ":0.9"), name="web-0-a", owner="web-0", ready=True),
        pod(SIMPLE, waiting("ErrImagePull", "web:1.0: not found"), phase="Pending"),
    )
    (found,) = image_pulls(view)
    assert found.object.name == "web"
    assert found.object.kind == "Deployment"
    assert "0.9" in found.message
    assert "1.0" in found.message
    assert any("0.9" in e.excerpt for e in found.evidence)


@pytest.mark.parametrize(
    ("secrets", "code", "words"),
    [
        ("", "image-pull-secret-missing", "pull secret regcred named in imagePullSecrets does not exist"),
        (
            """
            apiVersion: v1
            kind: Secret
            metadata: {name: regcred, namespace: shop}
            type: kubernetes.io/dockerconfigjson
            stringData: {.dockerconfigjson: '{"auths": {"other.example": {}}}'}
            """,
            "image-pull-unauthorized",
            "credentials for other.example, not for registry.example",
        ),
    ],
)
def test_a_refused_pull_names_what_is_wrong_with_the_pull_secret(secrets: str, code: str, words: str) -> None:
    spec = "{imagePullSecrets: [{name: regcred}], containers: [{name: app, image: registry.example/team/web:1.0}]}"
    view = view_of(*workload(spec, waiting("ErrImagePull", "401 Unauthorized"), phase="Pending"), secrets)
    (found,) = image_pulls(view)
    assert (found.code, words in found.message) == (code, True)


def test_a_pod_that_runs_after_an_earlier_failed_pull_is_healthy() -> None:
    view = view_of(
        *workload(SIMPLE, RUNNING, ready=True), event("Failed", 'Failed to pull image "registry.example/team/web:1.0"')
    )
    assert codes_of(image_pulls, view) == []


def test_exec_format_error_is_the_wrong_architecture_and_another_crash_is_not() -> None:
    documents = workload(SIMPLE, crashed(255))
    key = ("shop", "web-1-a", "app")
    assert codes_of(foreign_binaries, view_of(*documents, logs={key: "exec /app: exec format error"})) == [
        "image-wrong-architecture"
    ]
    assert codes_of(foreign_binaries, view_of(*documents, logs={key: "panic: nil"})) == []


def test_image_names_are_split_as_the_runtimes_do() -> None:
    assert image_name("nginx").without_tag == "docker.io/library/nginx"
    assert image_name("localhost:5000/a/b:2").tag == "2"
    assert image_name("localhost:5000/a/b:2").registry == "localhost:5000"
    assert image_name("team/web@sha256:abc").tag == "sha256:abc"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("registry.example/team/wbe:1.0", "image-not-found"),  # one slip away from what works
        ("private.vault.example/other/web:1.0", "image-pull-unauthorized"),
    ],
)
def test_a_denied_repository_is_a_slip_only_when_it_is_near_to_one_that_works(asked: str, code: str) -> None:
    denied = "pull access denied, repository does not exist or may require authorization"
    new = SIMPLE.replace("registry.example/team/web:1.0", asked)
    view = view_of(
        deployment(new),
        replica_set(SIMPLE, name="web-0"),
        replica_set(new, revision=2),
        pod(SIMPLE, RUNNING, name="web-0-a", owner="web-0", ready=True),
        pod(new, waiting("ErrImagePull", denied), phase="Pending"),
    )
    assert codes_of(image_pulls, view) == [code]
