"""Runs, and the ready comparisons of some."""
