"""Text from a cluster as a model reads it: inside a fence that says that it is data, evidence under its mark.

Promise: nothing inside can end the fence or open another one, however it is written.
"""

from __future__ import annotations

import re

from agents.evidence import Evidence

# Models read tags with forgiveness: other letters and spaces count as the same tag.
_TAG = re.compile(r"<(?=\s*/?\s*data\b)", re.IGNORECASE)


def fenced(item: Evidence, limit: int) -> str:
    """The evidence with at most `limit` characters of its excerpt."""
    excerpt = item.excerpt
    if len(excerpt) > limit:
        excerpt = f"{excerpt[:limit]} … ({len(excerpt) - limit} characters cut)"
    head = _defused(f"{item.object}, {item.locator}")  # roles and events may be called anything
    return f'[{item.id}] {head}\n<data mark="{item.id}">\n{_defused(excerpt)}\n</data>'


def quoted(text: str) -> str:
    """Text that holds words from a cluster but is no evidence itself: a finding's message, an earlier answer."""
    return f"<data>\n{_defused(text)}\n</data>"


def _defused(text: str) -> str:
    return _TAG.sub("<\\\\", text)
