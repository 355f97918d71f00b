"""Tokens with a shape of their own: a vendor's prefix, a fixed length, an alphabet.

The shapes follow the vendors' published formats and the public rule sets of gitleaks, trivy and detect-secrets. Lengths
are lower bounds where a vendor has changed them before. A row whose shape also fits names or hashes has an `accept`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from assistant.guardrails.masking import Rule, Text, continues_identifier, shape


def random_looking(value: str) -> bool:
    """Letters and at least two digits: words and names seldom have both."""
    return sum(c.isdigit() for c in value) >= 2 and any(c.isalpha() for c in value)


def _bootstrap_secret(value: str) -> bool:
    """Whether the second half of `id.secret` is random: events are named `pod.16 hex digits`, host names have words."""
    secret = value.partition(".")[2]
    return random_looking(secret) and not all(c in "0123456789abcdef" for c in secret)


def _encoded_private_key(value: str) -> bool:
    """Whether base64 that starts like a PEM header is a private key; a certificate is public."""
    try:
        return b"PRIVATE KEY" in base64.b64decode(value[:80])
    except (binascii.Error, ValueError):
        return False


def _openai_key(value: str) -> bool:
    """Whether `sk-…` is random beyond the marker that old keys carry in their middle; `sk-learn-…` is a name."""
    return random_looking(value.replace("T3BlbkFJ", ""))


# A run of a token's letters is looked at once, however many beginnings of a token it holds.
_TOKEN_HEAD = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{11,}+(?=\.[A-Za-z0-9_-]{4})")
_TOKEN_REST = re.compile(r"\.[A-Za-z0-9_-]{4,}+(?:\.[A-Za-z0-9_-]*+)?")


def _web_tokens(text: Text) -> Iterator[tuple[int, int]]:
    """`eyJHEADER.PAYLOAD.SIGNATURE`; the signature may be cut off."""
    raw = text.raw
    for head in _TOKEN_HEAD.finditer(raw):
        start = raw.find("eyJ", head.start(), head.end() - 8)
        while start >= 0 and continues_identifier(raw, start):
            start = raw.find("eyJ", start + 3, head.end() - 8)
        rest = _TOKEN_REST.match(raw, head.end())
        if start >= 0 and rest is not None:
            yield start, rest.end()


VENDOR_TOKENS: tuple[Rule, ...] = (
    Rule("jwt", _web_tokens, ("eyj",)),
    shape(
        "aws-access-key",
        r"A(?:KIA|SIA|BIA|CCA|3T[A-Z0-9])[A-Z0-9]{16}(?![A-Za-z0-9])",
        "AKIA",
        "ASIA",
        "ABIA",
        "ACCA",
        "A3T",
    ),
    shape("aws-bedrock-key", r"(?:bedrock-api-key-|ABSK)[A-Za-z0-9+/=_-]{24,}+", "bedrock-api-key-", "ABSK"),
    shape("aws-mws-key", r"amzn\.mws\.[a-z0-9-]{30,50}+", "amzn.mws."),
    shape("github-token", r"gh[pousr]_[A-Za-z0-9_.-]{30,}+", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    shape("github-token", r"github_pat_[A-Za-z0-9_]{30,}+", "github_pat_"),
    shape("gitlab-token", r"gl(?:pat|oas|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct|rtr)-[A-Za-z0-9_.-]{16,}+", "gl"),
    shape("bitbucket-token", r"AT(?:BB|ATT3xFfG|CTT3xFfG)[A-Za-z0-9_=-]{24,}+", "ATBB", "ATATT3xFfG", "ATCTT3xFfG"),
    shape("slack-token", r"x(?:ox[a-z]|app|oxe\.xox[bp])-[A-Za-z0-9-]{10,}+", "xox", "xapp-"),
    shape(
        "slack-webhook",
        r"hooks\.slack\.com/(?P<value>(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20,}+)",
        "hooks.slack.com",
    ),
    shape(
        "discord-webhook",
        r"discord(?:app)?\.com/api/webhooks(?P<value>/[0-9]{10,25}/[A-Za-z0-9_-]{40,}+)",
        "/api/webhooks",
    ),
    shape("stripe-key", r"(?:[sr]k_(?:live|test|prod)|whsec)_[A-Za-z0-9]{16,}+", "sk_", "rk_", "whsec_"),
    shape("google-api-key", r"AIza[A-Za-z0-9_-]{35}", "AIza"),
    shape(
        "google-oauth",
        r"(?:GOCSPX-[A-Za-z0-9_-]{20,}+|ya29\.[A-Za-z0-9_-]{20,}+|1//0[A-Za-z0-9_-]{30,}+)",
        "GOCSPX-",
        "ya29.",
        "1//0",
    ),
    shape("anthropic-key", r"sk-ant-[A-Za-z0-9_-]{20,}+", "sk-ant-"),
    shape("openai-key", r"sk-(?:proj-|svcacct-|admin-|or-v1-|None-)?[A-Za-z0-9_-]{20,}+", "sk-", accept=_openai_key),
    shape("huggingface-token", r"(?:hf|api_org)_[A-Za-z]{3}[A-Za-z0-9]{27,}+", "hf_", "api_org_"),
    shape("groq-key", r"gsk_[A-Za-z0-9]{40,}+", "gsk_"),
    shape("together-key", r"tgp_v1_[A-Za-z0-9_-]{30,}+", "tgp_v1_"),
    shape("xai-key", r"xai-[A-Za-z0-9]{40,}+", "xai-"),
    shape("perplexity-key", r"pplx-[A-Za-z0-9]{40,}+", "pplx-"),
    shape("replicate-token", r"r8_[A-Za-z0-9]{30,}+", "r8_"),
    shape("langsmith-key", r"lsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}", "lsv2_"),
    shape("npm-token", r"npm_[A-Za-z0-9]{36}", "npm_"),
    shape("pypi-token", r"pypi-[A-Za-z0-9_-]{50,}+", "pypi-"),
    shape("rubygems-key", r"rubygems_[a-f0-9]{48}", "rubygems_"),
    shape("packagist-token", r"packagist_[a-z]{3}_[a-f0-9]{50,}+", "packagist_"),
    shape("docker-token", r"dckr_[a-z]{3,5}_[A-Za-z0-9_-]{20,}+", "dckr_"),
    shape("vault-token", r"hv[sbr]\.[A-Za-z0-9_.-]{20,}+", "hvs.", "hvb.", "hvr."),
    shape("terraform-token", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,}+", ".atlasv1."),
    shape("digitalocean-token", r"do[opr]_v1_[a-f0-9]{64}", "dop_v1_", "doo_v1_", "dor_v1_"),
    shape("cloudflare-token", r"cf(?:at|ut|k)_[A-Za-z0-9_-]{30,}+", "cfat_", "cfut_", "cfk_"),
    shape("azure-secret", r"[A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{31,34}", "7Q~", "8Q~"),
    shape("databricks-token", r"dapi[a-f0-9]{32}(?:-[0-9])?", "dapi"),
    shape("databricks-token", r"dapi[a-h][a-f0-9]{31}", "dapi"),
    shape("grafana-token", r"gl(?:sa|c)_[A-Za-z0-9+/=_-]{24,}+", "glsa_", "glc_"),
    shape("grafana-token", r"eyJrIjoi[A-Za-z0-9+/=]{40,}+", "eyJrIjoi"),
    shape("sonarqube-token", r"sq[uap]_[a-f0-9]{40}", "squ_", "sqa_", "sqp_"),
    shape("dynatrace-token", r"dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{60,}+", "dt0"),
    shape("newrelic-key", r"NR(?:AK|JS|RA|II)-[A-Za-z0-9]{20,}+", "NRAK-", "NRJS-", "NRRA-", "NRII-"),
    shape("sentry-token", r"sntry[su]_[A-Za-z0-9+/=_-]{40,}+", "sntrys_", "sntryu_"),
    shape("postman-key", r"PMA[KT]-[A-Za-z0-9-]{24,}+", "PMAK-", "PMAT-"),
    shape("linear-key", r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}+", "lin_"),
    shape("notion-token", r"(?:ntn_|secret_)[A-Za-z0-9]{40,}+", "ntn_", "secret_"),
    shape("atlassian-token", r"AKCp[A-Za-z0-9]{60,}+", "AKCp"),
    shape("doppler-token", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9_.-]{40,}+", "dp."),
    shape("pulumi-token", r"pul-[a-f0-9]{40}", "pul-"),
    shape("netlify-token", r"nf[pcoub]_[A-Za-z0-9]{36,}+", "nfp_", "nfc_", "nfo_", "nfu_", "nfb_"),
    shape("vercel-token", r"vc[pkiar]_[A-Za-z0-9]{40,}+", "vcp_", "vck_", "vci_", "vca_", "vcr_"),
    shape("fly-token", r"(?:FlyV1 )?fm[12][a-z]?_[A-Za-z0-9+/=,_-]{60,}+", "fm1", "fm2"),
    shape("shopify-token", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}", "shpat_", "shpca_", "shppa_", "shpss_"),
    shape("square-token", r"(?:EAAAE[A-Za-z0-9_-]{50,}+|sq0[a-z]{3}-[A-Za-z0-9_-]{22,}+)", "EAAAE", "sq0"),
    shape("facebook-token", r"EAA[A-Z][A-Za-z0-9]{40,}+", "EAA"),
    shape("facebook-token", r"[0-9]{13,17}\|[A-Za-z0-9_-]{27}", "|", accept=random_looking),
    shape("paypal-token", r"access_token\$(?:production|sandbox)\$[a-z0-9]{10,}+\$[a-z0-9]{30,}+", "access_token$"),
    shape("sendgrid-key", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{30,}+", "SG."),
    shape("brevo-key", r"xkeysib-[a-f0-9]{40,}+(?:-[A-Za-z0-9]{10,}+)?", "xkeysib-"),
    shape("mailgun-key", r"(?:key|pubkey)-[a-f0-9]{32}(?![A-Za-z0-9])", "key-"),
    shape("mailgun-key", r"[a-f0-9]{32}-[a-f0-9]{8}-[a-f0-9]{8}(?![A-Za-z0-9-])", "-"),
    shape("mailchimp-key", r"[a-f0-9]{32}-us[0-9]{1,2}(?![A-Za-z0-9])", "-us"),
    shape("twilio-key", r"(?:SK|AC)[a-fA-F0-9]{32}(?![A-Za-z0-9])", "SK", "AC"),
    shape("telegram-token", r"[0-9]{8,10}:AA[A-Za-z0-9_-]{32,35}(?![A-Za-z0-9_-])", ":AA"),
    shape("alibaba-key", r"LTAI[A-Za-z0-9]{12,26}(?![A-Za-z0-9])", "LTAI"),
    shape("akamai-token", r"akab-[a-z0-9]{16}-[a-z0-9]{16}", "akab-"),
    shape("nats-seed", r"S[UANOCX][A-Z2-7]{56}(?![A-Z0-9])", "SU", "SA", "SN", "SO", "SC", "SX"),
    shape("age-key", r"AGE-SECRET-KEY-1[A-Z0-9]{58}", "AGE-SECRET-KEY-1"),
    shape("tailscale-key", r"tskey-[a-z]{3,8}-[A-Za-z0-9]{8,}+-[A-Za-z0-9]{16,}+", "tskey-"),
    shape("private-key", r"LS0tLS1CRUdJTi[A-Za-z0-9+/=]{40,}+", "LS0tLS1CRUdJTi", accept=_encoded_private_key),
    shape("kubernetes-bootstrap-token", r"[a-z0-9]{6}\.[a-z0-9]{16}(?![A-Za-z0-9.-])", ".", accept=_bootstrap_secret),
)
