"""The precisions that trained weights may be in."""

from __future__ import annotations

from collections.abc import Mapping

PRECISIONS: Mapping[str, str] = {"float32": "32 bits (float32)", "bfloat16": "16 bits (bfloat16)"}
"""What people read, by what torch calls it."""
