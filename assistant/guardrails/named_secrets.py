"""Values that their name gives away: `password: x`, `API_KEY=x`, `"clientSecret": "x"`, `--token x`, a pod's env entry.

Kubernetes text is full of names that sound secret and are not: `secretName: members-tls`, `secretKeyRef`,
`tokenExpirationSeconds: 3607`, `password: <set to the key …>`. So the whole name is read, word by word, and then the
value: a name that ends in a word of `_DESCRIBES` describes a secret and holds none; a name that means a secret beyond
doubt (`password`, `client_secret`) has any value masked; behind a vaguer one (`token`, `secret`) only a value that
looks random.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assistant.guardrails.masking import Rule, Text


def _word_set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Where a secret's name can begin, in lower-cased text. The name goes on to the left and right of it.
_STEM = (
    r"(?:pass(?:wor[dt]|wd|phrase|code)?|pwd|pw|secret|token|credential|jwt"
    r"|(?:api|access|account|secret|private|signing|encryption|master|auth|shared|activation|license|storage|client|session)"
    r"[_\- ]?key)"
)
_QUOTE = r"(?:\\{0,4}[\"'`]|&quot;|&#34;|%22)"
_ENV_DEFAULT = r"(?:[\w.]{0,40}(?:getenv|environ\.get)\([\"'][^\"'\n]{0,80}[\"'](?:\)\s?(?:or|\|\|)|,)\s?)?"
_NAMED = re.compile(
    _STEM + r"(?P<tail>[\w\-]{0,40}+)"
    r"(?P<separator>"
    + _QUOTE
    + r"?[ \t]{0,12}(?::[ \t]{0,2}[a-z]{2,12}[ \t]{0,2}=|:=|=>|==?|:)[ \t]{0,12}"  # incl. `name: Type = value`
    r"|" + _QUOTE + r"?\s{0,3},?\s{1,40}" + _QUOTE + r"?value" + _QUOTE + r"?\s{0,4}:\s{0,4}"  # env: name, then value
    r"|" + _QUOTE + r",\s{0,2}" + _QUOTE + r"value" + _QUOTE + r":\s{0,2}"
    r"|[ \t]{1,4}(?=[^\s=:\-]))"  # a command's option; judged by the dashes in front
     + _ENV_DEFAULT + r"(?P<quote>" + _QUOTE + r")?"
    r"(?P<value>[^\s\"'`,;&<>{}\[\]\\|]{1,256}+)"  # at most _JUDGED
)
_JUDGED = 256
_REST = re.compile(r"[^\s\"'`,;&<>{}\[\]\\|]*+")
_QUOTED_REST = re.compile(r"[^\"'`\n\\<&]{0,256}+")
_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
_WORD = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")

# Last words (or first, for `public`) that make a name speak about a secret instead of being one.
_DESCRIBES = _word_set(
    """
    age alg algorithm algorithms annotation arn attempt attempts audience audiences auth authentication
    authenticator bucket budget cache chars check class client configuration controller count counter created
    creation csi day days default dir directory driver duration enabled encoding endpoint engine error errors
    exists exp expiration expire expired expires expiry failed failure field fields file filename format
    generator hint host hours id identifier ids index input interval invalid issuer item items keyref keyword
    kind label labels length lifetime limit limits list location manager max method min minutes missing mode
    mount name names namespace optional output param parameter path paths plugin policy prefix projected prompt
    properties property provider public ref reference references refs regex required requests reset resource
    review reviews revision role rotation rule rules scope seconds selector service set size source sources
    state status store strategy suffix template templates timeout total ttl type types uri url usage used user
    username variable version volume volumes words rate per
    """
)
_MODIFIERS = frozenset(
    {"csrf", "xsrf", "public", "page", "next", "continue", "pagination", "max", "min", "prompt", "completion"}
)
# Words that mean a secret beyond doubt when they end the name, and pairs of words that do.
_STRONG = ("password", "passwd", "passwort", "passphrase", "passcode", "pwd", "pw", "pass")
_STRONG_SECRETS = _word_set("client app api consumer signing webhook session shared jwt auth oauth cookie hmac master")
_STRONG_TOKENS = _word_set(
    """
    access refresh auth bearer session api bot oauth id personal deploy service admin root bootstrap registration
    """
)
_STRONG_KEYS = _word_set(
    "api access secret private signing encryption master account auth activation license storage session client"
)
_STRONG_PAIRS = {"secret": _STRONG_SECRETS, "token": _STRONG_TOKENS, "key": _STRONG_KEYS}
# Words behind a secret's name that change nothing about it.
_TRAILING = _word_set(
    """
    value val data base64 b64 plain text string prod dev test staging old new current previous primary secondary
    """
)
_NOT_A_VALUE = _word_set(
    """
    string str text value password passwd secret token true false null none nil undefined unset empty yes no
    optional required redacted masked hidden changed expired incorrect invalid wrong missing denied failed
    rejected mismatch unknown authentication authorization default self this env file object any bytes interface
    optional[str] str|none
    """
)
_PLACEHOLDER_START = re.compile(
    r"<|\$[({]|\$[A-Z_]{2}|\$[A-Za-z_]+\Z|\{\{|%[({]|\[masked:|\*{3}|x{4,}\Z|X{4,}\Z|\.{3}|…|file:|env:|vault:|ref\+|arn:|/[\w.-]+/|\./|process\.env|os\.|\(|!Ref|!Sub|@"
)
_VERSION = re.compile(r"(?:[a-z]{1,12}-){0,3}v?[0-9]+\.[0-9]+[\w.\-]*\Z|sha(?:1|256|512)[:-]", re.IGNORECASE)
_DNS_NAME = re.compile(r"[a-z0-9]+(?:[-.][a-z0-9]+)+\Z")
_COMPOSITE = re.compile(r"=[^=]")  # `token=x?password=y` is no value but more names and values
_CODE = re.compile(r"[A-Za-z_][\w]*(?:(?:\.|::|->)[A-Za-z_]\w*)+(?:\(|\Z)|[A-Za-z_]\w*\(")


def is_placeholder(value: str) -> bool:
    """Whether a value stands for a secret instead of being one: a reference, a template, stars, a type's name."""
    return not value or bool(_PLACEHOLDER_START.match(value)) or value.lower() in _NOT_A_VALUE


def _words(name: str) -> list[str]:
    """`dbPasswordFile` and `DB_PASSWORD_FILE` as [db, password, file]."""
    return [word.lower() for word in _WORD.findall(name)]


def _strength(words: list[str]) -> int:
    """2: the name means a secret beyond doubt; 1: it may; 0: it describes one, or has nothing to do with one."""
    while len(words) > 1 and (words[-1] in _TRAILING or words[-1].isdigit()):
        words = words[:-1]
    if not words or words[-1] in _DESCRIBES or not _MODIFIERS.isdisjoint(words):
        return 0
    last = words[-1]
    if any(last.endswith(word) for word in _STRONG):
        return 2 if last != "bypass" and last != "compass" else 0
    if (len(words) > 1 and words[-2] in _STRONG_PAIRS.get(last, ())) or last in {
        "apikey",
        "secretkey",
        "accesskey",
        "privatekey",
    }:
        return 2
    return 1 if last.endswith(("secret", "token", "credential", "credentials", "jwt", "apikey", "tokens")) else 0


def _looks_random(value: str) -> bool:
    """Letters and digits mixed and no name of something: the mark of a generated value."""
    if _VERSION.match(value) or _CODE.match(value) or "://" in value:
        return False
    digits = sum(c.isdigit() for c in value)
    letters = sum(c.isalpha() for c in value)
    if not digits or not letters or len(value) < 6:
        return (
            len(value) >= 20 and any(c.isupper() for c in value) and any(c.islower() for c in value) and value.isalnum()
        )
    # A Kubernetes name like `default-token-x2k5p` has a random tail only; a token is random all through.
    return not (_DNS_NAME.match(value) and len(value) < 64 and digits * 3 < len(value))


def _is_prose(text: str, end: int, value: str) -> bool:
    """Whether a bare lower-case word after a colon goes on as a sentence ("password: access is denied")."""
    return value.isalpha() and value.islower() and text[end : end + 1] == " " and text[end + 1 : end + 2].isalpha()


def _is_secret(strength: int, separator: str, quoted: bool, value: str) -> bool:
    """Whether a value behind a name of this strength is a secret."""
    if is_placeholder(value) or len(value) < 4 or _CODE.match(value):
        return False
    if strength == 1:
        if _COMPOSITE.search(value):
            return False
        assigned = "=" in separator and not _DNS_NAME.match(value) and not value.islower() and len(value) >= 8
        return _looks_random(value) or (assigned and not value.isdigit() and any(c.isdigit() for c in value))
    if _VERSION.match(value) and value.count(".") > 1:
        return False
    # `secretKey: api-key` and `passwordKey: postgres-password` name a key of a Secret.
    return (
        quoted
        or "=" in separator
        or not (value.islower() and "-" in value and value.endswith(("key", "password", "secret", "token")))
    )


def _named_values(text: Text) -> Iterator[tuple[int, int]]:
    """Values behind names; after a refused value the search goes on inside it, for `token=x?password=y`."""
    at = 0
    search = _NAMED.search
    while match := search(text.lower, at):
        span = _value_span(text, match)
        if span is None:
            # Past the stem at least; a value of 256 characters at most is read again.
            at = max(match.start("separator"), match.start() + 1)
            continue
        yield span
        at = span[1]


def _value_span(text: Text, match: re.Match[str]) -> tuple[int, int] | None:
    raw, separator = text.raw, match["separator"]
    start, end = match.span("value")
    before = raw[max(0, match.start() - 80) : match.start()]
    name = before[len(before.rstrip(_NAME_CHARACTERS)) :] + raw[match.start() : match.start("separator")]
    if separator.isspace() and not name.startswith("--"):
        return None
    strength = _strength(_words(name))
    if not strength or (
        name[-2:].lower() == "pw" and len(name) == 2 and raw[match.start() - 1 : match.start()] in ("]", ")", "%")
    ):
        return None
    quoted = match["quote"] is not None
    if quoted:
        rest = _QUOTED_REST.match(raw, end)
        end = rest.end() if rest and raw[rest.end() : rest.end() + 1] in ('"', "'", "`", "\\", "&") else end
    value = raw[start:end]
    if not quoted:
        value = value.rstrip(").:!?") if value.endswith((").", "):", ".", ":")) else value
        value = value[:-1] if value.endswith(")") and "(" not in value else value
        end = start + len(value)
        if "=" not in separator and _is_prose(raw, end, value):
            return None
    if not _is_secret(strength, separator, quoted, value):
        return None
    # Judged by its beginning and read on only once it is accepted: refused values would be read again and again.
    rest = _REST.match(raw, end) if match.end("value") - start == _JUDGED and not quoted else None
    return start, rest.end() if rest else end


# `--password` and its value as two entries of a list, as JSON, YAML and programs write a container's arguments.
_LISTED = re.compile(
    r"(?:(?P<quote>\\{0,4}[\"'])-{1,2}(?P<name>[a-z][\w.\-]{1,60}+)(?P=quote),\s{0,40}(?P=quote)"
    r"|^[ \t]{0,60}- [\"']?-{1,2}(?P<bare_name>[a-z][\w.\-]{1,60}+)[\"']?[ \t]{0,4}\n[ \t]{0,60}- [\"']?)"
    r"(?P<value>[^\s\"'\\\-][^\n\"'\\]{0,511}+)",
    re.MULTILINE,
)


def _listed_values(text: Text) -> Iterator[tuple[int, int]]:
    for match in _LISTED.finditer(text.lower):
        group = "name" if match["name"] else "bare_name"
        strength = _strength(_words(text.raw[slice(*match.span(group))]))
        start, end = match.span("value")
        if strength and _is_secret(strength, " ", True, text.raw[start:end]):
            yield start, end


_HINTS = ("pass", "pwd", "pw", "secret", "token", "credential", "jwt", "key")

NAMED_SECRET_RULES: tuple[Rule, ...] = (
    Rule("named-secret", _named_values, _HINTS),
    Rule("named-secret", _listed_values, _HINTS),
)
