"""Runs, their collection, and ready comparisons."""
