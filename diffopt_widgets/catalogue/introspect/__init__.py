"""Introspection of classes outside the catalogue: options read from signature and docstring."""
