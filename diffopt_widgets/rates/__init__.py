"""The learning rate that a step really applies: a reader for each kind of optimizer."""
