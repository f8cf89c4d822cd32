"""The widgets, one folder for each with its own JavaScript and CSS."""
