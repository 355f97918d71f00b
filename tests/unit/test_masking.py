"""What the masker hides, what it must leave alone, and that hostile text cannot slow it down."""

import base64
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.errors import MaskingFailed
from assistant.guardrails.credentials import CREDENTIAL_RULES
from assistant.guardrails.masking import PLACEHOLDER, Masker, Rule, Text, shape

KEY = b"an installation's key of 32 byte"
PEM_LINE = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
PRIVATE_KEY = f"-----BEGIN RSA PRIVATE KEY-----\n{PEM_LINE}\n{PEM_LINE}\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJrdWJlLXN5c3RlbSJ9.dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW1gFWFOEjXk"


@pytest.fixture(scope="module")
def masker() -> Masker:
    return Masker(KEY, CREDENTIAL_RULES)


NAMED = [
    ("password: hunter2x", "hunter2x"),
    ("PASSWORD=hunter2x", "hunter2x"),
    ('{"password": "two words, and a comma"}', "two words, and a comma"),
    ('{\\"dbPassword\\":\\"hunter2x\\"}', "hunter2x"),
    ("spring.datasource.password=hunter2x", "hunter2x"),
    ("--password hunter2x --verbose", "hunter2x"),
    ("--client-secret='s3cr3t-Value9'", "s3cr3t-Value9"),
    ("https://api.example.com/v1?user=a&api_key=9f8e7d6c5b4a&x=1", "9f8e7d6c5b4a"),
    ("ARGOCD_AUTH_TOKEN=q8Zp1LmN0v7Tk2", "q8Zp1LmN0v7Tk2"),
    ("x-api-key: 9f8e7d6c5b4a", "9f8e7d6c5b4a"),
    ("- name: DB_PASSWORD\n  value: hunter2x\n", "hunter2x"),
    ('{"name": "SESSION_SECRET", "value": "hunter2x"}', "hunter2x"),
    ("Server=db;User Id=sa;Password=P@ssw0rd1;Encrypt=true", "P@ssw0rd1"),
    ("DefaultEndpointsProtocol=https;AccountKey=Zm9vYmFyYmF6cXV4Zm9vYmFy==;", "Zm9vYmFyYmF6cXV4Zm9vYmFy=="),
    ('val password: String = "exo14Paw"', "exo14Paw"),
    ("client-key-data: TFMwdExTMUNSVWRKVGlCU1UwRWdVRkpKVmtGVVJTQkxS", "TFMwdExTMUNSVWRKVGlCU1UwRWdVRkpKVmtGVVJTQkxS"),
    ("token=x-y-z?password=hunter2x", "hunter2x"),
]
SHAPED = [
    ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
    ("authorization: Basic dXNlcjpodW50ZXIyeA==", "dXNlcjpodW50ZXIyeA=="),
    ('curl -H "Authorization: token 0123456789abcdef"', "0123456789abcdef"),
    ("level=info hdr='bearer 9f8e7d6c5b4a3210'", "9f8e7d6c5b4a3210"),
    ("curl -u admin:hunter2x https://x", "hunter2x"),
    (f"jwt {JWT} end", JWT),
    ("postgres://app:hunter2x@db:5432/app", "hunter2x"),
    ("amqp://u:p%40ss@w0rd@mq:5672", "p%40ss@w0rd"),
    (f"got AKIA{'Q3X7' * 4} from env", f"AKIA{'Q3X7' * 4}"),
    ("ghp_" + "a1B2" * 9, "ghp_" + "a1B2" * 9),
    ("\\nglpat-" + "a1B2" * 5, "glpat-" + "a1B2" * 5),
    ("xoxb-1234567890-abcdefghij", "xoxb-1234567890-abcdefghij"),
    ("sk_live_" + "a1B2" * 6, "sk_live_" + "a1B2" * 6),
    ("AIza" + "a1B2c" * 7, "AIza" + "a1B2c" * 7),
    ("sk-ant-api03-" + "a1B2" * 8, "sk-ant-api03-" + "a1B2" * 8),
    ("npm_" + "a1B2" * 9, "npm_" + "a1B2" * 9),
    ("kubeadm join 10.0.0.1:6443 --token ab12cd.0123456789abcxyz", "ab12cd.0123456789abcxyz"),
    ('{"auths":{"r.example":{"auth":"dXNlcjpodW50ZXIyeA=="}}}', "dXNlcjpodW50ZXIyeA=="),
    ("Set-Cookie: session=9f8e7d6c5b4a; Path=/", "9f8e7d6c5b4a"),
    (base64.b64encode(PRIVATE_KEY.encode()).decode(), base64.b64encode(PRIVATE_KEY.encode()).decode()),
]


@pytest.mark.parametrize(("text", "secret"), NAMED + SHAPED)
def test_a_credential_is_masked_and_its_surroundings_stay(masker: Masker, text: str, secret: str) -> None:
    masked = masker.mask(text)
    assert secret not in masked.text
    assert PLACEHOLDER.search(masked.text)
    assert masked.text.startswith(text.partition(secret)[0][:4])
    assert any(secret in text[span.start : span.end] for span in masked.spans)


@pytest.mark.parametrize(
    "text",
    [
        PRIVATE_KEY,
        PRIVATE_KEY.replace("\n", "\\n"),
        PRIVATE_KEY.replace("\n", " "),
        PRIVATE_KEY[:140],
        "\n".join("    " + line for line in PRIVATE_KEY.splitlines()),
        PRIVATE_KEY.replace("RSA", "OPENSSH"),
    ],
    ids=["block", "one-line", "spaces", "cut-off", "indented", "openssh"],
)
def test_a_private_key_goes_whole(masker: Masker, text: str) -> None:
    masked = masker.mask(f"before\n{text}\nafter")
    assert PEM_LINE[:20] not in masked.text
    assert masked.text.startswith("before\n")
    assert masked.text.endswith("after")
    assert len(masked.spans) == 1


BENIGN = """\
        secretKeyRef: {name: members-db, key: password}
      imagePullSecrets: [{name: regcred}]
      secretName: members-tls
      passwordSecretRef: {name: x}
      existingSecret: postgres-credentials
      existingSecretPasswordKey: postgres-password
          tokenExpirationSeconds: 3607
      - serviceAccountToken: {expirationSeconds: 3607, path: token}
      automountServiceAccountToken: true
      DB_PASSWORD:  <set to the key 'password' in secret 'members-db'>  Optional: false
      DB_PASSWORD_FILE: /run/secrets/db
      image: registry.example.com/shop/web@sha256:234d61aad5e22b55220ea667548c0587505b0f2d1f0e4f3b9a1c2d3e4f5a6b7c
      containerID: containerd://4aa667f8acb41b733a1dce365e3fa9f127ea145826849d1405db27a32e5cef9b
      uid: b527d2de-04c0-4b36-962b-90b9e45724cd
      resourceVersion: "183746"
      checksum/config: 01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b
      KUBECHAT_MODEL_KEY is not set; KUBECHAT_MODEL=openai/gpt-5-mini
      volumes: [{name: default-token-x2k5p, secret: {secretName: default-token-x2k5p}}]
      Warning FailedMount MountVolume.SetUp failed for volume "tls" : secret "members-tls" not found
      the password is incorrect; password: incorrect; invalid token: expired
      password authentication failed for user "app"; FATAL: password: authentication failed
      worker.17a3b4c5d6e7f890 web-7d9f8b6c5d-x2k5p.17b2c3d4e5f60718
      kubectl create clusterrolebinding x --user=system:kube-proxy
      prompt_tokens: 5123 completion_tokens: 88 max_tokens=4096 tokens: 12345678
      password: ${DB_PASSWORD} password: $(DB_PASSWORD) password: {{ .Values.password }} password: "****"
      public_key = "9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit"
      -----BEGIN CERTIFICATE-----
      authorization: Webhook mode; Authorization: Bearer $TOKEN
      http://user@host:8080/path https://example.com:443/a@b
      continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MTIzLCJzdGFydCI6Im5naW54In0
      SSL_KEY_PATH=/etc/tls/tls.key keyVaultName: prod-kv-0042 api-key-header: X-Api-Key
"""


@pytest.mark.parametrize("line", BENIGN.splitlines())
def test_kubernetes_text_that_only_sounds_secret_is_untouched(masker: Masker, line: str) -> None:
    assert masker.mask(line).text == line


def test_the_data_of_a_secret_are_masked_and_those_of_a_configmap_are_not(masker: Masker) -> None:
    yaml = (
        "kind: ConfigMap\ndata:\n  LEVEL: debug\n---\n"
        "apiVersion: v1\ndata:\n  user: YWRtaW4=\n  conf: |\n    a plain line\nkind: Secret\nmetadata:\n  name: x\n"
    )
    json = '{"items":[{"data":{"LEVEL":"debug"},"kind":"ConfigMap"},{"data":{"user":"YWRtaW4="},"kind":"Secret"}]}'
    for text in (yaml, json):
        masked = masker.mask(text).text
        assert "YWRtaW4=" not in masked
        assert "a plain line" not in masked
        assert "debug" in masked
        assert "user" in masked


def test_equal_values_share_a_placeholder_and_another_key_gives_another(masker: Masker) -> None:
    one, two, three = PLACEHOLDER.findall(masker.mask("password=hunter2x PASSWORD: hunter2x password=other-1").text)
    assert one == two != three
    assert one != PLACEHOLDER.findall(Masker(KEY[::-1], CREDENTIAL_RULES).mask("password=hunter2x").text)[0]


def test_spans_tell_where_and_counts_how_many(masker: Masker) -> None:
    text = "password=hunter2x and postgres://a:secretpw@h/ and password=other-1"
    masked = masker.mask(text)
    assert [text[span.start : span.end] for span in masked.spans] == ["hunter2x", "secretpw", "other-1"]
    assert masked.counts == {"named-secret": 2, "url-password": 1}


def test_a_placeholder_amid_a_secret_does_not_save_it(masker: Masker) -> None:
    forged = PRIVATE_KEY.replace("\n", "\n[masked:jwt:0000]\n", 1)
    assert PEM_LINE not in masker.mask(forged).text


def test_other_packages_can_add_rows() -> None:
    rules = (shape("employee-number", r"EMP-[0-9]{6}", "EMP-"), *CREDENTIAL_RULES)
    assert Masker(KEY, rules).mask("by EMP-123456").counts == {"employee-number": 1}


def test_a_rule_that_fails_fails_the_masking() -> None:
    def broken(_: Text) -> Iterator[tuple[int, int]]:
        raise IndexError("faulty")
        yield

    with pytest.raises(MaskingFailed) as caught:
        Masker(KEY, [Rule("broken", broken)]).mask("password=hunter2x")
    assert "hunter2x" not in str(caught.value)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Masker(b"short", CREDENTIAL_RULES)


WORDS = ("password", "token", "secret", "value", "a", "Z9", "eyJ", "0123456789abcdef", "İ", "K", "\ud800")
MARKS = ("=", ":", '"', "'", " ", "\n", "\\n", "\r", "\u2028", "://", "@", ".", "-----", "<", "{", "}", ",")
PHRASES = ("-----BEGIN RSA PRIVATE KEY-----", "BEGIN PRIVATE KEY", "END PRIVATE KEY", "[masked:jwt:12ab]", "bearer ")
MANIFEST = ("kind: Secret", "\ndata:\n  ", "- name: ")
FRAGMENTS = st.sampled_from((*WORDS, *MARKS, *PHRASES, *MANIFEST))


@given(st.lists(FRAGMENTS, max_size=40).map("".join))
@settings(max_examples=300)
def test_masking_twice_is_masking_once_and_spans_stay_in_order(text: str) -> None:
    masker = Masker(KEY, CREDENTIAL_RULES)
    masked = masker.mask(text)
    assert masker.mask(masked.text).text == masked.text
    ends = [0, *(end for _, end, _ in masked.spans)]
    assert all(end <= span.start < span.end <= len(text) for end, span in zip(ends, masked.spans, strict=False))


@given(st.lists(FRAGMENTS, max_size=15).map("".join), st.sampled_from([" ", "\n", ", "]))
@settings(max_examples=150)
def test_no_surroundings_hide_a_vendors_token(before: str, gap: str) -> None:
    token = "ghp_" + "a1B2" * 9
    assert token not in Masker(KEY, CREDENTIAL_RULES).mask(before + gap + token + gap).text


HOSTILE = [
    "password=",
    "token=",
    "token=a?",
    "a",
    '"',
    "://a:",
    "eyJa.",
    "-----BEGIN PRIVATE KEY-----\n",
    "key: ",
    "- ",
    "\\n",
]
HOSTILE += [
    "kind: Secret\ndata:\n  a: b\n",
    '{"kind":"Secret","data":{',
    "cookie: a=b; ",
    "bearer ",
    "getenv('a',",
    "curl -u a:",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_grows_no_faster_than_the_text(masker: Masker, piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        return min(_timed(masker, text) for _ in range(3))

    short, long = seconds(30_000), seconds(240_000)
    # Eight times the text; quadratic work would take sixty-four times as long.
    assert long < 24 * short + 0.05


def _timed(masker: Masker, text: str) -> float:
    began = time.perf_counter()
    masker.mask(text)
    return time.perf_counter() - began


def test_a_line_of_five_megabytes_and_a_thousand_log_lines_take_a_moment(masker: Masker) -> None:
    line = 'ts=2026-01-01T00:00:00Z level=info msg="request done" path=/api/v1/orders id=3f2a-77 user=alice status=200 '
    assert _timed(masker, line * (5_000_000 // len(line))) < 3
    assert _timed(masker, (line + "\n") * 1000) < 1
