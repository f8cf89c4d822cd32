"""How many bytes of state an optimizer keeps, counted before any run or measured after."""
