"""Training loop, its measures, and checkpoints to resume from."""
