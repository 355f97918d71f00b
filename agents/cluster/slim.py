"""Drops from an object what no diagnosis reads and what can double its size, before it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def without_bookkeeping(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object without `managedFields`: who last wrote each field, which is often half of an object."""
    metadata = raw.get("metadata")
    if not isinstance(metadata, Mapping) or "managedFields" not in metadata:
        return raw
    return {**raw, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}
