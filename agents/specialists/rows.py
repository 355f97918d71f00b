"""The specialists as rows of data: what each is responsible for, how it is called, which tools it may use.

One loop (`agents.specialists.loop`) runs them all; nothing here is code that only one specialist has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from agents.evidence import Domain

_ALL_TOOLS = ("get_object", "list_objects", "describe", "events", "logs", "search_view")


@dataclass(frozen=True, slots=True)
class Specialist:
    """One specialist. `subject` reads after "belongs to". What a model is told stands in `prompts/<domain>.md`."""

    domain: Domain
    title: str
    subject: str
    icon: str
    tools: tuple[str, ...] = _ALL_TOOLS

    @property
    def prompt_file(self) -> str:
        """The file below `prompts/` that says what this specialist answers for."""
        return f"{self.domain.value}.md"


_ROWS = (
    Specialist(
        Domain.SECURITY,
        "Security",
        "security",
        "shield",
    ),
    Specialist(
        Domain.PERFORMANCE,
        "Performance",
        "performance",
        "gauge",
    ),
    Specialist(
        Domain.TROUBLESHOOTING,
        "Troubleshooting",
        "troubleshooting",
        "stethoscope",
    ),
    Specialist(
        Domain.DEPLOYMENT,
        "Deployment",
        "deployment",
        "rocket",
    ),
    Specialist(
        Domain.MONITORING,
        "Monitoring",
        "monitoring",
        "activity",
    ),
    Specialist(
        Domain.STORAGE,
        "Storage",
        "storage",
        "database",
    ),
    Specialist(
        Domain.NETWORKING,
        "Networking",
        "networking",
        "network",
    ),
    Specialist(
        Domain.GENERAL,
        "KubeChat",
        "general questions",
        "book",
        tools=(),
    ),
)
SPECIALISTS: Mapping[Domain, Specialist] = MappingProxyType({row.domain: row for row in _ROWS})
