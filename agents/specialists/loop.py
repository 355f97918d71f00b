"""The one loop that runs every specialist: with a model over the evidence and tools, without one through the report.

With a model: the first call already carries the diagnosis; tools let it dig, at most `max_steps` calls, then a
conclusion without tools is forced. Its text is released unit by unit after the claim check. A model that fails, breaks
off, or says nothing costs the model's words only: the specialist's part is then rendered from the evidence, and a
notice says so.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from agents.chat_model import GatewayChatModel
from agents.claims import ClaimChecker, SentenceBuffer, shown
from agents.events import Notice, ToolEvent, UsageEvent
from agents.evidence import Domain, Finding, RootCause
from agents.prose import harmless
from agents.report import part_blocks
from agents.specialists.prompting import conclude_prompt, question_prompt, system_prompt, worth_telling
from agents.specialists.rows import Specialist
from agents.state import ModelAccess, PartState, TurnWork
from agents.tools.read_only import tools_for
from assistant.errors import ModelError
from assistant.models.request import ModelEvent, ModelPort, OutgoingMasked, Usage
from assistant.models.request import ModelRequest as PortRequest

SHOWN_ARGUMENTS = 300


class Sink(Protocol):
    """Where a specialist's released text goes."""

    async def __call__(self, text: str) -> None: ...


@dataclass(slots=True)
class Consultation:
    """What one specialist is asked: its share of the diagnosis, who else speaks, and where its words go."""

    work: TurnWork
    specialist: Specialist
    speakers: Sequence[Domain]
    causes: Sequence[RootCause]
    findings: Sequence[Finding]
    sink: Sink
    unbacked: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)

    async def release(self, text: str) -> None:
        """Hands text to the reader and remembers it."""
        self.released.append(text)
        await self.sink(text)

    @property
    def text(self) -> str:
        return "".join(self.released)


async def consult(consultation: Consultation) -> PartState:
    """One specialist's part of the answer."""
    work, model = consultation.work, consultation.work.services.model
    used_model = False
    if model is not None:
        used_model = await _with_model(consultation, model)
    if not used_model:
        domain, speakers = consultation.specialist.domain, consultation.speakers
        for block in part_blocks(work.diagnosis, work.scope, domain, speakers, model_failed=model is not None):
            await consultation.release(block)
    return PartState(
        domain=consultation.specialist.domain.value,
        text=consultation.text,
        used_model=used_model,
        unbacked=consultation.unbacked,
    )


async def _with_model(consultation: Consultation, model: ModelAccess) -> bool:
    """Whether the model answered; if not, what it began is closed and a notice says what follows."""
    try:
        async with aclosing(_words(consultation, model)) as words:
            async for unit in words:
                await consultation.release(unit)
    except ModelError as error:
        await _degrade(consultation, error.code, error.message)
        return False
    if not consultation.text.strip():
        await _degrade(consultation, "model-silent", f"{model.name} returned no text.")
        return False
    if not consultation.text.endswith("\n"):
        await consultation.release("\n\n")
    return True


async def _degrade(consultation: Consultation, code: str, why: str) -> None:
    began = bool(consultation.text.strip())
    if began:
        await consultation.release("\n\n_The model broke off here; what follows is rendered from the evidence._\n\n")
    message = f"{why} This part is rendered from the evidence alone, without a model."
    await consultation.work.stream.emit(Notice, code=code, message=message)


async def _words(consultation: Consultation, model: ModelAccess) -> AsyncGenerator[str, None]:
    """The model's text, unit by unit, each checked and marked where nothing backs it."""
    work = consultation.work
    checker = _checker(work)
    buffer = SentenceBuffer()
    last = ""

    def judged(units: Sequence[str]) -> list[str]:
        nonlocal last
        for item in work.added.values():
            checker.add(item)
        found = []
        for unit in units:
            verdict = checker.check(unit)
            if not verdict.backed:
                consultation.unbacked.append(unit.strip())
            found.append(harmless(shown(unit, verdict), last))  # what it read may have told it to draw a picture
            last = found[-1][-1:] or last
        return found

    agent = _agent(consultation, model)
    question = HumanMessage(question_prompt(work, consultation.causes, worth_telling(consultation.findings)))
    stream = agent.astream(
        {"messages": [question]}, {"recursion_limit": 4 * model.max_steps + 20}, stream_mode="messages"
    )
    async with aclosing(stream) as chunks:
        async for chunk, _metadata in chunks:
            if isinstance(chunk, AIMessageChunk) and isinstance(chunk.content, str):
                for unit in judged(buffer.feed(chunk.content)):
                    yield unit
            elif isinstance(chunk, ToolMessage):
                for unit in judged(buffer.flush()):
                    yield unit
    for unit in judged(buffer.flush()):
        yield unit


def _checker(work: TurnWork) -> ClaimChecker:
    """Knows the evidence of the conversation, and what our own checks concluded from it."""
    checker = ClaimChecker(work.all_evidence(), work.question, known_names=_known_names(work))
    for cause in work.diagnosis.root_causes:
        checker.conclude(cause.cause, [e.id for e in cause.evidence])
    for item in work.diagnosis.findings:
        checker.conclude(item.message, [e.id for e in item.evidence])
    return checker


def _known_names(work: TurnWork) -> list[Any]:
    return [obj.ref for obj in work.view if obj.kind != "Event"] if work.view is not None else []


def _agent(consultation: Consultation, model: ModelAccess) -> Any:
    work, specialist = consultation.work, consultation.specialist
    tools = tools_for(work, specialist.tools) if work.view is not None else []
    chat = GatewayChatModel(
        port=_metered(model.port, consultation),
        context=work.context,
        timeout_s=model.timeout_s,
        purpose=f"specialist:{specialist.domain.value}",
    )
    return create_agent(
        chat,
        tools,
        system_prompt=system_prompt(work, specialist, consultation.speakers),
        middleware=[Steps(consultation, model.max_steps)],
    )


def _metered(port: ModelPort, consultation: Consultation) -> ModelPort:
    """The port with its usage and maskings put on the turn's stream, also when the call fails or is cancelled."""

    async def metered(request: PortRequest) -> AsyncGenerator[ModelEvent, None]:
        stream = consultation.work.stream
        usage: Usage | None = None
        try:
            async with aclosing(port(request)) as events:
                async for event in events:
                    if isinstance(event, Usage):
                        usage = event
                    elif isinstance(event, OutgoingMasked):
                        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(event.counts.items()))
                        await stream.emit(Notice, code="masked", message=f"Masked before the model saw it: {kinds}.")
                    yield event
        finally:
            model = consultation.work.services.model
            await stream.emit(
                UsageEvent,
                model=model.name if model else "",
                purpose=request.purpose,
                prompt_tokens=(usage.prompt_tokens if usage else None) or 0,
                completion_tokens=(usage.completion_tokens if usage else None) or 0,
                cost=usage.cost_usd if usage else None,
            )

    return metered


class Steps(AgentMiddleware[AgentState[Any], None, Any]):
    """Counts model calls, forces the conclusion after the last step, and shows tool calls on the stream."""

    def __init__(self, consultation: Consultation, max_steps: int) -> None:
        super().__init__()
        self._consultation = consultation
        self._max_steps = max_steps
        self._calls = 0

    async def awrap_model_call(
        self, request: ModelRequest[None], handler: Callable[[ModelRequest[None]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | AIMessage:
        self._calls += 1
        if self._calls <= self._max_steps:
            return await handler(request)
        conclude = HumanMessage(conclude_prompt(self._max_steps))
        response = await handler(request.override(tools=[], messages=[*request.messages, conclude]))
        # a model that asks for tools even now is cut short: nothing would end its loop
        last = response.result[-1]
        return AIMessage(content=last.content if isinstance(last.content, str) else "")

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        stream = self._consultation.work.stream
        name = str(request.tool_call["name"])[:80]
        arguments = self._consultation.work.services.mask(str(request.tool_call["args"]))[:SHOWN_ARGUMENTS]
        await stream.emit(ToolEvent, name=name, arguments=arguments, status="started")
        result = await handler(request)
        failed = isinstance(result, ToolMessage) and result.status == "error"
        summary = str(result.content).split("\n", 1)[0][:200] if isinstance(result, ToolMessage) else ""
        await stream.emit(
            ToolEvent, name=name, arguments=arguments, summary=summary, status="failed" if failed else "done"
        )
        return result
