"""Bytes of state that an optimizer keeps, counted before a run or measured after it."""
