"""The one tree of errors: each carries a user-safe code and sentence, and says whether a retry may help.

Promise: `str(error)` of anything in this tree may be shown to a user or written to a log. It is composed from
values that this project chose; text of a foreign exception goes into `__cause__`, never into the message.
"""

from __future__ import annotations

from typing import Any, ClassVar


class KubeChatError(Exception):
    """An error with a stable `code` (kebab-case), a sentence for the user, and `retryable`.

    `exit_code` is what a command ends with: 2 bad input, 3 cluster unreachable, 4 internal.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 4

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def as_json(self) -> dict[str, Any]:
        """`{"code", "message", "retryable"}`: the shape of `error` in every JSON answer and event."""
        return {"code": self.code, "message": self.message, "retryable": self.retryable}


class InternalError(KubeChatError):
    """Something of ours broke; the log holds the trace under the turn's id."""


class BadInput(KubeChatError):
    """What the person gave cannot be used as it is; the message says how to mend it."""

    code = "bad-input"
    exit_code = 2


class QuestionTooLong(BadInput):
    code = "question-too-long"


class QuestionEmpty(BadInput):
    code = "question-empty"


class TurnCancelled(KubeChatError):
    """The person stopped the question."""

    code = "cancelled"
    retryable = True
    exit_code = 2


class TurnTimedOut(KubeChatError):
    code = "turn-timed-out"
    retryable = True


class SettingsInvalid(BadInput):
    code = "settings-invalid"


class SnapshotUnreadable(BadInput):
    """The snapshot folder does not exist, is empty, or holds nothing that can be read."""

    code = "snapshot-unreadable"


class NamespaceNotFound(BadInput):
    code = "namespace-not-found"


class ObjectNotFound(BadInput):
    code = "object-not-found"


class ThreadNotFound(BadInput):
    code = "thread-not-found"


class ClusterMismatch(BadInput):
    """A conversation that was held about one cluster is continued on another, and nobody confirmed it."""

    code = "cluster-mismatch"


class ClusterError(KubeChatError):
    """The cluster cannot be asked."""

    code = "cluster-error"
    exit_code = 3


class ClusterUnreachable(ClusterError):
    code = "cluster-unreachable"
    retryable = True


class ClusterConfigInvalid(ClusterError):
    """No usable kubeconfig, or the context does not exist in it."""

    code = "cluster-config-invalid"


class ClusterCredentialsRejected(ClusterError):
    """401 after one renewal: expired or revoked credentials, or a plugin that failed."""

    code = "cluster-credentials-rejected"


class ModelError(KubeChatError):
    """The model cannot be used; the turn falls back to evidence-only."""

    code = "model-error"


class ModelCredentialsRejected(ModelError):
    code = "model-credentials-rejected"


class ModelRateLimited(ModelError):
    code = "model-rate-limited"
    retryable = True


class ModelUnavailable(ModelError):
    """Refused connection, 5xx, or an answer that is not the protocol (an HTML page, say)."""

    code = "model-unavailable"
    retryable = True


class ModelTimeout(ModelError):
    code = "model-timeout"
    retryable = True


class ModelStreamBroken(ModelError):
    """The stream ended before the provider said that it was done."""

    code = "model-stream-broken"
    retryable = True


class ModelRequestRejected(ModelError):
    """400/404/413/422: unknown model, prompt too long, unsupported parameter."""

    code = "model-request-rejected"


class MaskingFailed(ModelError):
    """The masker failed, so nothing was sent."""

    code = "masking-failed"


class StorageUnavailable(KubeChatError):
    code = "storage-unavailable"
    retryable = True


class MigrationFailed(KubeChatError):
    code = "migration-failed"


class AccessRefused(KubeChatError):
    """A request from a host or origin that this server does not serve."""

    code = "access-refused"
    exit_code = 2
