"""The claim check: releases a model's answer unit by unit, each judged against the evidence that it cites."""

from agents.claims.checker import ClaimChecker
from agents.claims.remarks import Verdict, shown
from agents.claims.units import SentenceBuffer

__all__ = ["ClaimChecker", "SentenceBuffer", "Verdict", "shown"]
