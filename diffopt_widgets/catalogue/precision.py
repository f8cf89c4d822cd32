"""The precisions that trained weights may be in."""

from __future__ import annotations

from collections.abc import Mapping

PRECISIONS: Mapping[str, str] = {"float32": "32 bits (float32)", "bfloat16": "16 bits (bfloat16)"}
"""Titles of the precisions, by torch's names for them."""
