"""Any class that is not in the catalogue: its options, read from its signature and docstring."""
