"""Carrying out runs: one, several in turn, and in the processes of an executor."""
