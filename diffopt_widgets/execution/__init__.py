"""Execution of runs: a single one, several in turn, and in the processes of an executor."""
