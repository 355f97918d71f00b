"""Calls a provider through litellm, streaming only; the one importer of litellm.

litellm is imported late, in a thread (it takes seconds), with its switches set before: no download of prices or
tokenizers, no `.env`, no log of its own, no callbacks. Its Router gives the retry before the first token and the
circuit breaker.

Every failure becomes an error of `assistant.errors` with a sentence of ours; what the provider wrote goes into
`__cause__` only. Two things that litellm hides are looked after here: a stream that ends without a finish reason
(litellm makes up "stop") is `ModelStreamBroken`, and an unknown price (the Router makes it 0.0) is a cost of None.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from assistant.errors import (
    ModelCredentialsRejected,
    ModelError,
    ModelRateLimited,
    ModelRequestRejected,
    ModelStreamBroken,
    ModelTimeout,
    ModelUnavailable,
)
from assistant.models.catalog import at_providers_own, destination, endpoint, provider_of
from assistant.models.request import (
    Finished,
    Message,
    ModelChoice,
    ModelEvent,
    ModelRequest,
    TextDelta,
    ToolCall,
    ToolCallRequested,
    ToolResult,
    Usage,
)

_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "USE_LITELLM_PROXY": "False",  # "true" sends every call to an address that nobody was shown
}
# Read by the openai package for every address; meant for OpenAI's own.
_FOR_OPENAI_ALONE = ("OPENAI_CUSTOM_HEADERS", "OPENAI_ORG_ID", "OPENAI_ORGANIZATION", "OPENAI_PROJECT_ID")
_LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "openai")
# What the first call would import in the middle of the event loop: most of a second.
_LATE_MODULES = ("openai.resources", "litellm.litellm_core_utils.default_encoding", "anyio._backends._asyncio")
_GROUP = "kubechat"
# Sent where no key is configured: local servers ask for none, but the client library refuses to go without.
_NO_KEY = "no-key-configured"
# What a foreign library may raise besides its own errors: a nonsense answer ends in any of these.
_FOREIGN_FAILURES = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ImportError)
# Far beyond any answer that somebody would read, and any call of a tool: what is longer has lost its way.
MAX_ANSWER_CHARACTERS = 120_000
MAX_CALLS = 32
MAX_CALL_CHARACTERS = 20_000  # name and arguments of all calls together
_BREAKER_FAILURES = 5
_BREAKER_SECONDS = 30.0


class LitellmAdapter:
    """A `ModelPort` (call the instance) for one `ModelChoice`. Close it with `aclose` when the process ends."""

    def __init__(self, choice: ModelChoice, env: Mapping[str, str], *, retries: int = 1) -> None:
        """`env` is the environment that the provider's own variables are looked up in; `retries` (0 or 1) counts
        repeated attempts before the first token, for failures of the server alone."""
        self._choice = choice
        self._env = env
        self._retries = retries
        self.destination = destination(choice, env)
        self._litellm: Any = None
        self._router: Any = None
        self._failures: tuple[type[Exception], ...] = _FOREIGN_FAILURES
        self._loading = asyncio.Lock()

    async def warm(self) -> None:
        """Import litellm in a thread and make the Router, so that the first question does not wait for it."""
        async with self._loading:
            if self._router is None:
                self._litellm = await asyncio.to_thread(_import_litellm)
                if not at_providers_own(self._choice, self._env):
                    for variable in _FOR_OPENAI_ALONE:
                        os.environ.pop(variable, None)
                self._failures = (*_FOREIGN_FAILURES, *_library_errors())
                self._router = self._make_router()

    async def aclose(self) -> None:
        """Close the connections to the provider; the adapter can be used again afterwards."""
        if self._router is not None:
            self._router.discard()
            await self._litellm.close_litellm_async_clients()
            self._litellm.in_memory_llm_clients_cache.flush_cache()
            self._router = None

    def _make_router(self) -> Any:
        router_types = importlib.import_module("litellm.types.router")
        deployment = {
            "model_name": _GROUP,
            "litellm_params": {
                "model": self._model_name(),
                "api_base": endpoint(self._choice, self._env),
                "api_key": self._key(),
            },
            "model_info": {"id": f"{_GROUP}:{self._choice.model}@{self.destination}"},
        }
        router = self._litellm.Router(
            model_list=[deployment],
            num_retries=self._retries,
            # A provider that asks to wait (429) may ask for a minute, and a time-out has used the turn's time up.
            retry_policy=router_types.RetryPolicy(RateLimitErrorRetries=0, TimeoutErrorRetries=0),
            allowed_fails=_BREAKER_FAILURES,
            # A wrong key or name stays wrong: breaking the circuit would only hide which of them it is.
            allowed_fails_policy=router_types.AllowedFailsPolicy(
                AuthenticationErrorAllowedFails=10_000,
                NotFoundErrorAllowedFails=10_000,
                BadRequestErrorAllowedFails=10_000,
            ),
            cooldown_time=_BREAKER_SECONDS,
        )
        _keep_provider_stream(router)
        return router

    def _model_name(self) -> str:
        """The model in litellm's words; behind one's own address a name without provider speaks OpenAI's protocol."""
        model = self._choice.model
        prefix, slash, _ = model.partition("/")
        known = slash and (provider_of(model) or prefix in self._litellm.provider_list)
        return model if known or not self._choice.url else f"openai/{model}"

    def _key(self) -> str | None:
        """None lets litellm read the provider's own variables, which is right for the provider's own host alone."""
        if self._choice.key or at_providers_own(self._choice, self._env):
            return self._choice.key
        return _NO_KEY

    async def __call__(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Stream the answer. Raises a `ModelError`; nothing of the provider's words is in it."""
        answer = _Answer()
        stream: Any = None
        try:
            await self.warm()  # before the clock starts: our own import is not the provider's slowness
            remaining = request.context.remaining()
            limit = request.timeout_s if remaining is None else min(request.timeout_s, remaining)
            deadline = asyncio.get_running_loop().time() + limit
            async with asyncio.timeout_at(deadline):
                stream = await self._router.acompletion(**_call_parameters(request, limit))
            if stream is None:  # litellm's way of giving up on a 422 after it has dropped parameters
                raise _error_of_status(422, self.destination, self._choice.model)
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        chunk = await anext(stream)
                except StopAsyncIteration:
                    break
                words = answer.take(chunk)
                if answer.is_beyond_measure:
                    raise ModelStreamBroken(f"The answer of the model at {self.destination} went on without end.")
                if words:
                    yield TextDelta(words)
            finish = answer.finish_reason(stream, self.destination)
            for call in answer.calls():
                yield ToolCallRequested(call)
            yield self._usage(answer.usage)
            yield Finished(finish, self._choice.model)
        except self._failures as error:
            raise self._our_error(error, answer.started) from error
        finally:
            if stream is not None:
                await stream.aclose()

    def _usage(self, usage: Any) -> Usage:
        if usage is None:
            return Usage(None, None, None)
        return Usage(usage.prompt_tokens, usage.completion_tokens, self._cost(usage))

    def _cost(self, usage: Any) -> float | None:
        """US dollars by litellm's price list; None where it has no price, or where the call did not go to its owner."""
        if not at_providers_own(self._choice, self._env):
            return None
        try:
            name, provider, _, _ = self._litellm.get_llm_provider(self._choice.model)
            prompt, completion = self._litellm.cost_per_token(
                model=name, custom_llm_provider=provider, usage_object=usage
            )
        except (*_FOREIGN_FAILURES, self._litellm.exceptions.ModelNotMappedError, self._litellm.BadRequestError):
            return None
        # The list has 0 for models whose price it does not know, self-hosted ones above all.
        return float(prompt + completion) or None

    def _our_error(self, error: BaseException, started: bool) -> ModelError:
        where = self.destination
        exceptions = self._litellm.exceptions if self._litellm is not None else None
        if isinstance(error, TimeoutError) or (exceptions and isinstance(error, exceptions.Timeout)):
            return ModelTimeout(f"The model at {where} did not answer in time.")
        if started:
            return ModelStreamBroken(f"The answer of the model at {where} broke off half-way.")
        if exceptions and isinstance(error, exceptions.ContextWindowExceededError):
            return ModelRequestRejected(f"The question with its evidence is too long for the model at {where}.")
        if type(error).__name__ == "RouterRateLimitError":
            return ModelUnavailable(
                f"The model at {where} failed several times in a row; it is asked again after {_BREAKER_SECONDS:.0f} s."
            )
        return _error_of_status(getattr(error, "status_code", None), where, self._choice.model)


def _error_of_status(status: Any, where: str, model: str) -> ModelError:
    if status in (401, 403):
        return ModelCredentialsRejected(f"The model provider at {where} did not accept the key, or no key is set.")
    if status == 429:
        return ModelRateLimited(f"The model provider at {where} limits the rate of calls, or its quota is used up.")
    if status == 408:
        return ModelTimeout(f"The model at {where} did not answer in time.")
    if status == 404:
        return ModelRequestRejected(f"The provider at {where} does not know the model {model}, or not this address.")
    if status == 413:
        return ModelRequestRejected(f"The question with its evidence is too long for the model at {where}.")
    if isinstance(status, int) and 400 <= status < 500:
        return ModelRequestRejected(f"The model provider at {where} refused the request as it was put.")
    return ModelUnavailable(f"The model at {where} cannot be reached, or what answers there is not a model.")


class _Answer:
    """Collects what a stream of litellm's chunks says, one chunk at a time."""

    def __init__(self) -> None:
        self.started = False
        self.usage: Any = None
        self._characters = 0
        self._call_characters = 0
        self._calls: list[dict[str, str]] = []
        self._open: dict[int, dict[str, str]] = {}

    def take(self, chunk: Any) -> str:
        """Note what the chunk holds; returns its text."""
        self.usage = getattr(chunk, "usage", None) or self.usage
        if not chunk.choices:
            return ""
        delta = chunk.choices[0].delta
        for part in getattr(delta, "tool_calls", None) or ():
            self._take_part(part)
        words = getattr(delta, "content", None) or ""
        self.started = self.started or bool(words or self._calls)
        self._characters += len(words)
        return words

    @property
    def is_beyond_measure(self) -> bool:
        """Whether more has come than an answer can be."""
        return (
            self._characters > MAX_ANSWER_CHARACTERS
            or self._call_characters > MAX_CALL_CHARACTERS
            or len(self._calls) > MAX_CALLS
        )

    def _take_part(self, part: Any) -> None:
        index = part.index or 0
        call = self._open.get(index)
        # Some servers give every call the index 0; a new id is a new call.
        if call is None or (part.id and call["id"] and part.id != call["id"]):
            call = {"id": "", "name": "", "arguments": ""}
            self._calls.append(call)
            self._open[index] = call
        call["id"] = call["id"] or part.id or ""
        if part.function is not None:
            call["name"] = call["name"] or part.function.name or ""
            call["arguments"] += part.function.arguments or ""
            self._call_characters += len(part.function.name or "") + len(part.function.arguments or "")

    def calls(self) -> list[ToolCall]:
        """The tool calls, in the order in which they were begun."""
        return [ToolCall(c["id"] or f"call_{n}", c["name"], c["arguments"]) for n, c in enumerate(self._calls)]

    def finish_reason(self, stream: Any, where: str) -> str:
        """Why the provider stopped. Raises ModelStreamBroken if it never said so, ModelUnavailable if it was silent."""
        source = getattr(stream, "provider_stream", stream)
        reason = source.received_finish_reason or source.intermittent_finish_reason
        if reason:
            return "tool_calls" if self._calls and reason == "stop" else str(reason)
        if self.started:
            raise ModelStreamBroken(f"The answer of the model at {where} broke off half-way.")
        raise ModelUnavailable(f"What answers at {where} is not a model: it sent nothing that could be read.")


def _import_litellm() -> Any:
    """litellm, silenced. Its logs and printed hints may hold prompts, provider text and parts of keys."""
    os.environ.update(_ENVIRONMENT)
    litellm: Any = importlib.import_module("litellm")
    for module in _LATE_MODULES:
        importlib.import_module(module)
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
    litellm.suppress_debug_info = True
    litellm.set_verbose = False
    litellm.telemetry = False
    litellm.turn_off_message_logging = True
    litellm.drop_params = True  # a model that takes no temperature is asked without one
    for callbacks in ("callbacks", "input_callback", "success_callback", "failure_callback", "service_callback"):
        setattr(litellm, callbacks, [])
    return litellm


def _library_errors() -> tuple[type[Exception], ...]:
    """The roots of what litellm raises: its errors extend the openai package's, some of httpx come through."""
    return importlib.import_module("openai").OpenAIError, importlib.import_module("httpx").HTTPError


def _keep_provider_stream(router: Any) -> None:
    """Let the Router's stream carry the provider's: only that one knows whether a finish reason really came."""
    inner = router._acompletion_streaming_iterator

    async def iterate(model_response: Any, **rest: Any) -> Any:
        stream = await inner(model_response=model_response, **rest)
        stream.provider_stream = model_response
        return stream

    router._acompletion_streaming_iterator = iterate


def _call_parameters(request: ModelRequest, limit: float) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "model": _GROUP,
        "messages": [_as_openai(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "timeout": limit,
    }
    if request.tools:
        parameters["tools"] = [
            {
                "type": "function",
                "function": {"name": t.name, "description": t.description, "parameters": dict(t.parameters)},
            }
            for t in request.tools
        ]
        if request.tool_choice is not None:
            parameters["tool_choice"] = _tool_choice(request.tool_choice)
    optional = {
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "stop": list(request.stop) or None,
    }
    return parameters | {name: value for name, value in optional.items() if value is not None}


def _tool_choice(choice: str) -> str | dict[str, Any]:
    return choice if choice in ("auto", "none", "required") else {"type": "function", "function": {"name": choice}}


def _as_openai(message: Message | ToolResult) -> dict[str, Any]:
    if isinstance(message, ToolResult):
        return {"role": "tool", "tool_call_id": message.call_id, "name": message.name, "content": message.text}
    as_dict: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.tool_calls:
        as_dict["content"] = message.text or None
        as_dict["tool_calls"] = [_as_openai_call(call) for call in message.tool_calls]
    return as_dict


def _as_openai_call(call: ToolCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": _json_object(call.arguments)},
    }


def _json_object(arguments: str) -> str:
    """The arguments of an earlier call; nonsense goes back wrapped: providers refuse a history that is not JSON."""
    try:
        readable = isinstance(json.loads(arguments), dict)
    except ValueError:
        readable = False
    return arguments if readable else json.dumps({"unreadable_arguments": arguments})
