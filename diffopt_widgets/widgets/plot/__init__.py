"""The live plot."""
