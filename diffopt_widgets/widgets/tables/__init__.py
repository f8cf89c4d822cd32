"""The tables of runs: those of a bench and those of a store."""
