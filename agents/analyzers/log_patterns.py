"""What crashing and unready programs say about why: one table of log patterns, the most telling first.

A pattern's named groups say what was found: `path`, `variable`, `host`, `port`, `user`. Patterns follow the words of
the common runtimes (Go, Java, Python, Node, shells), of databases and of web servers, not of single programs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agents.analyzers.base import Code
from agents.analyzers.log_codes import (
    APPLICATION_ERROR,
    BIND_DENIED,
    CLOUD_DENIED,
    CONFIG_INVALID,
    CONNECTION_REFUSED,
    CONNECTION_TIMEOUT,
    CONNECTIONS,
    CREDENTIALS,
    DISK_FULL,
    FILE_MISSING,
    FILE_PERMISSION,
    FILES_EXHAUSTED,
    LOCK_HELD,
    NAME_RESOLUTION,
    PORT_IN_USE,
    PROGRAM_PART_MISSING,
    READ_ONLY,
    RUNTIME_MEMORY,
    SCHEMA,
    TLS,
    UNKNOWN_ARGUMENT,
    VARIABLE_MISSING,
)


@dataclass(frozen=True, slots=True)
class LogRule:
    """One pattern; `ends_only` patterns count for programs that ended, not for those that run and are not ready."""

    code: Code
    pattern: re.Pattern[str]
    ends_only: bool = False


def _rule(code: Code, *patterns: str, ends_only: bool = False, ignore_case: bool = True) -> list[LogRule]:
    flags = re.IGNORECASE if ignore_case else 0
    return [LogRule(code, re.compile(p, flags), ends_only) for p in patterns]


_PATH = r"['\"`]?(?P<path>/[^\s:'\"`,;)\]]*)['\"`]?"
_LEVELS = r"(?!(?:ERROR|FATAL|WARN|WARNING|INFO|DEBUG|CRITICAL|EMERG|PANIC|SEVERE)\b)"
_VAR = r"['\"`]?(?<![\w.])" + _LEVELS + r"(?P<variable>[A-Z][A-Z0-9]*_[A-Z0-9_]+|[A-Z][A-Z0-9]{3,})['\"`]?"
_IS = r"(?: environment variable| env var)? (?:is |was |has )?"
_HOSTNAME = r"['\"`]?(?P<host>[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?)\.?['\"`]?"
_NO_CLOCK = r"(?<![\w.:-])(?!\d{4}-\d\d-)(?=[^\s:/]*[A-Za-z\[]|\d+\.\d+\.\d+\.\d+)"
_PEER = _NO_CLOCK + r"(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?)[:/ ](?P<port>\d{2,5})"

# what the API server refuses is told by the checks of roles; these lines are no news here
NOT_OURS = re.compile(r"is forbidden: User |cannot (?:get|list|watch|create|update|patch|delete) resource ")

RULES: tuple[LogRule, ...] = (
    *_rule(
        BIND_DENIED,
        r"(?:bind|listen)\S*(?: to)? (?:tcp )?\S*:(?P<port>\d{1,3})\b.*permission denied",
        r"EACCES.*(?:listen|bind)\S* \S*:(?P<port>\d{1,3})\b",
    ),
    *_rule(
        READ_ONLY,
        _PATH + r".*read-only file ?system",
        r"(?:EROFS|read-only file ?system).*?" + _PATH,
        r"EROFS|read-only file ?system",
    ),
    *_rule(
        DISK_FULL,
        _PATH + r".*no space left on device",
        r"no space left on device.*?" + _PATH,
        r"no space left on device|ENOSPC|disk quota exceeded|disk (?:is )?full",
    ),
    *_rule(
        FILE_PERMISSION,
        r"(?:open|mkdir|creat|stat|access|unlink|rename|chmod|chown|write|read)\S* " + _PATH + r".*permission denied",
        r"permission denied\W+(?:\w+ )?" + _PATH,
        _PATH + r"\S*['\"`]?:? .{0,60}?(?:permission denied|operation not permitted)",
        r"AccessDeniedException: " + _PATH,
        r"access to the path " + _PATH + r" is denied",
        r"(?:data directory|directory) " + _PATH + r" has (?:wrong ownership|invalid permissions)",
    ),
    *_rule(
        VARIABLE_MISSING,
        _VAR + _IS + r"(?:not |un)(?:been )?(?:set|defined|provided|specified|found)\b",
        _VAR + _IS + r"(?:required|missing|mandatory|empty|undefined|must (?:be (?:set|given|defined)|not be empty))",
        r"KeyError: '(?P<variable>[A-Z][A-Z0-9_]{2,})'",
        r"required key (?P<variable>[A-Z][A-Z0-9_]{2,}) missing value",
        ignore_case=False,
    ),
    *_rule(
        VARIABLE_MISSING,
        r"(?:missing|required|undefined|unset|unknown|not set|not found|empty|provide|lookup)\b[^:]{0,40}?"
        r"\b(?:env(?:ironment)?[ _-]?var(?:iable)?s?|environment|variables?|env)\b[:\s]+(?-i:" + _VAR + r")",
        r"(?:env(?:ironment)?[ _-]?var(?:iable)?|environment|env)\b[:\s]+(?-i:" + _VAR + r").{0,40}"
        r"(?:missing|required|not (?:set|found|defined|present)|undefined|empty)",
        r"(?-i:" + _VAR + r"): (?:parameter not set|parameter null or not set|unbound variable)",
        r"could not resolve placeholder '(?P<variable>[^']+)'",
        r"(?P<variable>POSTGRES_PASSWORD|MYSQL_ROOT_PASSWORD|MARIADB_ROOT_PASSWORD).{0,60}(?:must|need|specif|required)",
    ),
    *_rule(
        UNKNOWN_ARGUMENT,
        r"unknown (?:short(?:hand)? )?(?:flag|option|argument|switch|command|subcommand)s?\b",
        r"unrecognized (?:option|arguments?|flag|VM option|command)|unexpected argument",
        r"flag provided but not defined|(?:invalid|illegal) option -|no such option|found argument .* which wasn't",
        r"invalid (?:value|argument) .* for (?:flag|option|\"?-)|bad option: -",
        ends_only=True,
    ),
    *_rule(
        CREDENTIALS,
        r"password authentication failed for user ['\"]?(?P<user>[\w.-]+)",
        r"access denied for user ['\"]?(?P<user>[\w.-]*)",
        r"login failed for user ['\"]?(?P<user>[\w.-]+)",
        r"role \"(?P<user>[^\"]+)\" does not exist",
        r"WRONGPASS|NOAUTH|invalid username-password|authentication failed|SCRAM.*failed|ACCESS_REFUSED|"
        r"invalid (?:api key|credentials|password|token|access key)|bad credentials|auth\w* (?:error|failure)|"
        r"InvalidAccessKeyId|SignatureDoesNotMatch|no pg_hba\.conf entry|incorrect password|401 unauthorized",
    ),
    *_rule(
        CLOUD_DENIED,
        r"is not authorized to perform|AccessDenied(?:Exception)?\b|PERMISSION_DENIED|AuthorizationFailed|"
        r"does not have [\w.]+ access|insufficient (?:permissions|privileges)|UnauthorizedOperation",
    ),
    *_rule(
        PORT_IN_USE,
        r"(?:listen|bind)\S*(?: tcp)?\S* \S*:(?P<port>\d{2,5}).*address already in use",
        r"address already in use\D*(?P<port>\d{2,5})",
        r"EADDRINUSE.*?:(?P<port>\d{2,5})",
        r"port (?P<port>\d{2,5}) (?:is|was) already in use",
        r"address already in use",
        ends_only=True,
    ),
    *_rule(
        RUNTIME_MEMORY,
        r"java\.lang\.OutOfMemoryError|JavaScript heap out of memory|runtime: out of memory|cannot allocate memory|"
        r"\bMemoryError\b|std::bad_alloc|Allowed memory size of \d+ bytes exhausted",
    ),
    *_rule(
        NAME_RESOLUTION,
        r"lookup " + _HOSTNAME + r"(?: on \S+)?:? .*(?:no such host|server misbehaving|i/o timeout|timeout)",
        r"getaddrinfo (?:ENOTFOUND|EAI_AGAIN) " + _HOSTNAME,
        r"could not translate host name " + _HOSTNAME,
        r"UnknownHostException:? " + _HOSTNAME,
        r"bad address " + _HOSTNAME,
        r"(?:could not|can't|cannot|unable to|failed to) resolve(?: host(?:name)?)?:? " + _HOSTNAME,
        r"Name or service not known|Temporary failure in name resolution|nodename nor servname|"
        r"no such host|host not found|NXDOMAIN",
    ),
    *_rule(
        CONNECTION_REFUSED,
        r"(?:dial tcp|connect(?:ing|ion)?(?: to| failed)?|ECONNREFUSED|reach)\W+(?:\w+://)?(?:[^\s@/]+@)?" + _PEER
        + r".*refused",
        r"ECONNREFUSED " + _PEER,
        r"(?:connection to )?server (?:at|on host) ['\"]" + _HOSTNAME + r"[^,]*, port (?P<port>\d+).*refused",
        r"(?:\w+://)(?:[^\s@/]+@)?" + _PEER + r".*(?:connection )?refused",
        r"refused.*?(?:\w+://)(?:[^\s@/]+@)?" + _PEER,
        _PEER + r"\b.{0,60}connection refused",
        r"connection refused\W.{0,40}?" + _PEER + r"\b",
        r"connection refused|ECONNREFUSED",
    ),
    *_rule(
        TLS,
        r"x509: .*|certificate verify failed|SSLHandshakeException|PKIX path|self[- ]signed certificate|"
        r"unable to (?:verify|get) .*certificate|certificate (?:has expired|is not valid)|CERT_HAS_EXPIRED|"
        r"does not look like a TLS handshake|wrong version number|tls: (?:bad|failed|unknown|handshake)|"
        r"ssl is not enabled|server does not support SSL",
    ),
    *_rule(
        CONNECTIONS,
        r"too many (?:connections|clients)|remaining connection slots|max_user_connections|max number of clients|"
        r"connection pool (?:is )?exhausted",
    ),
    *_rule(FILES_EXHAUSTED, r"too many open files|EMFILE|inotify.*(?:limit|ENOSPC)|inotify_init"),
    *_rule(
        SCHEMA,
        r"relation \"[^\"]+\" does not exist|column \S+ (?:of relation \S+ )?does not exist|no such (?:table|column)|"
        r"table '[^']+' doesn't exist|unknown column|pending migrations?|migrations? (?:failed|is missing|pending)|"
        r"dirty database version|schema version|validate failed: .*migration|database \"[^\"]+\" does not exist|"
        r"unknown database|incompatible (?:database|data|with).*version|database files are incompatible",
    ),
    *_rule(
        LOCK_HELD,
        r"could not (?:obtain|acquire) (?:the )?lock|waiting for (?:changelog|migration|database|the) lock|"
        r"database is locked|already locked|lock file .*(?:exists|held)|another (?:instance|process|server)\b.*"
        r"(?:running|using|lock)|failed to (?:obtain|acquire) (?:node )?locks?|resource temporarily unavailable.*lock",
    ),
    *_rule(
        CONNECTION_TIMEOUT,
        r"(?:dial tcp|connect(?:ing|ion)?(?: to)?|ETIMEDOUT|reach)\W+(?:\w+://)?(?:[^\s@/]+@)?" + _PEER
        + r".*(?:time(?:d )?-?out|deadline exceeded|no route|unreachable)",
        r"(?:ETIMEDOUT|EHOSTUNREACH) " + _PEER,
        r"server (?:at|on host) ['\"]" + _HOSTNAME + r"[^,]*, port (?P<port>\d+).*timed? ?-?out",
        _PEER + r"\b.{0,80}(?:connect\w* timed out|i/o timeout|timeout expired|no route to host)",
        r"(?:time(?:d )?-?out|timeout)\b.{0,40}?(?:\w+://)" + _PEER,
    ),
    *_rule(
        FILE_MISSING,
        _PATH + r"['\"`]?:? .{0,40}(?:no such file or directory|file not found|does not exist)",
        r"(?:ENOENT|no such file or directory|(?:FileNotFound|NoSuchFile)\w*|file not found)\W.{0,40}?" + _PATH,
        ends_only=True,
    ),
    *_rule(
        CONFIG_INVALID,
        r"(?:parse|parsing|load|loading|read|reading|unmarshal|decode|decoding|invalid|syntax|config)\S* .{0,60}?"
        + _PATH + r".*(?:yaml|json|toml|syntax|unexpected|invalid|unknown|unmarshal|error)",
        r"\[emerg\] .* in " + _PATH,
        r"(?<![\w.])yaml: |yaml\.(?:scanner|parser)|error converting YAML|cannot unmarshal|JSONDecodeError|"
        r"invalid character .* looking for|unexpected token .* (?:in JSON|is not valid JSON)|TOMLDecodeError|"
        r"(?<![\w.])toml: |"
        r"mapping values are not allowed|could not find expected ':'|\[emerg\]|unknown directive",
        r"(?:failed|unable|error|could not|cannot|can't)\b.{0,30}(?:pars|load|read|decod|unmarshal|validat)\w*"
        r".{0,30}config|(?:invalid|bad|malformed) config|config\w* (?:error|is invalid|file error)|"
        r"invalid (?:value|setting|property|type)\b|unknown (?:field|key|property|setting)|"
        r"(?:strconv|time)\.\w+: |NumberFormatException|invalid literal for int|invalid duration|invalid port",
        ends_only=True,
    ),
    *_rule(
        PROGRAM_PART_MISSING,
        r"cannot find module|ModuleNotFoundError|ImportError|ClassNotFoundException|NoClassDefFoundError|"
        r"error while loading shared libraries|could not find or load main class|GLIBC_\S+' not found|"
        r"undefined symbol|could not load (?:file or assembly|library)|UnsupportedClassVersionError",
        ends_only=True,
    ),
    *_rule(
        APPLICATION_ERROR,
        r"^panic: .*|thread '.*' panicked at|exception in thread|unhandled (?:exception|rejection|error)|"
        r"segmentation fault|core dumped|\b(?:FATAL|CRITICAL|EMERG)\b|\"?level\"?[=:] ?\"?(?:fatal|panic|critical)|"
        r"^\w*(?:Error|Exception): .*|assertion failed",
        ends_only=True,
    ),
)  # fmt: skip
