"""Log lines that tell of calls which fail: a name that does not resolve, a host that does not answer.

Promise: a line counts only when it speaks of the wanted host and of a failure to reach it; evidence is the lines as
they were written. Patterns are those of common resolvers and clients (glibc, musl, Go, Java, Node, Python, busybox).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from agents.analyzers.backing import grep, has_log, is_troubled
from agents.cluster.objects import K8sObject
from agents.cluster.view import ClusterView
from agents.evidence import Evidence

UNRESOLVED = re.compile(
    r"bad address|no such host|nxdomain|enotfound|eai_again|unknown ?host|could ?n[o']t resolve|cannot resolve|"
    r"failed to resolve|unable to resolve|could not be resolved|host not found|name or service not known|"
    r"name does not resolve|temporary failure in name resolution|could not translate host|unresolved ?address|"
    r"nodename nor servname|name resolution|lookup .* on |getaddrinfo|server misbehaving|no address associated|"
    r"servfail|no servers could be reached|dns(?:_| )?(?:error|lookup|resolution|timeout)",
    re.IGNORECASE,
)
UNREACHABLE = re.compile(
    r"refused|timed? ?out|timeout|etimedout|unreachable|no route to host|deadline exceeded|reset by peer|"
    r"ehostunreach|enetunreach|econnreset|connection reset|cannot connect|can't connect|could not connect|"
    r"unable to connect|failed to connect|could not open connection|failed to dial|dial tcp|connect error|"
    r"connection (?:failed|error|aborted|closed)|upstream connect|not reachable|waiting for|"
    r"communications link failure|server closed the connection|hosts? (?:is )?down",
    re.IGNORECASE,
)


def speaks_of(host: str, *also: str) -> Callable[[str], bool]:
    """A predicate for log lines that tell of failing to reach a host (or one of the other spellings of it)."""
    names = [re.escape(n) for n in {host, host.split(".")[0], *also} if n]
    pattern = re.compile(r"(?<![\w.-])(?:" + "|".join(sorted(names, key=len, reverse=True)) + r")(?![\w-])")

    def matches(line: str) -> bool:
        return bool(pattern.search(line)) and bool(UNRESOLVED.search(line) or UNREACHABLE.search(line))

    return matches


def log_failures(view: ClusterView, workload: K8sObject, matches: Callable[[str], bool]) -> list[Evidence]:
    """Evidence of such log lines of a workload's pods, at most two pods; those that struggle first."""
    logged = [pod for pod in view.pods_of(workload) if has_log(view, pod)]
    pods = sorted(logged, key=lambda pod: not is_troubled(view, pod))
    found: list[Evidence] = []
    for pod in pods[:10]:
        found.extend(grep(view, pod, matches)[:1])
        if len(found) >= 2:
            break
    return found


def unresolved(host: str) -> Callable[[str], bool]:
    """A predicate for log lines that tell that this host's name does not resolve."""
    about = speaks_of(host)
    return lambda line: about(line) and bool(UNRESOLVED.search(line))


def unreached(host: str) -> Callable[[str], bool]:
    """A predicate for log lines that tell that this host does not answer, though its name resolves."""
    about = speaks_of(host)
    return lambda line: about(line) and bool(UNREACHABLE.search(line)) and not UNRESOLVED.search(line)
