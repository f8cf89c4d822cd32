"""Common parts of all widgets: their page, and the event loop of the cells."""
