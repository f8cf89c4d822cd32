"""The optimizers of the catalogue, one file for each family."""
