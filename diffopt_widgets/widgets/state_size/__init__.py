"""State size of an optimizer, as a line and a chart."""
