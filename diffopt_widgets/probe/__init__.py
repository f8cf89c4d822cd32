"""Tests of what options really do, and of which optimizers can run on this machine."""
