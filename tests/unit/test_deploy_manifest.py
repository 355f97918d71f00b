"""What the manifest under deploy/ grants and how its pod is confined; read as the API server would read it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.cluster.kinds import KNOWN_RESOURCES

ROOT = Path(__file__).resolve().parents[2]
READING = {"get", "list", "watch"}


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    text = (ROOT / "deploy" / "kubechat.yaml").read_text(encoding="utf-8")
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


def rules(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    roles = of_kind(documents, "ClusterRole") + of_kind(documents, "Role")
    return [rule for role in roles for rule in role["rules"]]


def pod(documents: list[dict[str, Any]]) -> dict[str, Any]:
    (deployment,) = of_kind(documents, "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def test_the_role_has_no_verb_that_writes(documents: list[dict[str, Any]]) -> None:
    assert rules(documents)
    assert {verb for rule in rules(documents) for verb in rule["verbs"]} <= READING


def test_the_role_reads_no_secrets_and_has_no_wildcard(documents: list[dict[str, Any]]) -> None:
    resources = {resource for rule in rules(documents) for resource in rule["resources"]}
    groups = {group for rule in rules(documents) for group in rule["apiGroups"]}
    assert not [resource for resource in resources if resource.partition("/")[0] == "secrets"]
    assert not [name for name in resources | groups if "*" in name]


def test_the_only_subresource_is_the_log(documents: list[dict[str, Any]]) -> None:
    # pods/exec, pods/attach, pods/portforward and nodes/proxy act on what they `get`.
    resources = {resource for rule in rules(documents) for resource in rule["resources"]}
    assert {resource for resource in resources if "/" in resource} == {"pods/log"}


def test_every_kind_of_a_diagnosis_but_secrets_is_readable(documents: list[dict[str, Any]]) -> None:
    granted = {
        (group, resource)
        for rule in rules(documents)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if {"get", "list"} <= set(rule["verbs"])
    }
    wanted = {(resource.group, resource.plural) for resource in KNOWN_RESOURCES}
    assert wanted - granted == {("", "secrets")}


def test_the_account_is_bound_to_the_reading_role_alone(documents: list[dict[str, Any]]) -> None:
    (binding,) = of_kind(documents, "ClusterRoleBinding") + of_kind(documents, "RoleBinding")
    (role,) = of_kind(documents, "ClusterRole")
    (account,) = of_kind(documents, "ServiceAccount")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", **{k: account["metadata"][k] for k in ("name", "namespace")}}
    ]
    assert pod(documents)["serviceAccountName"] == account["metadata"]["name"]


def test_the_pod_is_confined(documents: list[dict[str, Any]]) -> None:
    spec = pod(documents)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    for container in spec["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]


def test_the_page_stays_on_the_loopback_of_the_pod(documents: list[dict[str, Any]]) -> None:
    (container,) = pod(documents)["containers"]
    assert "HOST" not in {variable["name"] for variable in container["env"]}
    assert of_kind(documents, "Service") == []
    # The kubelet's own HTTP probes come from outside of it.
    assert all("exec" in container[probe] for probe in ("startupProbe", "readinessProbe", "livenessProbe"))


def test_what_has_to_be_writable_is_mounted(documents: list[dict[str, Any]]) -> None:
    spec = pod(documents)
    (container,) = spec["containers"]
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(mounted) == {"/data", "/tmp"}
    assert set(mounted.values()) == {volume["name"] for volume in spec["volumes"]}


def test_the_image_runs_as_the_user_of_the_manifest(documents: list[dict[str, Any]]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    uid = pod(documents)["securityContext"]["runAsUser"]
    assert f"USER {uid}:{uid}" in dockerfile
    assert 'CMD ["serve"]' in dockerfile
