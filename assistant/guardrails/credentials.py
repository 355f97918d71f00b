"""The rule table of credentials, put together from its kinds, and the kind that its surroundings give away.

A credential is found by a shape of its own (`vendor_tokens`), by what stands around it (here: a PEM header, a URL with
a password, an Authorization header), by the manifest that it is part of (`secret_manifests`) or by its name
(`named_secrets`). Shapes come first, so that a placeholder names the more telling type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assistant.guardrails.masking import Rule, Text
from assistant.guardrails.named_secrets import NAMED_SECRET_RULES, is_placeholder
from assistant.guardrails.secret_manifests import secret_data
from assistant.guardrails.vendor_tokens import VENDOR_TOKENS, random_looking

_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
# What may follow the header of a key whose end was cut off: header lines and runs of base64, never prose.
_PEM_REST = re.compile(
    r"(?:(?:\s|\\[nrt]|[\"',+|])*+(?:(?:Proc-Type|DEK-Info|Version|Comment):[^\n\\]{0,120}+|[A-Za-z0-9+/=]{12,}+))*+"
    r"(?:(?:\s|\\[nrt])*+(?=[A-Za-z]*[0-9+/=])[A-Za-z0-9+/]{1,64}+={0,2}(?=\s*(?:$|[\"'.…])))?"
)


def _private_keys(text: Text) -> Iterator[tuple[int, int]]:
    """Whole PEM blocks; of one that was cut off, everything that can still belong to it."""
    raw = text.raw
    reached = 0
    end_marker = 0
    for begin in _PEM_BEGIN.finditer(raw):
        if begin.start() < reached:
            continue
        if 0 <= end_marker < begin.end():
            end_marker = raw.find("-----END ", begin.end())
        next_begin = raw.find("-----BEGIN ", begin.end(), end_marker) if end_marker >= 0 else -1
        if end_marker >= 0 and next_begin < 0:
            closing = raw.find("-----", end_marker + len("-----END "), end_marker + 80)
            reached = closing + 5 if closing >= 0 else end_marker + len("-----END ")
        else:
            rest = _PEM_REST.match(raw, begin.end())
            reached = rest.end() if rest else begin.end()
        yield begin.start(), reached


_URL_USERINFO = re.compile(r"://[^\s/?#\"'<>@:]{0,128}+:(?P<value>[^\s/?#\"'<>]{1,512}+)")
_URL_TOKEN = re.compile(r"://(?P<value>[A-Za-z0-9_.~-]{16,128}+)@")


def _url_passwords(text: Text) -> Iterator[tuple[int, int]]:
    """`scheme://user:PASSWORD@host`; the password may hold an `@`, the host may not."""
    for match in _URL_USERINFO.finditer(text.raw):
        start, end = match.span("value")
        at = text.raw.rfind("@", start, end)
        if at > start and not is_placeholder(text.raw[start:at]):
            yield start, at
    for match in _URL_TOKEN.finditer(text.raw):
        if random_looking(match["value"]) and len(match["value"]) >= 20:
            yield match.span("value")


_AUTHORIZATION = re.compile(
    r"authorization[\"'\\]{0,4}(?:[ \t]{0,4}[:=]"
    r"|,?\s{0,40}[\"'\\]{0,4}value[\"'\\]{0,4}\s{0,4}:)"  # a probe's header: name, then value
    r"[ \t]{0,4}[\"'\\]{0,4}"
    r"(?P<scheme>(?:bearer|basic|token|digest|apikey|negotiate|aws4-hmac-sha256)[ \t]{1,4})?"
    r"(?P<value>[^\s\"'\\,;<>(){}\[\]]{4,}+)"
)
_BEARER = re.compile(r"bearer[ \t:=]{1,4}[\"']?(?P<value>[a-z0-9._~+/=-]{12,}+)")
_COOKIE = re.compile(
    r"(?:set-)?cookie[\"']?: {0,2}[\"']?"
    r"(?P<value>[^\s=;\"']{1,128}+=[^\s\"']{8,}+(?:; [^\s=;\"']{1,128}+=[^\s\"']{1,4096}+)*+)"
)
_CURL_USER = re.compile(r"(?:\s-u|--user|--proxy-user)[ =][\"']?[^\s:\"']{1,64}+:(?P<value>[^\s\"']{3,}+)")
_SECURE_STRING = re.compile(
    r"convertto-securestring(?: {1,4}-[a-z]{1,20}+)*+ {1,4}[\\\"']{0,4}(?P<value>[^\s\\\"']{4,}+)"
)
_DOCKER_AUTH = re.compile(r"[\"']?auth[\"']?\s{0,4}:\s{0,4}[\\\"']{1,4}(?P<value>[a-z0-9+/]{8,}+={0,2})")
_AZURE_SIGNATURE = re.compile(r"[?&;]sig=(?P<value>[a-z0-9%+/=_-]{20,}+)")


def _authorization(text: Text) -> Iterator[tuple[int, int]]:
    """The credential of an Authorization header; "authorization: your cloud" is prose, `mode: Webhook` a setting."""
    for match in _AUTHORIZATION.finditer(text.lower):
        start, end = match.span("value")
        value = text.raw[start:end]
        if not is_placeholder(value) and ((match["scheme"] and not value.isalpha()) or random_looking(value)):
            yield start, end


def _curl_passwords(text: Text) -> Iterator[tuple[int, int]]:
    """`curl -u user:PASSWORD`; kubectl's `--user=system:node` has no password behind its colon."""
    for match in _CURL_USER.finditer(text.lower):
        start, end = match.span("value")
        called = max(text.lower.rfind(tool, max(0, start - 300), start) for tool in ("curl", "wget"))
        if called >= 0 and not is_placeholder(text.raw[start:end]):
            yield start, end


def surroundings(kind: str, pattern: re.Pattern[str], *hints: str) -> Rule:
    """A rule for the group `value` of `pattern`, searched in the lower-cased text."""

    def find(text: Text) -> Iterator[tuple[int, int]]:
        for match in pattern.finditer(text.lower):
            start, end = match.span("value")
            if not is_placeholder(text.raw[start:end]):
                yield start, end

    return Rule(kind, find, hints)


def _bearer_tokens(text: Text) -> Iterator[tuple[int, int]]:
    """`Bearer TOKEN` outside a header; "bearer authentication" is prose."""
    for match in _BEARER.finditer(text.lower):
        start, end = match.span("value")
        if random_looking(text.raw[start:end]):
            yield start, end


SURROUNDED: tuple[Rule, ...] = (
    Rule("private-key", _private_keys, ("private key",)),
    Rule("url-password", _url_passwords, ("://",)),
    Rule("authorization", _authorization, ("authorization",)),
    Rule("bearer-token", _bearer_tokens, ("bearer",)),
    surroundings("cookie", _COOKIE, "cookie"),
    Rule("password", _curl_passwords, ("curl", "wget")),
    surroundings("password", _SECURE_STRING, "convertto-securestring"),
    surroundings("docker-auth", _DOCKER_AUTH, "auth"),
    surroundings("azure-signature", _AZURE_SIGNATURE, "sig="),
    Rule("secret-data", secret_data, ("secret",)),
)

CREDENTIAL_RULES: tuple[Rule, ...] = (*SURROUNDED[:1], *VENDOR_TOKENS, *SURROUNDED[1:], *NAMED_SECRET_RULES)
