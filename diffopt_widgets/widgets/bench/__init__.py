"""Bench: run bar, ready comparisons, samples, and the wiring of all parts."""
