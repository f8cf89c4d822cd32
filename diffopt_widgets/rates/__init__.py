"""Readers of the learning rate that a step really applies, one for each kind of optimizer."""
