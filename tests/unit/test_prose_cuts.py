"""Texts are cut between words, so that no half of a credential slips through the mask."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.analyzers.base import EXCERPT_LIMIT, clip
from agents.prose import head, tail
from agents.tools.lookups import cut

TOKEN = "ghp_" + "A1b2C3d4" * 5


@given(st.integers(1, 80), st.integers(0, 40))
def test_a_token_at_the_edge_is_kept_whole_or_left_out(limit: int, before: int) -> None:
    text = "x " * before + TOKEN + " y" * 30
    for part in (head(text, limit), tail(text, limit)):
        assert len(part) <= limit
        assert TOKEN in part or "A1b2" not in part


def test_excerpts_and_tool_results_never_end_in_half_a_token() -> None:
    for offset in range(60):
        clipped = clip("w " * ((EXCERPT_LIMIT - offset) // 2) + TOKEN + " z" * 100)
        assert TOKEN in clipped or "A1b2" not in clipped
        result = cut("w " * (2000 - offset) + TOKEN + " z" * 4000, 4000)
        assert TOKEN in result or "A1b2" not in result
    assert "characters cut" in clip("a " * 1000)
