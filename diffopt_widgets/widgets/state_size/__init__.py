"""How much state an optimizer will keep, as a line and a chart."""
