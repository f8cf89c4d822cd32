"""Where the tests find what lies beside them."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
STORE_CHILDREN = Path(__file__).with_name("store_children.py")
"""The program of other processes that use a store."""
