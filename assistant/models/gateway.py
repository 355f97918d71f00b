"""The one door to a model: it stacks the wrappers around the adapter, and does nothing itself.

From the outside in: the usage record sees everything, the mask sees what leaves, the adapter sends it.
"""

from __future__ import annotations

from assistant.guardrails.masking import Masker
from assistant.models.mask import mask_outgoing
from assistant.models.request import ModelPort
from assistant.models.usage import UsageSink, record_usage


def open_gateway(adapter: ModelPort, *, masker: Masker, sink: UsageSink, model: str, destination: str) -> ModelPort:
    """The port that every caller uses. `model` and `destination` name in the record what a failed call never told."""
    return record_usage(mask_outgoing(adapter, masker), sink, model=model, destination=destination)
