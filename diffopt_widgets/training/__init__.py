"""The training loop, what it measures, and what it needs to go on later."""
