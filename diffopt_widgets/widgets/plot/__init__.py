"""Live plot."""
