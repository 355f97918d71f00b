"""Prompt templates as files: loaded once from a folder, rendered with named values, known by a version.

A template is Markdown with `$name` places (`string.Template`). Its version is the hash of its text, so that an answer
can say which prompt made it. A missing value or an unknown template raises `InternalError`: a prompt with a hole must
not be sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from assistant.errors import InternalError


@dataclass(frozen=True, slots=True)
class Prompt:
    """One template with its version, the first 12 hex digits of its text's SHA-256."""

    name: str
    text: str
    version: str

    def render(self, **values: str) -> str:
        """The template with its places filled. Raises InternalError when a value is missing."""
        try:
            return Template(self.text).substitute(values)
        except (KeyError, ValueError) as error:
            raise InternalError(f"The prompt {self.name} could not be filled.") from error


class PromptRegistry:
    """All templates (`*.md`) of one folder."""

    def __init__(self, folder: Path) -> None:
        self._prompts: Mapping[str, Prompt] = {p.name: _load(p) for p in sorted(folder.glob("*.md"))}

    def get(self, name: str) -> Prompt:
        """The template of a file name. Raises InternalError when there is none."""
        if name not in self._prompts:
            raise InternalError(f"There is no prompt {name}.")
        return self._prompts[name]

    def versions(self) -> dict[str, str]:
        """Name -> version of all templates."""
        return {name: prompt.version for name, prompt in self._prompts.items()}


def _load(path: Path) -> Prompt:
    text = path.read_text(encoding="utf-8")
    return Prompt(path.name, text, hashlib.sha256(text.encode()).hexdigest()[:12])
