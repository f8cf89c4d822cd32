"""A bench for optimizers in a notebook."""
