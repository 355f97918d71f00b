"""Credentials in plain sight: named, never shown; look-alikes are left alone."""

from __future__ import annotations

import pytest

from agents.analyzers.exposed_secrets import (
    is_literal_secret,
    is_secret_name,
    plain_variables,
    secret_arguments,
    secrets_in_configmaps,
)
from tests.support.views import codes_of, view_of


def deployment(container: str) -> str:
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec: {{template: {{spec: {{containers: [{{name: app, image: a:1, {container}}}]}}}}}}
"""


def configmap(data: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: cfg, namespace: shop}}\ndata:\n  {data}\n"


def test_a_plain_password_is_named_and_never_shown() -> None:
    (found,) = plain_variables(view_of(deployment("env: [{name: DB_PASSWORD, value: 'hunter-2x!'}]")))
    assert found.code == "secret-in-plain-env"
    assert "DB_PASSWORD" in found.message
    assert "hunter-2x!" not in found.model_dump_json()


@pytest.mark.parametrize(
    "env",
    [
        "{name: DB_PASSWORD, valueFrom: {secretKeyRef: {name: db, key: password}}}",
        "{name: DB_PASSWORD_FILE, value: /run/secrets/db}",
        "{name: DB_PASSWORD, value: /run/secrets/db}",
        "{name: DB_PASSWORD, value: '${DB_PASSWORD}'}",
        "{name: DB_PASSWORD, value: $(OTHER)}",
        "{name: TOKEN_TTL, value: '3600'}",
        "{name: API_TOKEN, value: ''}",
        "{name: SECRET_NAME, value: web-credentials}",
        "{name: AUTH_TOKEN, value: 'true'}",
        "{name: MAX_TOKENS, value: '4096'}",
        "{name: PUBLIC_URL, value: 'https://shop.example/x'}",
        "{name: PARTITION_KEY, value: customer_id}",
    ],
)
def test_references_paths_switches_and_names_are_no_secrets(env: str) -> None:
    assert codes_of(plain_variables, view_of(deployment(f"env: [{env}]"))) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://shop:s3cretpw@db:5432/shop"),
        ("STRIPE_KEY", "a8f3b1c9d7e5f2a4b6c8d0e1"),
        ("dbPassword", "Sommer2026"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"),
    ],
)
def test_other_forms_of_credentials_are_found(name: str, value: str) -> None:
    view = view_of(deployment(f"env: [{{name: {name}, value: '{value}'}}]"))
    assert codes_of(plain_variables, view) == ["secret-in-plain-env"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("args: ['--db-password=s3cretpw']", ["secret-in-arguments"]),
        ("args: [--api-key, Zx81-abc-991]", ["secret-in-arguments"]),
        ("command: [sh, -c, 'run --token=abcdef1234 --verbose']", ["secret-in-arguments"]),
        ("args: [--db-password=$(DB_PASSWORD)]", []),
        ("args: [--token-file=/var/run/token]", []),
        ("args: [--password-file, /etc/pw]", []),
    ],
)
def test_credentials_in_arguments(args: str, expected: list[str]) -> None:
    assert codes_of(secret_arguments, view_of(deployment(args))) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("password: Sommer2026", ["secret-in-configmap"]),
        ('app.properties: "host=db\\nspring.datasource.password=Sommer2026\\n"', ["secret-in-configmap"]),
        ('tls.key: "-----BEGIN RSA PRIVATE KEY-----\\nMIIE\\n"', ["secret-in-configmap"]),
        ('ca.crt: "-----BEGIN CERTIFICATE-----\\nMIIE\\n"', []),
        ('app.properties: "host=db\\npassword=${DB_PASSWORD}\\n"', []),
        ("PASSWORD_POLICY: strict", []),
        ("TOKEN_URL: 'https://login.example/token'", []),
    ],
)
def test_credentials_in_configmaps(data: str, expected: list[str]) -> None:
    assert codes_of(secrets_in_configmaps, view_of(configmap(data))) == expected


def test_names_and_values_are_judged_apart() -> None:
    assert is_secret_name("REDIS_AUTH_TOKEN")
    assert not is_secret_name("COMPASS")
    assert is_literal_secret("changeme")
    assert not is_literal_secret("vault:secret/data/db#password")
