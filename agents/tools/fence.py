"""Evidence as a model reads it: under its mark, inside a fence that says that it is data."""

from __future__ import annotations

from agents.evidence import Evidence


def fenced(item: Evidence, limit: int) -> str:
    """The evidence with at most `limit` characters of its excerpt; a closing fence inside it is defused."""
    excerpt = item.excerpt
    if len(excerpt) > limit:
        excerpt = f"{excerpt[:limit]} … ({len(excerpt) - limit} characters cut)"
    body = excerpt.replace("</data", "<\\/data")
    return f'[{item.id}] {item.object}, {item.locator}\n<data mark="{item.id}">\n{body}\n</data>'
