"""The command `diffopt`, one file for each of its commands."""
